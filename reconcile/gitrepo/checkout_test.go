package gitrepo_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
)

// A review reads a head from the remote, a check the same commits in somebody's clone. What both find must not differ, whatever is
// in the trees.
func TestCheckoutReadsWhatRepoDoes(t *testing.T) {
	s, a, r, base := proposal(t, gitrepo.Options{})
	a.Branch("head")
	a.Write("images/lang.d/a.yaml", "a")
	a.Write("images/lang/b.yaml", "b")
	a.Write("images/lang-c.yaml", "c")
	if err := os.Symlink("lang/b.yaml", filepath.Join(a.Dir, "images/link.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(a.Dir, "images/lang-c.yaml"), 0o777); err != nil {
		t.Fatal(err)
	}
	a.Commit("kinds")
	a.Git("update-index", "--add", "--cacheinfo", "160000,"+base.String()+",images/module")
	a.Git("commit", "--quiet", "--message", "a submodule")
	a.Git("checkout", "--quiet", "-b", "side", "HEAD~1")
	commits(a, "side", 1)
	a.Git("checkout", "--quiet", "head")
	a.Git("merge", "--quiet", "--message", "merge", "side")
	head := propose(t, a, 1)
	a.Git("checkout", "--quiet", "main")
	commits(a, "main", 3)
	a.Push()
	a.Git("checkout", "--quiet", "head")

	base = tip(t, r, "main")
	fork, own, err := r.Fork(t.Context(), "refs/pull/1/head", head, base, 200)
	if err != nil {
		t.Fatal(err)
	}
	checkout, err := gitrepo.OpenCheckout(a.Dir)
	if err != nil {
		t.Fatal(err)
	}
	gotTip, gotFork, got, err := checkout.Fork("main", 200)
	if err != nil || gotTip != base || gotFork != fork {
		t.Errorf("the clone leaves %s at %s, %v; want %s at %s", gotTip, gotFork, err, base, fork)
	}
	plain := func(commits []gitrepo.Commit) []gitrepo.Commit {
		commits = slices.Clone(commits)
		for i := range commits {
			commits[i].Time = commits[i].Time.UTC()
		}
		slices.SortFunc(commits, func(a, b gitrepo.Commit) int { return slices.Compare(a.Hash[:], b.Hash[:]) })
		return commits
	}
	if got, want := plain(got), plain(own); len(want) != 4 || !reflect.DeepEqual(got, want) {
		t.Errorf("the clone has commits\n%v\nwant\n%v", got, want)
	}
	if _, _, some, err := checkout.Fork("main", 2); err != nil || len(some) != 2 {
		t.Errorf("at most 2 commits are %v, %v", some, err)
	}
	for _, commit := range []gitrepo.Hash{head, fork, base} {
		for _, path := range []string{"", "images", "images/lang", "images/lang-c.yaml", "images/link.yaml", "images/module", "images/nothing", "images/link.yaml/x", "status"} {
			found, there, err := checkout.Lookup(commit, path)
			want, wantThere, wantErr := r.Lookup(commit, path)
			if found != want || there != wantThere || err != nil || wantErr != nil {
				t.Errorf("%s of %s is %v, %t, %v in the clone, want %v, %t, %v", path, commit, found, there, err, want, wantThere, wantErr)
			}
			files, err := checkout.Files(commit, path)
			all, wantErr := r.Files(commit, path)
			if !slices.Equal(files, all) || err != nil || wantErr != nil {
				t.Errorf("below %s of %s there are %v, %v in the clone, want %v, %v", path, commit, files, err, all, wantErr)
			}
		}
	}
	gittest.Fsck(t, s.Dir("catalog.git"))

	// A catalog that is a directory of a repository sees that alone, under the same names.
	below, err := gitrepo.OpenCheckout(filepath.Join(a.Dir, "images"))
	if err != nil {
		t.Fatal(err)
	}
	if files, err := below.Files(head, "lang"); err != nil || len(files) != 1 || files[0].Path != "lang/b.yaml" {
		t.Errorf("below a directory there are %v, %v", files, err)
	}
	if all, err := below.Files(head, ""); err != nil || len(all) != 107 || all[0].Path != "00.yaml" {
		t.Errorf("in a directory there are %d files, %v", len(all), err)
	}
}
