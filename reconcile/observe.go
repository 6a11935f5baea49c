package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// policy is what catalog.yaml says at the tip.
type policy struct {
	release.Policy
	hash     gitrepo.Hash
	present  bool
	problems []string // why it cannot be used
}

// observe walks the first parents from where it stopped to the tip, and gives each image what each commit did to it. Nothing is
// concluded here: that is the planner's part.
func (d *Daemon) observe(ctx context.Context, now refs) error {
	if d.seen.catalog == now.catalog {
		return nil
	}
	commits, err := d.repo.Chain(ctx, d.cfg.Branch, now.catalog, d.walked)
	d.rewritten = errors.Is(err, gitrepo.ErrRewritten)
	switch {
	case d.rewritten && d.walked.String() != d.written.Observed:
		// Only what was never written is gone from the branch: start again from what was.
		d.read = false
		if err := d.readStatus(ctx, now); err != nil {
			return err
		}
		return d.observe(ctx, now)
	case d.rewritten:
		if commits, err = d.acceptRewrite(ctx, now.catalog); err != nil {
			return err // and it is tried again
		}
		if d.rewritten {
			d.seen.catalog = now.catalog
			return nil
		}
	case err != nil:
		return err
	case d.catalog == nil:
		if d.catalog, err = d.catalogAt(d.walked); err != nil {
			return err
		}
		if d.held != "" {
			d.catalog.lose()
		}
	}
	for _, c := range commits {
		if err := d.step(c); err != nil {
			return err
		}
	}
	if err := d.checkTampering(); err != nil {
		return err
	}
	d.acceptDelisting(commits)
	if err := d.readPolicy(now.catalog); err != nil {
		return err
	}
	d.seen.catalog = now.catalog
	return nil
}

// catalogAt is the catalog at a commit whose changes the images know already.
func (d *Daemon) catalogAt(commit gitrepo.Hash) (*catalog, error) {
	c := newCatalog(d.standings())
	if commit.IsZero() {
		return c, nil
	}
	entries, err := d.repo.Files(commit, specDir)
	if err != nil {
		return nil, fmt.Errorf("reading the specs at %s: %w", commit, err)
	}
	edits := make([]edit, 0, len(entries))
	for _, entry := range entries {
		f, err := readFile(d.repo, entry)
		if err != nil {
			return nil, err
		}
		edits = append(edits, edit{entry.Path, &f})
	}
	c.apply(edits)
	return c, nil
}

// standings are the files that the images were read from last. Where two images claim one file, since that of one is gone
// and its path was used again, the file with mistakes is the later claim.
func (d *Daemon) standings() []standing {
	var usable, broken []standing
	for name, i := range d.images {
		switch path, can, there := i.state.Standing(); {
		case there && can:
			usable = append(usable, standing{name, path})
		case there:
			broken = append(broken, standing{name, path})
		}
	}
	return append(usable, broken...)
}

// step takes one commit into account.
func (d *Daemon) step(c gitrepo.Commit) error {
	deltas, err := d.repo.Diff(d.walked, c.Hash, specDir)
	if err != nil {
		return fmt.Errorf("comparing %s with its first parent: %w", c.Hash, err)
	}
	edits := make([]edit, 0, len(deltas))
	for _, delta := range deltas {
		e := edit{path: delta.Path}
		if delta.New.Kind != 0 {
			f, err := readFile(d.repo, delta.New)
			if err != nil {
				return err
			}
			e.file = &f
		}
		edits = append(edits, e)
	}
	if err := d.trust(c); err != nil {
		return err
	}
	d.give(commitOf(c), d.catalog.apply(edits))
	d.walked = c.Hash
	d.ahead++
	return nil
}

// trust follows the status files through a commit on a branch that holds them beside the catalog: only a commit of a daemon,
// on a tree that was trusted, makes another tree trusted.
func (d *Daemon) trust(c gitrepo.Commit) error {
	if d.cfg.StatusBranch != d.cfg.Branch || d.walked.IsZero() {
		return nil
	}
	before, err := d.statusTree(d.walked)
	if err != nil {
		return err
	}
	if d.trusted == nil {
		d.trusted = &before
	}
	if before == *d.trusted && ownCommit(c.Message) {
		after, err := d.statusTree(c.Hash)
		if err != nil {
			return err
		}
		d.trusted = &after
	}
	return nil
}

// checkTampering refuses to go on from status files that no daemon wrote. Reverting the commit that changed them is enough.
func (d *Daemon) checkTampering() error {
	if d.trusted == nil {
		return nil
	}
	tree, err := d.statusTree(d.walked)
	if err == nil && tree != *d.trusted {
		return d.stall(release.StatusTampered)
	}
	return err
}

func (d *Daemon) statusTree(commit gitrepo.Hash) (gitrepo.Hash, error) {
	return (&Statuses{d.repo, commit, statusDir(d.cfg.Branch, d.cfg.StatusBranch)}).root()
}

