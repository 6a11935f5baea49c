package reconcile

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// writeAtMost bounds a write that goes on although the daemon was told to stop.
const writeAtMost = 30 * time.Second

// record makes the plan true: where there is news, everything that changed is written as one commit on exactly what was read,
// and only what is on the server counts as done. A crash before that leaves nothing, one after it leaves all: the
// next start reads it and goes on from there.
func (d *Daemon) record(ctx context.Context, p plan) error {
	switch {
	case p.news && d.cfg.DryRun != nil:
		return d.print(p)
	case p.news:
		if err := d.write(ctx, p); err != nil {
			return err
		}
	}
	for _, n := range p.images {
		d.settled(n, p)
	}
	d.looks.Keep(d.wanted)
	d.count()
	return nil
}

// manyFiles is from how many files on a write takes so much memory that it is given back to the system at once: the runtime
// would keep it for minutes, and a limit on the daemon's memory need not allow for that.
const manyFiles = 1000

// write pushes what the plan changes.
func (d *Daemon) write(ctx context.Context, p plan) error {
	files, err := d.files(p)
	if err != nil {
		return err
	}
	// Once begun, a write is finished whatever happens to the daemon: half of one would only have to be settled later.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeAtMost)
	defer cancel()
	message := d.message(p)
	commit, err := d.repo.Commit(ctx, gitrepo.Change{
		Branch:  d.cfg.StatusBranch,
		Parent:  d.seen.status,
		Files:   files,
		Message: message,
		Author:  d.cfg.Author,
		When:    p.time,
	})
	if errors.Is(err, gitrepo.ErrMoved) {
		d.metrics.writeConflicts.Inc()
	}
	if err != nil {
		return fmt.Errorf("writing to branch %s: %w", d.cfg.StatusBranch, err)
	}
	subject, _, _ := strings.Cut(message, "\n")
	d.log.Info("recorded", "commit", commit.String(), "subject", subject, "files", len(files))
	if len(files) >= manyFiles {
		clear(files)
		debug.FreeOSMemory()
	}
	return d.wrote(commit, p)
}

// wrote notes what the server holds now.
func (d *Daemon) wrote(commit gitrepo.Hash, p plan) error {
	d.statuses = &Statuses{d.repo, commit, statusDir(d.cfg.Branch, d.cfg.StatusBranch)}
	root, err := d.statuses.root()
	if err != nil {
		return err
	}
	if d.cfg.StatusBranch == d.cfg.Branch {
		d.trusted = &root
	}
	d.seen.status, d.seen.root, d.written, d.ahead = commit, root, p.catalog, 0
	d.noticeWritten(p)
	for _, n := range p.images {
		n.written = n.status
		n.hash = gitrepo.Hash{} // it is read again only when somebody else writes
		for _, r := range n.made {
			d.tell(n.next.Name, r, n.checks[r.Request.ID])
			d.metrics.releases.WithLabelValues(r.Mode.String()).Inc()
			d.metrics.lag.Observe(max(0, d.cfg.Now().Sub(r.Request.Time).Seconds()))
		}
	}
	return nil
}

// settled takes over what was planned for one image. What is not written yet, because it is no news, is planned
// again from here; a restart works it out again from what is written.
func (d *Daemon) settled(n planned, p plan) {
	n.state = n.next
	if n.now != n.reason {
		n.reason, n.since = n.now, p.time
		d.logReason(n)
	}
	for _, r := range n.next.Requests {
		if r.Verdict != nil && r.Reason.Again(r.Image.Digest != "") {
			d.looks.Repeat(n.next.Name, r.ID, r.Image)
		}
	}
	switch {
	case n.next.Gone() && !n.dirty():
		delete(d.images, n.next.Name)
		delete(d.active, n.next.Name)
	case !n.open() && !n.dirty():
		delete(d.active, n.next.Name)
		n.state.Releases, n.promised, n.loaded = nil, nil, false // they are read again when something happens to the image
	}
}

