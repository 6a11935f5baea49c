package gittest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Author is a person with a clone, who works with the plain git program. Each command happens a minute after the one before,
// beginning at noon on 1 January 2026, UTC.
type Author struct {
	Dir string // the work tree
	t   testing.TB
	now time.Time
}

// NewAuthor clones a repository, which may be empty, into a temporary directory; the branch is main.
func NewAuthor(t testing.TB, url string) *Author {
	t.Helper()
	a := &Author{Dir: t.TempDir(), t: t, now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	a.Git("init", "--quiet", "--initial-branch=main")
	a.Git("remote", "add", "origin", url)
	a.Git("fetch", "--quiet", "origin")
	if a.Git("branch", "--remotes", "--list", "origin/main") != "" {
		a.Git("reset", "--quiet", "--hard", "origin/main")
	}
	return a
}

// Git runs a git command in the work tree and returns what it prints.
func (a *Author) Git(args ...string) string {
	a.t.Helper()
	a.now = a.now.Add(time.Minute)
	date := fmt.Sprintf("%d +0000", a.now.Unix())
	return run(a.t, a.Dir, []string{"GIT_AUTHOR_DATE=" + date, "GIT_COMMITTER_DATE=" + date}, args...)
}

// Write writes a file of the work tree.
func (a *Author) Write(path, content string) {
	a.t.Helper()
	path = filepath.Join(a.Dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		a.t.Fatal(err)
	}
}

// Remove deletes a file or directory of the work tree.
func (a *Author) Remove(path string) {
	a.t.Helper()
	if err := os.RemoveAll(filepath.Join(a.Dir, filepath.FromSlash(path))); err != nil {
		a.t.Fatal(err)
	}
}

// Commit commits the work tree as it is, also where nothing changed, and returns the commit.
func (a *Author) Commit(message string) string {
	a.t.Helper()
	a.Git("add", "--all")
	a.Git("commit", "--quiet", "--allow-empty", "--message", message)
	return a.Head()
}

// Head is the commit that is checked out.
func (a *Author) Head() string {
	a.t.Helper()
	return a.Git("rev-parse", "HEAD")
}

// Push pushes the branch that is checked out, and returns its commit.
func (a *Author) Push() string {
	a.t.Helper()
	a.Git("push", "--quiet", "origin", "HEAD")
	return a.Head()
}

// Branch makes a branch at what is checked out, and checks it out.
func (a *Author) Branch(name string) {
	a.t.Helper()
	a.Git("checkout", "--quiet", "-b", name)
}

// Merge brings a branch into main as a pull request is merged: with a "merge" commit, as one commit ("squash"), or as its
// commits on top ("rebase"). The branch is gone afterwards. It returns the new tip of main, which is not pushed.
func (a *Author) Merge(branch, how string) string {
	a.t.Helper()
	switch how {
	case "merge":
		a.Git("checkout", "--quiet", "main")
		a.Git("merge", "--quiet", "--no-ff", "--message", "merge "+branch, branch)
	case "squash":
		a.Git("checkout", "--quiet", "main")
		a.Git("merge", "--quiet", "--squash", branch)
		a.Git("commit", "--quiet", "--message", "squash "+branch)
	case "rebase":
		a.Git("checkout", "--quiet", branch)
		a.Git("rebase", "--quiet", "main")
		a.Git("checkout", "--quiet", "main")
		a.Git("merge", "--quiet", "--ff-only", branch)
	default:
		a.t.Fatalf("merge %s: %q is none of %s", branch, how, strings.Join([]string{"merge", "squash", "rebase"}, ", "))
	}
	a.Git("branch", "--quiet", "-D", branch)
	return a.Head()
}
