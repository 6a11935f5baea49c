package reconcile

import (
	"fmt"
	"maps"
	"slices"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
	"tidewaiter/schema"
)

// Bounds on what is read of one head, which is a stranger's.
const (
	maxTouched     = 200      // specs that are looked at
	maxTouchedSize = 2 << 20  // bytes of them: they are kept while the pull request is open
	maxHistory     = 500      // commits since it left the base
	maxHeadPack    = 64 << 20 // bytes of a download
	maxHeadProblem = 100      // problems that are kept
)

// proposal is what a head changes against the commit where it leaves its base. Nothing else decides it, so it is read once.
type proposal struct {
	specs    []*schema.Image
	problems []schema.Problem
	warnings []schema.Problem
	names    map[string]string       // by path of a file that is touched: what it says it is
	files    map[string]gitrepo.Hash // the same files, zero for one that is gone
	removed  map[string]string       // names that files said they are which are gone or another's now, and where
	policy   bool                    // catalog.yaml is changed
	unread   int                     // files that are touched beyond the bounds
	size     int64                   // of the files that were read, in bytes
}

// readProposal reads what a head changes since its fork, where commits are what lies between, oldest first. The cost follows the
// change, and is bounded. The error is that it cannot be read; what is wrong with its files is in the proposal.
func readProposal(repo *gitrepo.Repo, head, fork gitrepo.Hash, commits []gitrepo.Commit) (*proposal, error) {
	deltas, err := repo.Diff(fork, head, specDir, catalogFile, "status")
	if err != nil {
		return nil, err
	}
	p := &proposal{names: map[string]string{}, files: map[string]gitrepo.Hash{}, removed: map[string]string{}}
	statuses := false
	for _, delta := range deltas {
		switch {
		case delta.Path == catalogFile:
			p.policy = true
			if err := p.readPolicy(repo, delta.New); err != nil {
				return nil, err
			}
		case isBelow(delta.Path, "status"):
			statuses = true
		case len(p.files) == maxTouched || p.size > maxTouchedSize:
			p.unread++
		default:
			if err := p.readFile(repo, head, delta); err != nil {
				return nil, err
			}
		}
	}
	if p.policy && len(p.files) > 0 {
		p.problems = append(p.problems, policyWithSpecs)
	}
	if statuses {
		p.problems = append(p.problems, statusesChanged)
	}
	if read := len(p.files); p.unread > 0 {
		p.warnings = append(p.warnings, schema.Problem{Path: specDir, Line: 1, Column: 1,
			Message: fmt.Sprintf("%d specs are changed, and %d of them were looked at", p.unread+read, read),
			Hint:    "tidewaiter check --base looks at all of them"})
	}
	schema.SortProblems(p.problems)
	p.problems = p.problems[:min(len(p.problems), maxHeadProblem)]
	split, err := p.split(repo, commits)
	p.warnings = append(p.warnings, split...)
	return p, err
}

// What is wrong with a change as a whole.
var (
	policyWithSpecs = schema.Problem{Path: catalogFile, Line: 1, Column: 1,
		Message: "the policy is changed together with specs", Hint: "it decides what is trusted, so change it in a pull request of its own"}
	statusesChanged = schema.Problem{Path: "status", Line: 1, Column: 1,
		Message: "files under status/ are changed", Hint: "the daemon writes them; leave them out of the change"}
)

func isBelow(path, dir string) bool {
	return len(path) > len(dir) && path[:len(dir)] == dir && path[len(dir)] == '/'
}

// readPolicy checks a catalog.yaml that is changed. What it says decides nothing before it is merged.
func (p *proposal) readPolicy(repo *gitrepo.Repo, entry gitrepo.Entry) error {
	refuse := func(text string) error {
		p.problems = append(p.problems, schema.Problem{Path: catalogFile, Line: 1, Column: 1, Message: text})
		return nil
	}
	if wrong := wrongWith(repo, entry, schema.MaxFileSize); wrong != "" {
		return refuse(wrong)
	}
	data, err := repo.Blob(entry.Hash, schema.MaxFileSize)
	if err != nil {
		return err
	}
	_, problems := schema.DecodeCatalog(catalogFile, data)
	p.problems = append(p.problems, problems...)
	return nil
}

// readFile reads one file under images/ that is changed.
func (p *proposal) readFile(repo *gitrepo.Repo, head gitrepo.Hash, delta gitrepo.Delta) error {
	p.files[delta.Path] = delta.New.Hash
	var was string
	if delta.Old.Kind != 0 {
		var err error
		if was, _, _, err = readSpec(repo, delta.Old); err != nil {
			return err
		}
	}
	if delta.New.Kind == 0 {
		if was != "" {
			p.removed[was] = delta.Path
		}
		return nil
	}
	name, spec, problems, err := readSpec(repo, delta.New)
	if err != nil {
		return err
	}
	p.names[delta.Path] = name
	if was != "" && name != "" && name != was { // one with a mistake stands for its image still
		p.removed[was] = delta.Path
	}
	p.problems = append(p.problems, problems...)
	if spec == nil {
		return nil
	}
	p.size += repo.Size(delta.New.Hash)
	spec.Description, spec.Dockerfile.Inline = "", "" // nothing follows from them
	p.specs = append(p.specs, spec)
	p.problems = append(p.problems, judgeFiles(spec, func(path string, limit int64) string {
		entry, found, err := repo.Lookup(head, path)
		if err != nil || !found {
			return noSuchFile
		}
		return wrongWith(repo, entry, limit)
	})...)
	return nil
}

