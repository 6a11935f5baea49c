package gitrepo_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
)

// chain asks for the commits between two and returns their hashes and how many requests it took.
func chain(t testing.TB, s *gittest.Server, r *gitrepo.Repo, to, from gitrepo.Hash) (hashes []string, requests int) {
	t.Helper()
	s.Requests()
	commits, err := r.Chain(t.Context(), "main", to, from)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commits {
		hashes = append(hashes, c.Hash.String())
	}
	for _, c := range append(commits, gitrepo.Commit{Hash: from}) {
		if _, err := r.Files(c.Hash, ""); err != nil {
			t.Errorf("commit %s of the chain cannot be read: %v", c.Hash, err)
		}
	}
	return hashes, len(s.Requests())
}

func TestCommitFields(t *testing.T) {
	s, a := catalog(t)
	a.Git("commit", "--quiet", "--allow-empty", "--message", "subject\n\nbody", "--author", "Älva Ånd <a@b>")
	a.Push()
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	head := refs(t, r, "main").Branch("main")
	got, err := r.Chain(t.Context(), "main", head, gitrepo.Hash{})
	if err != nil {
		t.Fatal(err)
	}
	unix := a.Git("log", "-1", "--format=%ct")
	want := gitrepo.Commit{
		Hash: head, Parents: []gitrepo.Hash{hash(t, a.Git("rev-parse", "HEAD^"))}, Tree: hash(t, a.Git("rev-parse", "HEAD^{tree}")),
		Author: "Älva Ånd", Committer: "Cleo Committer", Message: "subject\n\nbody\n",
	}
	if len(got) != 1 || fmt.Sprint(got[0].Time.Unix()) != unix {
		t.Fatalf("got %v, want one commit of second %s", got, unix)
	}
	got[0].Time = time.Time{}
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf("got  %+v\nwant %+v", got[0], want)
	}
}

// Every way to merge a pull request must give the same kind of thing: the commits on the branch itself, oldest first.
func TestFirstParents(t *testing.T) {
	s, a := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	first := tip(t, r, "main")
	old := a.Head()
	for i, how := range []string{"merge", "squash", "rebase", "merge"} {
		branch := fmt.Sprintf("feature-%d", i)
		a.Git("checkout", "--quiet", "-b", branch, old) // forked before what was merged meanwhile
		for j := range 3 {
			a.Write(fmt.Sprintf("images/%s-%d.yaml", branch, j), how)
			a.Commit(how)
		}
		a.Git("checkout", "--quiet", "main")
		a.Merge(branch, how)
	}
	last := hash(t, a.Push())
	want := strings.Fields(a.Git("rev-list", "--first-parent", "--reverse", first.String()+"..main"))
	if len(want) != 6 {
		t.Fatalf("the history has %d first-parent commits, want 6", len(want))
	}
	if got, _ := chain(t, s, r, last, first); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, requests := chain(t, s, r, last, first); !reflect.DeepEqual(got, want) || requests != 0 {
		t.Errorf("the second time: got %q with %d requests, want the same with none", got, requests)
	}
	if got, requests := chain(t, s, r, last, last); len(got) != 0 || requests != 0 {
		t.Errorf("from the tip to itself: got %q with %d requests, want nothing", got, requests)
	}
	restarted := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	if got, _ := chain(t, s, restarted, last, first); !reflect.DeepEqual(got, want) {
		t.Errorf("after a restart: got  %q\nwant %q", got, want)
	}
}

