package gitrepo_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
)

// forked asks for a fork that must be found, checks that all of it can be read, and returns it with the hashes of the commits and
// how many requests it took.
func forked(t testing.TB, s *gittest.Server, r *gitrepo.Repo, ref string, head, base gitrepo.Hash, most int) (fork string, own []string, requests int) {
	t.Helper()
	s.Requests()
	at, commits, err := r.Fork(t.Context(), ref, head, base, most)
	if err != nil {
		t.Fatal(err)
	}
	requests = len(s.Requests())
	for _, c := range commits {
		own = append(own, c.Hash.String())
	}
	for _, c := range append(commits, gitrepo.Commit{Hash: at}, gitrepo.Commit{Hash: head}) {
		files, err := r.Files(c.Hash, "")
		if err != nil {
			t.Fatalf("commit %s cannot be read: %v", c.Hash, err)
		}
		for _, f := range files {
			if _, err := r.Blob(f.Hash, 1<<19); err != nil {
				t.Fatalf("%s of %s cannot be read: %v", f.Path, c.Hash, err)
			}
		}
	}
	return at.String(), own, requests
}

// propose pushes what is checked out as the head of a pull request.
func propose(t testing.TB, a *gittest.Author, number int) gitrepo.Hash {
	t.Helper()
	a.Git("push", "--quiet", "--force", "origin", fmt.Sprintf("HEAD:refs/pull/%d/head", number))
	return hash(t, a.Head())
}

// Whatever histories look like, the answer is that of git merge-base and git rev-list, which know all of them.
func TestForkIsWhatGitFinds(t *testing.T) {
	for name, draw := range map[string]func(a *gittest.Author){
		"at the tip": func(a *gittest.Author) { a.Branch("head"); commits(a, "head", 2) },
		"a few back": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 3)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 5)
		},
		"long ago": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 1)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 70)
		},
		"long": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 70)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 3)
		},
		"both long": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 40)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 40)
		},
		"merged": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 2)
			a.Git("checkout", "--quiet", "main")
			a.Git("merge", "--quiet", "--no-ff", "--message", "merge", "head")
			commits(a, "main", 30)
		},
		"the same": func(a *gittest.Author) { a.Git("branch", "head") },
		"behind":   func(a *gittest.Author) { a.Git("branch", "head", "HEAD~4") },
		"updated": func(a *gittest.Author) { // the button that merges the branch into the pull request
			a.Branch("head")
			commits(a, "head", 2)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 40)
			a.Git("checkout", "--quiet", "head")
			a.Git("merge", "--quiet", "--message", "update", "main")
			commits(a, "head", 1)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 2)
		},
		"of a topic": func(a *gittest.Author) { // that was merged, long as it was; its beginning is further from the base than its parent
			a.Branch("topic")
			commits(a, "topic", 2)
			a.Git("branch", "head")
			commits(a, "topic", 30)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 3)
			a.Git("merge", "--quiet", "--no-ff", "--message", "merge", "topic")
			commits(a, "main", 1)
			a.Git("checkout", "--quiet", "head")
			commits(a, "head", 1)
		},
		"another root": func(a *gittest.Author) {
			a.Git("checkout", "--quiet", "--orphan", "other")
			commits(a, "other", 2)
			a.Git("checkout", "--quiet", "-b", "head", "main")
			a.Git("merge", "--quiet", "--allow-unrelated-histories", "--message", "join", "other")
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 3)
		},
		"wrong clock": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 1)
			a.Write(".git/old", fmt.Sprintf("tree %s\nparent %s\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nold\n",
				a.Git("rev-parse", "HEAD^{tree}"), a.Git("rev-parse", "HEAD~1")))
			a.Git("reset", "--quiet", "--hard", a.Git("hash-object", "-t", "commit", "-w", ".git/old"))
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 3)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := gittest.NewServer(t)
			s.Create("catalog.git")
			a := gittest.NewAuthor(t, s.Dir("catalog.git"))
			commits(a, "first", 90)
			draw(a)
			a.Git("push", "--quiet", "origin", "main", "head:refs/pull/1/head")
			wantFork := a.Git("merge-base", "main", "head")
			want := strings.Fields(a.Git("rev-list", "main..head"))

			r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
			base := tip(t, r, "main")
			head := refs(t, r, "main", "refs/pull/*/head")["refs/pull/1/head"]
			fork, own, _ := forked(t, s, r, "refs/pull/1/head", head, base, 100)
			if fork != wantFork {
				t.Errorf("the fork is %s, want %s", fork, wantFork)
			}
			at := map[string]int{}
			for i, c := range own {
				at[c] = i
			}
			for _, c := range own {
				for _, parent := range strings.Fields(a.Git("log", "-1", "--format=%P", c)) {
					if i, ok := at[parent]; ok && i > at[c] {
						t.Errorf("commit %s comes before its parent %s", c, parent)
					}
				}
			}
			slices.Sort(own)
			slices.Sort(want)
			if !slices.Equal(own, want) {
				t.Errorf("the commits are %q, want %q", own, want)
			}
			again, _, requests := forked(t, s, r, "refs/pull/1/head", head, base, 100)
			if again != fork || requests != 0 {
				t.Errorf("the second time: the fork is %s after %d requests, want the same after none", again, requests)
			}
		})
	}
}

// commits makes so many of them, each of which changes a spec.
func commits(a *gittest.Author, name string, n int) {
	for i := range n {
		a.Write("images/"+name+".yaml", fmt.Sprint(name, i))
		a.Commit(fmt.Sprint(name, " ", i))
	}
}