// empty reports whether the proposal is about something else than the catalog.
func (p *proposal) empty() bool { return len(p.files) == 0 && !p.policy && len(p.problems) == 0 }

// wrongWith says what is wrong with an entry as a regular file of at most limit bytes.
func wrongWith(repo *gitrepo.Repo, entry gitrepo.Entry, limit int64) string {
	switch entry.Kind {
	case gitrepo.File, gitrepo.Executable:
	case gitrepo.Symlink:
		return "this is a symbolic link; use a regular file"
	case 0:
		return "the file is deleted"
	default:
		return "this is no regular file"
	}
	if repo.Size(entry.Hash) > limit {
		return fmt.Sprintf("the file is larger than %d KiB", limit>>10)
	}
	return ""
}

// split warns of specs whose request several commits make: a rebase makes each of them a release.
func (p *proposal) split(repo *gitrepo.Repo, commits []gitrepo.Commit) ([]schema.Problem, error) {
	requests := map[string]int{}
	for _, c := range commits {
		if len(c.Parents) != 1 {
			continue
		}
		deltas, err := repo.Diff(c.Parents[0], c.Hash, specDir)
		if err != nil {
			return nil, err
		}
		for _, delta := range deltas {
			if _, touched := p.names[delta.Path]; !touched || delta.New.Kind == 0 {
				continue
			}
			asks, err := asksOther(repo, delta)
			if err != nil {
				return nil, err
			}
			if asks {
				requests[delta.Path]++
			}
		}
	}
	return splitWarnings(requests), nil
}

// asksOther reports whether a commit that changed a file so asks for another release.
func asksOther(repo *gitrepo.Repo, delta gitrepo.Delta) (bool, error) {
	_, is, _, err := readSpec(repo, delta.New)
	if err != nil || is == nil {
		return false, err
	}
	if delta.Old.Kind == 0 {
		return true, nil
	}
	_, was, _, err := readSpec(repo, delta.Old)
	return was == nil || asksAnew(was, is), err
}

// asksAnew reports whether one spec asks for another release than the one before it.
func asksAnew(was, is *schema.Image) bool {
	return was.Image.Reference != is.Image.Reference || !was.Upgrade.Equal(is.Upgrade)
}

// splitWarnings are about the paths where more than one commit asks for a release.
func splitWarnings(requests map[string]int) (warnings []schema.Problem) {
	for _, path := range slices.Sorted(maps.Keys(requests)) {
		if n := requests[path]; n > 1 {
			warnings = append(warnings, schema.Problem{Path: path, Line: 1, Column: 1,
				Message: fmt.Sprintf("%d commits change what is to be released", n), Hint: "squash, or each becomes a release if rebased"})
		}
	}
	return warnings
}

// baseFile is a file under images/ of the base: what it says it is, and its content.
type baseFile struct {
	name string
	hash gitrepo.Hash
}

// base is what heads would be merged into.
type base struct {
	commit   gitrepo.Hash
	policy   policy
	files    map[string]baseFile // by path
	statuses *Statuses
	pending  map[string]release.State // of images whose statuses do not say everything yet, by name
}

// contained reports whether the base has all that a proposal changes: it was merged, in whatever way.
func (b base) contained(p *proposal) bool {
	if p.unread > 0 || p.policy {
		return false
	}
	for path, hash := range p.files {
		if b.files[path].hash != hash {
			return false
		}
	}
	return len(p.files) > 0
}

// about are the images that a proposal is about, sorted.
func (p *proposal) about() []string {
	names := map[string]bool{}
	for _, name := range p.names {
		names[name] = true
	}
	for name := range p.removed {
		names[name] = true
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}

// judge holds a proposal to its base: the policy that judges it, and the names that other files have. What follows from merging it
// is left to the predictor.
func (b base) judge(p *proposal) (Report, *Change) {
	problems := slices.Clone(p.problems)
	claims := map[string][]string{} // by name: paths once it is merged
	about := p.about()
	for path, f := range b.files {
		if _, touched := p.files[path]; !touched && slices.Contains(about, f.name) {
			claims[f.name] = append(claims[f.name], path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(p.names)) {
		if name := p.names[path]; name != "" {
			claims[name] = append(claims[name], path)
		}
	}
	touched := map[string]bool{}
	for _, spec := range p.specs {
		touched[spec.Path] = true
		problems = append(problems, judgePolicy(spec, b.policy.Policy)...)
		others := slices.DeleteFunc(slices.Clone(claims[spec.Name]), func(path string) bool { return path == spec.Path })
		if len(others) > 0 {
			problems = append(problems, duplicateOf(nameOfSpec(spec), spec.Name, others))
		}
	}
	deleted := map[string]string{}
	for name, path := range p.removed {
		if len(claims[name]) == 0 {
			deleted[name] = path
		}
	}
	schema.SortProblems(problems)
	return Report{
			Report: review.Report{Specs: len(p.specs), Problems: problems, Warnings: slices.Clone(p.warnings)},
			specs:  p.specs,
		}, &Change{
			policy: b.policy.Policy, touched: touched, deleted: deleted,
		}
}

// notRead is a report of a head that cannot be read.
func notRead(text string) review.Report {
	return review.Report{Problems: []schema.Problem{{Path: specDir, Line: 1, Column: 1, Message: text}}}
}
