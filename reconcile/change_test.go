package reconcile

import (
	"reflect"
	"slices"
	"testing"

	"tidewaiter/reconcile/gitrepo"
)

// A review by the daemon and a check in the pull request's CI must say the same of a change, though one reads the remote and the
// other a clone.
func TestChangeIsTheSameFromEverySide(t *testing.T) {
	w := newWorld(t)
	a := w.author
	a.Write("images/one.yaml", w.spec("one", "1", "compatible-fix: first"))
	a.Write("images/two.yaml", w.spec("two", "1", "compatible-fix: first"))
	a.Write("images/gone.yaml", w.spec("gone", "1", "compatible-fix: first"))
	a.Commit("specs")
	a.Push()
	a.Branch("change")
	a.Write("images/one.yaml", w.spec("one", "2", "compatible-fix: second"))
	a.Commit("second")
	a.Write("images/one.yaml", w.spec("one", "3", "compatible-fix: third"))
	a.Write("images/two.yaml", w.spec("two", "2", "compatible-fix: second"))
	a.Remove("images/gone.yaml")
	a.Commit("third")
	a.Git("push", "--quiet", "origin", "change:refs/pull/1/head")
	a.Git("checkout", "--quiet", "main")
	a.Write("images/later.yaml", w.spec("later", "1", "compatible-fix: meanwhile"))
	a.Commit("meanwhile")
	a.Push()
	a.Git("checkout", "--quiet", "change")
	a.Git("merge", "--quiet", "--message", "update", "main")
	a.Git("push", "--quiet", "origin", "change:refs/pull/1/head")

	report, err := Check(a.Dir)
	if err != nil {
		t.Fatal(err)
	}
	checkout, err := gitrepo.OpenCheckout(a.Dir)
	if err != nil {
		t.Fatal(err)
	}
	tip, fork, commits, err := checkout.Fork("main", MaxCommits)
	if err != nil {
		t.Fatal(err)
	}
	checked, err := ReadChange(checkout, tip, fork, commits, report)
	if err != nil {
		t.Fatal(err)
	}

	repo, err := gitrepo.Open(gitrepo.Options{URL: w.git.Repo(catalogRepo), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	refs, err := repo.Refs(t.Context(), "main", "refs/pull/*/head")
	if err != nil {
		t.Fatal(err)
	}
	main := refs.Branch("main")
	if _, err := repo.Chain(t.Context(), "main", main, gitrepo.Hash{}); err != nil {
		t.Fatal(err)
	}
	fork, commits, err = repo.Fork(t.Context(), "refs/pull/1/head", refs["refs/pull/1/head"], main, MaxCommits)
	if err != nil {
		t.Fatal(err)
	}
	proposal, err := readProposal(repo, refs["refs/pull/1/head"], fork, commits)
	if err != nil {
		t.Fatal(err)
	}
	d := w.start()
	d.pass()
	onto := base{policy: d.policy, files: map[string]baseFile{}}
	for path, f := range d.catalog.files {
		onto.files[path] = baseFile{f.name, f.hash}
	}
	found, reviewed := onto.judge(proposal)
	reviewed.Warnings = found.Warnings
	if !reflect.DeepEqual(reviewed, checked) {
		t.Errorf("the review reads\n%+v\nthe check\n%+v", reviewed, checked)
	}
	if len(reviewed.touched) != 2 || !reflect.DeepEqual(reviewed.deleted, map[string]string{"gone": "images/gone.yaml"}) || reviewed.policy.Registries == nil {
		t.Errorf("the change reads %+v", reviewed)
	}
	if len(reviewed.Warnings) != 1 || len(found.Problems) != 0 || reviewed.Warnings[0].Path != "images/one.yaml" || !slices.Equal(reviewed.Problems, nil) {
		t.Errorf("the change has warnings %v and problems %v", reviewed.Warnings, reviewed.Problems)
	}
}