// give tells the images named what a commit did to them. Where it took the files of more than half of the images, and of more
// than five, those are held: they stay as they are until somebody accepts it or the files return.
func (d *Daemon) give(commit release.Commit, names []string) {
	before := len(d.catalog.owner)
	var lost []string
	for _, name := range names {
		_, owned := d.catalog.owner[name]
		switch spec, problems := d.catalog.resolve(name); {
		case spec != nil || len(problems) > 0:
			delete(d.catalog.lost, name)
			change := release.Change{Commit: commit, Spec: spec, Problems: problems}
			if spec == nil {
				change.Broken = d.catalog.owner[name]
			}
			d.change(name, change)
		case owned && !d.catalog.lost[name]:
			lost = append(lost, name)
		}
	}
	if len(lost) > 5 && 2*len(lost) > before {
		d.held = commit.ID
		for _, name := range lost {
			d.catalog.lost[name] = true
		}
		d.log.Error("a commit deletes more than half of the specs; delisting waits", "commit", commit.ID, "images", len(lost))
		return
	}
	d.delist(commit, lost)
}

func (d *Daemon) delist(commit release.Commit, names []string) {
	for _, name := range names {
		d.catalog.disown(name)
		d.change(name, release.Change{Commit: commit})
	}
}

func (d *Daemon) change(name string, change release.Change) {
	if d.images[name] == nil {
		d.images[name] = &image{state: release.State{Name: name}, loaded: true}
	}
	i := d.images[name]
	i.state = i.state.Observe(change)
	d.active[name] = true
}

// acceptRewrite goes on from the commit that the operator named, where it is on the branch: each spec that differs there from
// its last valid one makes one request. Otherwise everything stays as it is.
func (d *Daemon) acceptRewrite(ctx context.Context, tip gitrepo.Hash) ([]gitrepo.Commit, error) {
	if d.cfg.AcceptRewrite == "" {
		return nil, nil
	}
	accepted, err := gitrepo.ParseHash(d.cfg.AcceptRewrite)
	if err != nil {
		return nil, fmt.Errorf("--accept-rewrite: %w", err)
	}
	commits, err := d.repo.Chain(ctx, d.cfg.Branch, tip, accepted)
	if errors.Is(err, gitrepo.ErrRewritten) {
		d.log.Error("--accept-rewrite names no first-parent commit of the branch", "commit", d.cfg.AcceptRewrite)
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	there, err := d.catalogAt(accepted)
	if err != nil {
		return nil, err
	}
	c, err := d.repo.CommitAt(accepted)
	if err != nil {
		return nil, err
	}
	d.catalog, d.walked, d.rewritten = there, accepted, false
	d.ahead++
	d.give(commitOf(c), d.catalog.all())
	return commits, nil
}

// acceptDelisting delists what is held, where the operator named the commit that holds it or one after it.
func (d *Daemon) acceptDelisting(commits []gitrepo.Commit) {
	if d.held == "" {
		return
	}
	names := func(c gitrepo.Commit) bool { return c.Hash.String() == d.cfg.AcceptDelisting }
	accepted := d.cfg.AcceptDelisting != "" &&
		(d.cfg.AcceptDelisting == d.held || d.cfg.AcceptDelisting == d.walked.String() || slices.ContainsFunc(commits, names))
	if accepted {
		c, err := d.repo.CommitAt(d.walked)
		if err != nil {
			d.log.Error("accepting the delisting", "error", err)
			return
		}
		d.delist(commitOf(c), slices.Sorted(maps.Keys(d.catalog.lost)))
		clear(d.catalog.lost)
	}
	if len(d.catalog.lost) == 0 {
		d.held = ""
	}
}

// readPolicy reads catalog.yaml at the tip. Another policy judges every refused request again.
func (d *Daemon) readPolicy(tip gitrepo.Hash) error {
	entry, found, err := d.repo.Lookup(tip, catalogFile)
	if err != nil {
		return fmt.Errorf("reading %s: %w", catalogFile, err)
	}
	next := policy{hash: entry.Hash, present: found || d.policy.present || d.written.Policy}
	refuse := func(text string) { next.problems = []string{catalogFile + ":1:1: " + text} }
	switch {
	case !found && next.present:
		refuse("the file was deleted; restore it, an empty policy is written as one without a spec")
	case !found:
	case entry.Kind != gitrepo.File && entry.Kind != gitrepo.Executable:
		refuse("this is no regular file; the policy is one")
	default:
		data, err := d.repo.Blob(entry.Hash, schema.MaxFileSize)
		switch {
		case errors.Is(err, gitrepo.ErrTooLarge):
			refuse(fmt.Sprintf("the file is larger than %d KiB", schema.MaxFileSize>>10))
		case err != nil:
			return fmt.Errorf("reading %s: %w", catalogFile, err)
		default:
			catalog, problems := schema.DecodeCatalog(catalogFile, data)
			for _, p := range problems {
				next.problems = append(next.problems, p.String())
			}
			if catalog != nil {
				next.Policy = catalog.Policy
			}
		}
	}
	if next.hash != d.policy.hash {
		d.looks.Keep(func(string, string) bool { return false })
	}
	d.policy = next
	return nil
}

// hold is why no image may be released now.
func (d *Daemon) hold() release.Reason {
	switch {
	case d.rewritten:
		return release.HistoryRewritten
	case len(d.policy.problems) > 0:
		return release.InvalidPolicy
	case d.policy.Suspend:
		return release.Suspended
	}
	return ""
}

// commitOf is what the planner knows of a commit.
func commitOf(c gitrepo.Commit) release.Commit {
	return release.Commit{ID: c.Hash.String(), Author: Plain(c.Author), Committer: Plain(c.Committer), Time: c.Time.UTC().Truncate(time.Second)}
}
