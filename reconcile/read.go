package reconcile

import (
	"context"
	"errors"
	"fmt"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// Stalled is what holds up a whole catalog and cannot be written to the status branch, because that is what is wrong.
type Stalled struct{ Reason release.Reason }

func (e *Stalled) Error() string { return fmt.Sprintf("%s: %s", e.Reason, e.Reason.Message()) }

// readStatus reads what was written to the status branch, unless it is what this daemon read or wrote last. Everything worked
// out and not written is forgotten: it follows again from what is there now.
func (d *Daemon) readStatus(ctx context.Context, now refs) error {
	if d.read && now.status == d.seen.status {
		return nil
	}
	statuses := &Statuses{d.repo, now.status, statusDir(d.cfg.Branch, d.cfg.StatusBranch)}
	var root gitrepo.Hash
	if !now.status.IsZero() {
		_, err := d.repo.Chain(ctx, d.cfg.StatusBranch, now.status, gitrepo.Hash{})
		if err == nil {
			root, err = statuses.root()
		}
		if err != nil {
			return err
		}
	}
	switch {
	case d.read && root == d.seen.root && !root.IsZero():
		d.seen.status, d.statuses = now.status, statuses // a merge into a branch that holds both
		return nil
	case root.IsZero() && !d.seen.root.IsZero():
		return d.stall(release.StatusMissing)
	case root.IsZero():
		d.written, d.images = release.CatalogStatus{}, map[string]*image{}
	default:
		if err := d.readFiles(statuses); err != nil {
			return err
		}
	}
	d.untold.all = true // somebody else wrote: it may be of any image
	d.read, d.seen, d.statuses = true, seen{refs: refs{status: now.status}, root: root}, statuses
	d.catalog, d.held, d.ahead, d.walked = nil, d.written.Held, 0, gitrepo.Hash{}
	if d.written.Observed != "" {
		observed, err := gitrepo.ParseHash(d.written.Observed)
		if err != nil {
			return fmt.Errorf("reading the observed commit: %w", err)
		}
		d.walked = observed
	}
	d.active = map[string]bool{}
	for name, i := range d.images {
		if i.open() {
			d.active[name] = true
		}
	}
	return nil
}

// stall reports what stands in the way of reading or writing statuses.
func (d *Daemon) stall(reason release.Reason) error {
	d.metrics.stall(reason)
	return &Stalled{reason}
}

// readFiles reads the catalog's status and that of each image. A file that was read before is not read again.
func (d *Daemon) readFiles(statuses *Statuses) error {
	written, err := statuses.Catalog()
	var missing *Stalled
	if errors.As(err, &missing) {
		return d.stall(missing.Reason)
	} else if err != nil {
		return err
	}
	entries, err := statuses.entries(imagesDir)
	if err != nil {
		return err
	}
	images := make(map[string]*image, len(entries))
	for _, entry := range entries {
		name := nameOf(entry)
		i, known := d.images[name]
		if !known || i.hash != entry.Hash {
			data, err := d.repo.Blob(entry.Hash, maxStatusSize)
			if err != nil {
				return fmt.Errorf("reading %s: %w", entry.Path, err)
			}
			i = &image{hash: entry.Hash}
			if _, i.written, err = schema.DecodeImageStatus(entry.Path, data); err != nil {
				return err
			}
		}
		i.state, i.loaded = i.written.Restore(name, nil), false
		images[name] = i
	}
	d.written, d.images = written, images
	return nil
}

// loadReleases reads the release records of an image, once.
func (d *Daemon) loadReleases(i *image) error {
	if i.loaded || d.seen.root.IsZero() {
		return nil
	}
	i.promised = nil
	records, err := d.statuses.Records(i.state.Name)
	if err != nil {
		return err
	}
	i.state.Releases = nil
	for _, r := range records {
		i.state.Releases = append(i.state.Releases, r.Release())
	}
	i.loaded = true
	return nil
}
