package gitrepo_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
)

func open(t testing.TB, o gitrepo.Options) *gitrepo.Repo {
	t.Helper()
	o.Dir = t.TempDir()
	r, err := gitrepo.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// catalog is a server with one repository of one commit, and its author.
func catalog(t testing.TB) (*gittest.Server, *gittest.Author) {
	t.Helper()
	s := gittest.NewServer(t)
	s.Create("catalog.git")
	a := gittest.NewAuthor(t, s.Repo("catalog.git"))
	a.Write("images/a.yaml", "a\n")
	a.Write("images/lang/go.yaml", "go\n")
	a.Write("README.md", "read me\n")
	a.Commit("first")
	a.Push()
	s.Requests()
	return s, a
}

func refs(t testing.TB, r *gitrepo.Repo, names ...string) gitrepo.Refs {
	t.Helper()
	refs, err := r.Refs(t.Context(), names...)
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

func hash(t testing.TB, s string) gitrepo.Hash {
	t.Helper()
	h, err := gitrepo.ParseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// tip makes the newest commit of a branch readable.
func tip(t testing.TB, r *gitrepo.Repo, branch string) gitrepo.Hash {
	t.Helper()
	h := refs(t, r, branch).Branch(branch)
	if _, err := r.Chain(t.Context(), branch, h, gitrepo.Hash{}); err != nil {
		t.Fatal(err)
	}
	return h
}

var noon = time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)

// change is a commit of the daemon, on the status branch.
func change(parent gitrepo.Hash, files map[string][]byte) gitrepo.Change {
	return gitrepo.Change{
		Branch: "status", Parent: parent, Files: files, Message: "release a 1.0.0\n\nCatalog-Commit: 0\n",
		Author: gitrepo.Person{Name: "tidewaiter", Email: "tidewaiter@example.com"}, When: noon,
	}
}

// wantError checks that an error is of a kind, and that its text says what an operator needs and no secret.
func wantError(t testing.TB, err, kind error, says ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got error %v, want %v", err, kind)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error %q holds a password or a line end", err)
	}
}

func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestQuietPollIsOneRequest(t *testing.T) {
	s, a := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	before := s.Connections()
	for i := range 3 {
		got := refs(t, r, "main", "status")
		if len(got) != 1 || got.Branch("main") != hash(t, a.Head()) || !got.Branch("status").IsZero() {
			t.Fatalf("refs are %v, want main at %s and no status", got, a.Head())
		}
		want := []string{"POST /catalog.git/git-upload-pack"}
		if i == 0 { // nothing is known of the server yet
			want = append([]string{"GET /catalog.git/info/refs?service=git-upload-pack"}, want...)
		}
		if asked := s.Requests(); !slices.Equal(asked, want) {
			t.Fatalf("look %d at the refs asked %q, want %q", i, asked, want)
		}
	}
	if made := s.Connections() - before; made != 1 {
		t.Errorf("three looks made %d connections, want one that is used again", made)
	}
}

func TestRefPatterns(t *testing.T) {
	s, a := catalog(t)
	a.Git("push", "--quiet", "origin", "HEAD:refs/pull/7/head", "HEAD:refs/pull/7/merge", "HEAD:refs/heads/release/1", "HEAD:refs/tags/v1")
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	for pattern, want := range map[string][]string{
		"refs/pull/*/head":   {"refs/pull/7/head"},
		"refs/pull/*":        {"refs/pull/7/head", "refs/pull/7/merge"},
		"release/*":          {"refs/heads/release/1"},
		"mai":                nil,
		"refs/pull/7/*/head": nil,
	} {
		got := refs(t, r, pattern)
		if len(got) != len(want) {
			t.Errorf("%s: got %v, want %v", pattern, got, want)
		}
		for _, name := range want {
			if got[name] != hash(t, a.Head()) {
				t.Errorf("%s: %s is at %v", pattern, name, got[name])
			}
		}
	}
}

