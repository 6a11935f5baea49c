package reconcile

import (
	"errors"
	"maps"
	"slices"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/web"
	"tidewaiter/schema"
)

// Store is what the daemon knows of its catalog as of the last good pass, nil before the first. It may be called by anybody.
func (d *Daemon) Store() *web.Store { return d.store.Load() }

// publish makes what is written now what pages show. Statuses and specs are shown as of the same pass, or one after it where a
// branch has moved on meanwhile.
func (d *Daemon) publish() {
	version := d.walked.String()[:12] + "-" + d.seen.status.String()[:12]
	if old := d.store.Load(); old != nil && old.Version == version || d.statuses == nil {
		return
	}
	store := &web.Store{Version: version, Catalog: d.written, Images: make([]web.Image, 0, len(d.images))}
	for _, name := range slices.Sorted(maps.Keys(d.images)) {
		i := d.images[name]
		image := web.Image{Name: name, Status: i.written}
		if d.catalog != nil { // else its history was rewritten, and the specs are not to be trusted
			image.Card = d.catalog.files[d.catalog.owner[name]].card
		}
		if len(image.Status.Conditions) > 0 { // else nothing is written of it yet
			store.Images = append(store.Images, image)
		}
	}
	statuses, repo, walked := d.statuses, d.repo, d.walked
	store.Records = statuses.Records
	store.Spec = func(i web.Image) (*schema.Image, error) { return specOf(repo, walked, i) }
	store.File = func(path string) ([]byte, error) { return contentOf(repo, walked, path) }
	d.store.Store(store)
}

// specOf reads the spec that stands for an image at a commit, nil where it has none that is valid.
func specOf(repo *gitrepo.Repo, commit gitrepo.Hash, i web.Image) (*schema.Image, error) {
	if i.Status.Spec == nil {
		return nil, nil
	}
	entry, found, err := repo.Lookup(commit, i.Status.Spec.Path)
	if err != nil || !found {
		return nil, err
	}
	data, err := repo.Blob(entry.Hash, schema.MaxFileSize)
	if err != nil {
		return nil, err
	}
	name, spec, _ := schema.DecodeImage(i.Status.Spec.Path, data)
	if name != i.Name {
		return nil, nil
	}
	return spec, nil
}

// contentOf reads a regular file of the catalog at a commit, nil where there is none or it is too large for a page. Links are not
// followed.
func contentOf(repo *gitrepo.Repo, commit gitrepo.Hash, path string) ([]byte, error) {
	entry, found, err := repo.Lookup(commit, path)
	if err != nil || !found || entry.Kind != gitrepo.File && entry.Kind != gitrepo.Executable {
		return nil, err
	}
	data, err := repo.Blob(entry.Hash, web.MaxFile)
	if errors.Is(err, gitrepo.ErrTooLarge) {
		return nil, nil
	}
	return data, err
}