// One merge is the daily case: it must cost one request and not the whole tree again.
func TestOneMergeIsOneSmallFetch(t *testing.T) {
	s := gittest.NewServer(t)
	s.Create("catalog.git")
	a := gittest.NewAuthor(t, s.Dir("catalog.git"))
	for i := range 2000 {
		a.Write(fmt.Sprintf("images/%04d.yaml", i), fmt.Sprint(i))
	}
	a.Commit("specs")
	a.Push()
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	at := tip(t, r, "main")
	for i := range 5 {
		a.Branch("feature")
		a.Write("images/0007.yaml", fmt.Sprint("seven ", i))
		a.Commit("change")
		a.Merge("feature", "merge")
		a.Push()
		next := refs(t, r, "main").Branch("main")
		var sent int
		s.Fail("/git-upload-pack", gittest.Count(&sent))
		got, requests := chain(t, s, r, next, at)
		s.Heal()
		if len(got) != 1 || requests != 1 {
			t.Errorf("merge %d: got %q with %d requests, want one commit with one", i, got, requests)
		}
		if sent > 4096 { // the tree alone has 80 kB
			t.Errorf("merge %d: the server sent %d bytes for one changed file", i, sent)
		}
		deltas, err := r.Diff(at, next)
		if err != nil || len(deltas) != 1 || deltas[0].Path != "images/0007.yaml" {
			t.Errorf("merge %d: differences are %v, %v", i, deltas, err)
		}
		at = next
	}
}

// After a long time off, history is fetched as far as the commit that is known, and not to its beginning.
func TestDeepening(t *testing.T) {
	s, _ := catalog(t)
	history(t, s.Dir("catalog.git"), "main", make([]map[string]file, 401))
	commits := strings.Fields(gittest.Git(t, s.Dir("catalog.git"), "rev-list", "--reverse", "main"))
	last := hash(t, commits[400])
	for _, c := range []struct{ behind, requests, reach int }{
		{0, 1, 2}, {1, 1, 2}, {5, 2, 8}, {7, 2, 8}, {20, 3, 32}, {100, 4, 128}, {300, 5, 512},
	} {
		r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
		refs(t, r, "main")
		at := len(commits) - 1 - c.behind
		got, requests := chain(t, s, r, last, hash(t, commits[at]))
		if len(got) != c.behind || c.behind > 0 && !reflect.DeepEqual(got, commits[at+1:]) {
			t.Errorf("%d behind: got %d commits", c.behind, len(got))
		}
		if c.behind > 0 && requests != c.requests+1 { // the first one asks what the server can do
			t.Errorf("%d behind: took %d requests, want %d", c.behind, requests, c.requests+1)
		}
		if beyond := len(commits) - 1 - c.reach; beyond >= 0 {
			if _, err := r.Files(hash(t, commits[beyond]), ""); err == nil {
				t.Errorf("%d behind: history was fetched back to %d commits behind and more", c.behind, c.reach)
			}
		}
	}
}

func TestRewritten(t *testing.T) {
	rewrites := map[string]func(a *gittest.Author){
		"force-push": func(a *gittest.Author) {
			a.Git("reset", "--quiet", "--hard", "HEAD~2")
			a.Commit("other")
		},
		"reset": func(a *gittest.Author) { a.Git("reset", "--quiet", "--hard", "HEAD~3") },
		"git pull": func(a *gittest.Author) { // somebody's commit, with what is on the server merged into it
			observed := a.Head()
			a.Git("reset", "--quiet", "--hard", "HEAD~2")
			a.Commit("local")
			a.Git("merge", "--quiet", "--message", "pull", observed)
		},
		"orphan": func(a *gittest.Author) {
			a.Git("checkout", "--quiet", "--orphan", "other")
			a.Commit("other root")
			a.Git("branch", "--quiet", "-M", "main")
		},
	}
	for name, rewrite := range rewrites {
		t.Run(name, func(t *testing.T) {
			s, a := catalog(t)
			for i := range 12 {
				a.Git("commit", "--quiet", "--allow-empty", "--message", fmt.Sprint(i))
			}
			observed := hash(t, a.Push())
			running := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
			tip(t, running, "main")
			rewrite(a)
			a.Git("push", "--quiet", "--force", "origin", "main")
			for when, r := range map[string]*gitrepo.Repo{
				"running": running, "restarted": open(t, gitrepo.Options{URL: s.Repo("catalog.git")}),
			} {
				head := refs(t, r, "main").Branch("main")
				_, err := r.Chain(t.Context(), "main", head, observed)
				wantError(t, err, gitrepo.ErrRewritten, observed.String(), head.String())
				if _, err := r.Files(head, ""); err != nil {
					t.Errorf("%s: the new tip cannot be read: %v", when, err)
				}
			}
		})
	}
}