func TestEmptyRepository(t *testing.T) {
	s := gittest.NewServer(t)
	s.Create("catalog.git")
	for _, url := range []string{s.Repo("catalog.git"), s.Dir("catalog.git"), "file://" + s.Dir("catalog.git")} {
		r := open(t, gitrepo.Options{URL: url})
		if got := refs(t, r, "main"); len(got) != 0 {
			t.Errorf("%s: an empty repository has refs %v", url, got)
		}
	}
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	h, err := r.Commit(t.Context(), change(gitrepo.Hash{}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := refs(t, r, "status").Branch("status"); got != h {
		t.Errorf("status is at %s, want the first commit of the repository, %s", got, h)
	}
	gittest.Fsck(t, s.Dir("catalog.git"))
}

// A local path goes through the git program, so its answers must come out as those of a server do.
func TestLocal(t *testing.T) {
	s, a := catalog(t)
	t.Setenv("GIT_DIR", t.TempDir()) // must not win over the path given

	t.Run("bare", func(t *testing.T) {
		r := open(t, gitrepo.Options{URL: s.Dir("catalog.git")})
		first := tip(t, r, "main")
		h, err := r.Commit(t.Context(), change(gitrepo.Hash{}, map[string][]byte{"x": []byte("1")}))
		if err != nil {
			t.Fatal(err)
		}
		if got := refs(t, r, "main", "status"); got.Branch("status") != h || got.Branch("main") != first {
			t.Errorf("refs are %v after the status branch was made at %s", got, h)
		}
		_, err = r.Commit(t.Context(), change(gitrepo.Hash{}, nil))
		wantError(t, err, gitrepo.ErrMoved)
	})
	t.Run("work tree", func(t *testing.T) {
		r := open(t, gitrepo.Options{URL: a.Dir})
		main := tip(t, r, "main")
		if files, err := r.Files(main, "images"); err != nil || len(files) != 2 {
			t.Errorf("files are %v, %v", files, err)
		}
		if _, err := r.Commit(t.Context(), change(gitrepo.Hash{}, map[string][]byte{"x": []byte("1")})); err != nil {
			t.Errorf("a branch that is not checked out cannot be written: %v", err)
		}
		c := change(main, map[string][]byte{"status/x": []byte("1")})
		c.Branch = "main"
		_, err := r.Commit(t.Context(), c)
		wantError(t, err, gitrepo.ErrRefused, "checked out", "push to a bare repository, or choose another branch")
	})
	t.Run("missing", func(t *testing.T) {
		r := open(t, gitrepo.Options{URL: filepath.Join(t.TempDir(), "nothing")})
		_, err := r.Refs(t.Context(), "main")
		wantError(t, err, gitrepo.ErrNotFound, "nothing")
	})
	t.Run("no repository", func(t *testing.T) {
		r := open(t, gitrepo.Options{URL: t.TempDir()})
		_, err := r.Refs(t.Context(), "main")
		wantError(t, err, gitrepo.ErrNotFound, "does not appear to be a git repository")
	})
}

func TestOpenRefuses(t *testing.T) {
	for url, says := range map[string]string{
		"":                              "no repository",
		"ftp://example.com/x":           "the scheme is none of",
		"https://u:hunter2@exa mple/x":  "cannot be read",
		"ssh://git@example.com/x.git":   "needs an ssh key file",
		"git@example.com:x.git":         "needs an ssh key file",
		"gopher://u:hunter2@host/x.git": "gopher://u:xxxxx@host/x.git",
	} {
		_, err := gitrepo.Open(gitrepo.Options{URL: url, Dir: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got error %v, want one that says %q and no password", url, err, says)
		}
	}
	key := write(t, t.TempDir(), "key", "x")
	_, err := gitrepo.Open(gitrepo.Options{URL: "ssh://example.com:2222/x.git", SSHKeyFile: key, Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "ssh-keyscan -p 2222 example.com") {
		t.Errorf("without known hosts: got error %v, want the way to make them", err)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	s, _ := catalog(t)
	dir := t.TempDir()
	r, err := gitrepo.Open(gitrepo.Options{URL: s.Repo("catalog.git"), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tip(t, r, "main")
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("a daemon that is killed now leaves %v behind, %v", left, err)
	}
}

func TestObserve(t *testing.T) {
	s, _ := catalog(t)
	type seen struct {
		operation string
		failed    bool
	}
	var got []seen
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git"), Observe: func(op string, err error, _ time.Duration) {
		got = append(got, seen{op, err != nil})
	}})
	tip(t, r, "main")
	if _, err := r.Commit(t.Context(), change(gitrepo.Hash{}, nil)); err != nil {
		t.Fatal(err)
	}
	s.Fail("/catalog.git", gittest.Refuse(503))
	if _, err := r.Refs(t.Context()); err == nil {
		t.Fatal("no error from a server that refuses")
	}
	want := []seen{{"list", false}, {"fetch", false}, {"push", false}, {"list", true}}
	if len(got) != len(want) {
		t.Fatalf("observed %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("observed %v, want %v", got, want)
		}
	}
}
