package reconcile

import (
	"errors"
	"fmt"
	"maps"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// Change is what is changed in a catalog against the base that it would be merged into. Its specs are a stranger's until they are
// merged: the base's policy judges them, only registries that it lists are contacted, and no credential is used unless it says so.
type Change struct {
	// Problems are those of the change as a whole; Warnings are for its author and reviewers.
	Problems, Warnings []schema.Problem

	policy  release.Policy
	touched map[string]bool   // paths of specs that differ
	deleted map[string]string // names of images whose specs are gone, and where these were
}

// MaxCommits bounds how much of a change's history is looked at.
const MaxCommits = 200

// ReadChange compares a checkout, of which the report is, with the commit where it leaves a base; the policy is that of the base's tip.
// The commits are those in between, the oldest first. The error is that what they hold cannot be read.
func ReadChange(checkout *gitrepo.Checkout, tip, fork gitrepo.Hash, commits []gitrepo.Commit, report Report) (*Change, error) {
	c := &Change{touched: map[string]bool{}, deleted: map[string]string{}}
	if err := c.readPolicy(checkout, tip); err != nil {
		return nil, err
	}
	before, err := regular(checkout, fork, specDir)
	if err != nil {
		return nil, err
	}
	for path, hash := range report.files {
		if path != catalogFile && before[path] != hash {
			c.touched[path] = true
		}
	}
	if err := c.findDeleted(checkout, before, report); err != nil {
		return nil, err
	}
	policy, err := policyAt(checkout, fork)
	if err != nil {
		return nil, err
	}
	if policy != report.files[catalogFile] && len(c.touched)+len(c.deleted) > 0 {
		c.Problems = append(c.Problems, policyWithSpecs)
	}
	statuses, err := regular(checkout, fork, "status")
	if err != nil {
		return nil, err
	}
	if !maps.Equal(statuses, report.statuses) {
		c.Problems = append(c.Problems, statusesChanged)
	}
	return c, c.findSplit(checkout, commits)
}

// regular are the regular files below a directory in a commit, by path.
func regular(checkout *gitrepo.Checkout, commit gitrepo.Hash, dir string) (map[string]gitrepo.Hash, error) {
	entries, err := checkout.Files(commit, dir)
	files := map[string]gitrepo.Hash{}
	for _, e := range entries {
		if isRegular(e) {
			files[e.Path] = e.Hash
		}
	}
	return files, err
}

func isRegular(e gitrepo.Entry) bool { return e.Kind == gitrepo.File || e.Kind == gitrepo.Executable }

// policyAt is the policy's file in a commit; zero where there is none.
func policyAt(checkout *gitrepo.Checkout, commit gitrepo.Hash) (gitrepo.Hash, error) {
	entry, _, err := checkout.Lookup(commit, catalogFile)
	if err != nil || !isRegular(entry) {
		return gitrepo.Hash{}, err
	}
	return entry.Hash, nil
}

func (c *Change) readPolicy(checkout *gitrepo.Checkout, tip gitrepo.Hash) error {
	hash, err := policyAt(checkout, tip)
	if err != nil || hash.IsZero() {
		return err
	}
	data, err := checkout.Blob(hash, schema.MaxFileSize)
	if err != nil {
		return err
	}
	catalog, problems := schema.DecodeCatalog(catalogFile, data)
	if len(problems) > 0 {
		return fmt.Errorf("the policy of the base cannot be used: %s", problems[0])
	}
	c.policy = catalog.Policy
	return nil
}

// findDeleted finds the images whose file is gone, or another's now, and that no other file stands for.
func (c *Change) findDeleted(checkout *gitrepo.Checkout, before map[string]gitrepo.Hash, report Report) error {
	claimed := map[string]bool{}
	for _, name := range report.names {
		claimed[name] = true
	}
	for path, hash := range before {
		if report.files[path] == hash {
			continue
		}
		data, err := checkout.Blob(hash, schema.MaxFileSize)
		if errors.Is(err, gitrepo.ErrTooLarge) {
			continue
		} else if err != nil {
			return err
		}
		name, _, _ := schema.DecodeImage(path, data)
		_, there := report.files[path]
		if name != "" && !claimed[name] && !(there && report.names[path] == "") { // a file with a mistake stands for its image still
			c.deleted[name] = path
		}
	}
	return nil
}

// findSplit warns of specs whose request several commits of the change make: a rebase makes each of them a release.
func (c *Change) findSplit(checkout *gitrepo.Checkout, commits []gitrepo.Commit) error {
	requests := map[string]int{}
	for _, commit := range commits {
		if len(commit.Parents) > 1 {
			continue // what it brings others made
		}
		var parent gitrepo.Hash
		if len(commit.Parents) > 0 {
			parent = commit.Parents[0]
		}
		made, err := requestsOf(checkout, parent, commit.Hash, c.touched)
		if err != nil {
			return err
		}
		for _, path := range made {
			requests[path]++
		}
	}
	c.Warnings = append(c.Warnings, splitWarnings(requests)...)
	return nil
}

// requestsOf are the paths, of those given, at which a commit asks for another release than its parent did.
func requestsOf(checkout *gitrepo.Checkout, parent, commit gitrepo.Hash, paths map[string]bool) (made []string, err error) {
	before := map[string]gitrepo.Hash{}
	if !parent.IsZero() {
		if before, err = regular(checkout, parent, specDir); err != nil {
			return nil, err
		}
	}
	after, err := regular(checkout, commit, specDir)
	if err != nil {
		return nil, err
	}
	spec := func(path string, hash gitrepo.Hash) (*schema.Image, error) {
		if hash.IsZero() {
			return nil, nil
		}
		data, err := checkout.Blob(hash, schema.MaxFileSize)
		if errors.Is(err, gitrepo.ErrTooLarge) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		_, spec, _ := schema.DecodeImage(path, data)
		return spec, nil
	}
	for path := range paths {
		if before[path] == after[path] {
			continue
		}
		was, err := spec(path, before[path])
		if err != nil {
			return nil, err
		}
		is, err := spec(path, after[path])
		if err != nil {
			return nil, err
		}
		if is != nil && (was == nil || asksAnew(was, is)) {
			made = append(made, path)
		}
	}
	return made, nil
}

// contacts reports whether an image of the change may be looked at before it is merged.
func (c *Change) contacts(image release.Image) bool {
	return c.policy.Registries != nil && (image.Credentials == "" || c.policy.ReviewWithCredentials)
}
