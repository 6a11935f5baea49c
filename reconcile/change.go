package reconcile

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// Change is what a checkout changes against the base that it would be merged into. Its specs are a stranger's until they are
// merged: the base's policy judges them, only registries that it lists are contacted, and no credential is used unless it says so.
type Change struct {
	// Problems are those of the change as a whole; Warnings are for its author and reviewers.
	Problems, Warnings []schema.Problem

	policy  release.Policy
	touched map[string]bool   // paths of specs that differ
	deleted map[string]string // names of images whose specs are gone, and where these were
}

// maxCommits bounds how much of a change's history is looked at.
const maxCommits = 200

// ReadChange compares a checkout, of which the report is, with the commit where it leaves a base; the policy is that of the base's
// tip. The error is that the clone cannot be read, or lacks the history for it.
func ReadChange(checkout *gitrepo.Checkout, base string, report Report) (*Change, error) {
	tip, fork, err := checkout.Fork(base)
	if err != nil {
		return nil, err
	}
	c := &Change{touched: map[string]bool{}, deleted: map[string]string{}}
	if err := c.readPolicy(checkout, tip); err != nil {
		return nil, err
	}
	before, err := checkout.Files(fork, specDir)
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
	policy, err := checkout.Files(fork, catalogFile)
	if err != nil {
		return nil, err
	}
	if policy[catalogFile] != report.files[catalogFile] && len(c.touched)+len(c.deleted) > 0 {
		c.Problems = append(c.Problems, schema.Problem{Path: catalogFile, Line: 1, Column: 1,
			Message: "the policy is changed together with specs", Hint: "it decides what is trusted, so change it in a pull request of its own"})
	}
	statuses, err := checkout.Files(fork, "status")
	if err != nil {
		return nil, err
	}
	if !maps.Equal(statuses, report.statuses) {
		c.Problems = append(c.Problems, schema.Problem{Path: "status", Line: 1, Column: 1,
			Message: "files under status/ are changed", Hint: "the daemon writes them; leave them out of the change"})
	}
	return c, c.findSplit(checkout, fork)
}

func (c *Change) readPolicy(checkout *gitrepo.Checkout, tip gitrepo.Hash) error {
	files, err := checkout.Files(tip, catalogFile)
	if err != nil || files[catalogFile].IsZero() {
		return err
	}
	data, err := checkout.Blob(files[catalogFile], schema.MaxFileSize)
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
func (c *Change) findSplit(checkout *gitrepo.Checkout, fork gitrepo.Hash) error {
	commits, err := checkout.Commits(fork, maxCommits)
	if err != nil {
		return err
	}
	requests := map[string]int{}
	for _, commit := range commits {
		parent, err := checkout.Parent(commit)
		if err != nil {
			return err
		}
		made, err := requestsOf(checkout, parent, commit, c.touched)
		if err != nil {
			return err
		}
		for _, path := range made {
			requests[path]++
		}
	}
	for _, path := range slices.Sorted(maps.Keys(requests)) {
		if n := requests[path]; n > 1 {
			c.Warnings = append(c.Warnings, schema.Problem{Path: path, Line: 1, Column: 1,
				Message: fmt.Sprintf("%d commits change what is to be released", n), Hint: "squash, or each becomes a release if rebased"})
		}
	}
	return nil
}

// requestsOf are the paths, of those given, at which a commit asks for another release than its parent did.
func requestsOf(checkout *gitrepo.Checkout, parent, commit gitrepo.Hash, paths map[string]bool) (made []string, err error) {
	before := map[string]gitrepo.Hash{}
	if !parent.IsZero() {
		if before, err = checkout.Files(parent, specDir); err != nil {
			return nil, err
		}
	}
	after, err := checkout.Files(commit, specDir)
	if err != nil {
		return nil, err
	}
	spec := func(path string, hash gitrepo.Hash) (*schema.Image, error) {
		if hash.IsZero() {
			return nil, nil
		}
		data, err := checkout.Blob(hash, schema.MaxFileSize)
		if err != nil {
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
		if is != nil && (was == nil || was.Image.Reference != is.Image.Reference || !was.Upgrade.Equal(is.Upgrade)) {
			made = append(made, path)
		}
	}
	return made, nil
}

// contacts reports whether an image of the change may be looked at before it is merged.
func (c *Change) contacts(image release.Image) bool {
	return c.policy.Registries != nil && (image.Credentials == "" || c.policy.ReviewWithCredentials)
}