// logReason says in the log what became of an image, with what the registry said where it refused.
func (d *Daemon) logReason(n planned) {
	log := d.log.With("image", n.next.Name, "reason", n.reason)
	switch {
	case n.reason == release.Verifying:
		log.Debug("verifying the image")
	case n.reason.Kind() == 0:
		log.Info("image settled")
	default:
		detail := ""
		if open := n.next.Requests; len(open) > 0 {
			newest := open[len(open)-1]
			detail = d.looks.Detail(n.next.Name, newest.ID)
			if newest.Verdict != nil {
				detail = strings.Join(newest.Verdict.Findings, "\n")
				d.metrics.found(n.checks[newest.ID].findings)
			}
		}
		log.Warn("image not released", "message", n.reason.Message(), "detail", detail)
	}
}

// wanted reports whether a look is still one that an open request waits for.
func (d *Daemon) wanted(name, commit string) bool {
	i, ok := d.images[name]
	return ok && (len(i.state.Backlog) > 0 || slices.ContainsFunc(i.state.Requests, func(r release.Request) bool { return r.ID == commit }))
}

// count brings the metrics about images up to date.
func (d *Daemon) count() {
	hold := d.hold()
	reasons := make([]release.Reason, 0, len(d.images))
	for _, i := range d.images {
		reasons = append(reasons, i.state.Reason(hold))
	}
	d.metrics.images(reasons)
}

// files are the contents of everything that the plan writes, by path; nil for a file to delete.
func (d *Daemon) files(p plan) (map[string][]byte, error) {
	files := map[string][]byte{}
	put := func(data []byte, err error, elements ...string) error {
		files[path.Join(append([]string{statusDir(d.cfg.Branch, d.cfg.StatusBranch)}, elements...)...)] = data
		return err
	}
	for _, n := range p.images {
		name := n.next.Name
		if n.next.Gone() {
			if err := put(nil, nil, imagesDir, name+".yaml"); err != nil {
				return nil, err
			}
			continue
		}
		if n.dirty() {
			data, err := schema.EncodeImageStatus(name, n.status)
			if err := put(data, err, imagesDir, name+".yaml"); err != nil {
				return nil, err
			}
		}
		for _, r := range n.made {
			data, err := schema.EncodeRelease(d.recordOf(name, r, n.checks[r.Request.ID]))
			if err := put(data, err, releasesDir, name, r.Version.String()+".yaml"); err != nil {
				return nil, err
			}
		}
	}
	data, err := schema.EncodeCatalogStatus(p.catalog)
	if err := put(data, err, catalogFile); err != nil {
		return nil, err
	}
	return files, put(d.readme(p), nil, readmeFile)
}

// recordOf is the release record: what was asked and applied, what was verified, and who approved it.
func (d *Daemon) recordOf(name string, r release.Release, compared comparison) schema.Record {
	found := d.looks.Image(name, r.Request.ID, r.Image)
	record := schema.Record{
		Name:       name,
		Version:    r.Version,
		Reference:  r.Reference(),
		Digest:     r.Digest,
		MediaType:  found.MediaType,
		Mode:       schema.Modes{Asked: r.Upgrade.Mode, Carried: r.Carried, Applied: r.Mode},
		ReleasedAt: r.Time,
		Request:    schema.RequestCommit{Commit: r.Request.ID, Time: r.Request.Time},
		ApprovedBy: approvedBy(r.Request.Author, r.Request.Committer, d.looks.Approval(name, r.Request.ID, r.Image)),
		Image:      r.Image,
		Upgrade:    r.Upgrade,
		Verify:     "layers",
		Size:       found.Size,
		Baseline:   compared.baseline,
		Contract:   compared.contract,
		Findings:   compared.recorded(),
	}
	if d.policy.Content {
		record.Verify = "content"
	}
	for _, p := range found.Platforms {
		record.Platforms = append(record.Platforms, schema.PlatformImage{Platform: p.Platform, Digest: p.Digest, Size: p.Size})
	}
	return record
}