// A merge made by git pull is known for what it is without fetching all the history there is.
func TestPullIsFoundEarly(t *testing.T) {
	s, a := catalog(t)
	history(t, s.Dir("catalog.git"), "main", make([]map[string]file, 200))
	a.Git("fetch", "--quiet", "origin")
	a.Git("reset", "--quiet", "--hard", "origin/main")
	observed := hash(t, a.Head())
	root := a.Git("rev-list", "--max-parents=0", "HEAD")
	a.Git("reset", "--quiet", "--hard", "HEAD~2")
	a.Commit("local")
	a.Git("merge", "--quiet", "--message", "pull", observed.String())
	a.Push()
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	_, err := r.Chain(t.Context(), "main", refs(t, r, "main").Branch("main"), observed)
	wantError(t, err, gitrepo.ErrRewritten)
	if _, err := r.Files(hash(t, root), ""); err == nil {
		t.Error("all of the history was fetched")
	}
}

// A server's own clone may be shallow; then what it lacks is not asked for again and again.
func TestShallowServer(t *testing.T) {
	s, a := catalog(t)
	first := hash(t, a.Head())
	for i := range 5 {
		a.Git("commit", "--quiet", "--allow-empty", "--message", fmt.Sprint(i))
	}
	a.Push()
	gittest.Git(t, t.TempDir(), "clone", "--quiet", "--bare", "--depth=3", "file://"+s.Dir("catalog.git"), s.Dir("shallow.git"))
	r := open(t, gitrepo.Options{URL: s.Repo("shallow.git")})
	_, err := r.Chain(t.Context(), "main", refs(t, r, "main").Branch("main"), first)
	wantError(t, err, gitrepo.ErrRewritten)
}

func TestTipThatIsGone(t *testing.T) {
	s, a := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	a.Commit("second")
	gone := hash(t, a.Push())
	a.Git("reset", "--quiet", "--hard", "HEAD~1")
	a.Git("push", "--quiet", "--force", "origin", "main")
	_, err := r.Chain(t.Context(), "main", gone, gitrepo.Hash{})
	wantError(t, err, gitrepo.ErrMoved, "not our ref")
}

// Catalog and status may be one branch: what was written is then on the chain, and needs no fetch.
func TestOneBranchForBoth(t *testing.T) {
	s, a := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	first := tip(t, r, "main")
	c := change(first, map[string][]byte{"status/catalog.yaml": []byte("observed\n")})
	c.Branch = "main"
	written, err := r.Commit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got, requests := chain(t, s, r, written, first); requests != 0 || !reflect.DeepEqual(got, []string{written.String()}) {
		t.Errorf("got %q with %d requests, want the written commit with none", got, requests)
	}
	a.Git("pull", "--quiet", "--rebase", "origin", "main")
	a.Write("images/a.yaml", "new\n")
	a.Commit("a merge on top")
	a.Push()
	next := refs(t, r, "main").Branch("main")
	if got, requests := chain(t, s, r, next, written); requests != 1 || !reflect.DeepEqual(got, []string{a.Head()}) {
		t.Errorf("got %q with %d requests, want the author's commit with one", got, requests)
	}
	deltas, err := r.Diff(first, next)
	if err != nil || len(deltas) != 2 {
		t.Errorf("differences are %v, %v; want the status and the spec", deltas, err)
	}
	gittest.Fsck(t, s.Dir("catalog.git"))
}
