package reconcile

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/web"
	"tidewaiter/schema"
)

// The files of the status branch.
const (
	imagesDir   = "images"
	releasesDir = "releases"
	catalogFile = "catalog.yaml"
	readmeFile  = "README.md"
)

// maxStatusSize bounds the files that are read back, in bytes.
const maxStatusSize = 16 << 20

// Statuses are the files that daemons wrote, at one commit.
type Statuses struct {
	repo   *gitrepo.Repo
	commit gitrepo.Hash
	dir    string
}

// ReadStatuses fetches what was written for a catalog. The error is a *Stalled with StatusMissing where no daemon wrote yet.
func ReadStatuses(ctx context.Context, repo *gitrepo.Repo, branch, statusBranch string) (*Statuses, error) {
	found, err := repo.Refs(ctx, branch, statusBranch)
	if err != nil {
		return nil, err
	}
	tip := found.Branch(statusBranch)
	if tip.IsZero() {
		return nil, fmt.Errorf("branch %q is not in %s: no daemon has written there yet, or it is another one: see --status-branch", statusBranch, repo)
	}
	if _, err := repo.Chain(ctx, statusBranch, tip, gitrepo.Hash{}); err != nil {
		return nil, err
	}
	return &Statuses{repo, tip, statusDir(branch, statusBranch)}, nil
}

// statusDir is where the status files are: at the root of a branch of their own, or in a folder of the catalog's.
func statusDir(branch, statusBranch string) string {
	if statusBranch == branch {
		return "status"
	}
	return ""
}

// root is the hash of the tree that holds the files, zero where there is none.
func (s *Statuses) root() (gitrepo.Hash, error) {
	entry, found, err := s.repo.Lookup(s.commit, s.dir)
	if err != nil || !found {
		return gitrepo.Hash{}, err
	}
	return entry.Hash, nil
}

// Catalog is the status of the whole catalog. The error is a *Stalled where it is missing.
func (s *Statuses) Catalog() (release.CatalogStatus, error) {
	data, err := s.read(catalogFile)
	switch {
	case err != nil:
		return release.CatalogStatus{}, err
	case data == nil:
		return release.CatalogStatus{}, &Stalled{release.StatusMissing}
	}
	return schema.DecodeCatalogStatus(catalogFile, data)
}

// Image is the status of one image, and whether there is one.
func (s *Statuses) Image(name string) (release.ImageStatus, bool, error) {
	file := path.Join(imagesDir, name+".yaml")
	data, err := s.read(file)
	if err != nil || data == nil {
		return release.ImageStatus{}, false, err
	}
	_, status, err := schema.DecodeImageStatus(file, data)
	return status, err == nil, err
}

// Resolve says which image a channel or an exact version means now. The error is a *web.NoAnswer where it means nothing.
func (s *Statuses) Resolve(name, channel string) (web.Resolved, error) {
	status, found, err := s.Image(name)
	switch {
	case err != nil:
		return web.Resolved{}, err
	case !found:
		return web.Resolved{}, web.NoAnswerf("the catalog has no image %q; tidewaiter list shows all of them", name)
	}
	return web.Resolve(web.Image{Name: name, Status: status}, channel, s.Records)
}

// Names are all images that have a status, sorted.
func (s *Statuses) Names() ([]string, error) {
	entries, err := s.entries(imagesDir)
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, nameOf(entry))
	}
	return names, err
}

// Records are the releases of one image, from the smallest version to the greatest.
func (s *Statuses) Records(name string) ([]schema.Record, error) {
	entries, err := s.entries(path.Join(releasesDir, name))
	if err != nil {
		return nil, err
	}
	records := make([]schema.Record, 0, len(entries))
	for _, entry := range entries {
		data, err := s.repo.Blob(entry.Hash, maxStatusSize)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", entry.Path, err)
		}
		record, err := schema.DecodeRelease(entry.Path, data)
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	slices.SortFunc(records, func(a, b schema.Record) int { return a.Version.Compare(b.Version) })
	return records, nil
}

// Record is the release of one version, and whether there is one.
func (s *Statuses) Record(name string, version release.Version) (schema.Record, bool, error) {
	file := path.Join(releasesDir, name, version.String()+".yaml")
	data, err := s.read(file)
	if err != nil || data == nil {
		return schema.Record{}, false, err
	}
	record, err := schema.DecodeRelease(file, data)
	return record, err == nil, err
}

func (s *Statuses) entries(dir string) ([]gitrepo.Entry, error) {
	entries, err := s.repo.Files(s.commit, path.Join(s.dir, dir))
	if err != nil {
		return nil, fmt.Errorf("reading %s on the status branch: %w", dir, err)
	}
	return entries, nil
}

// read returns the content of a file, nil where there is none.
func (s *Statuses) read(file string) ([]byte, error) {
	entry, found, err := s.repo.Lookup(s.commit, path.Join(s.dir, file))
	var data []byte
	if err == nil && found {
		data, err = s.repo.Blob(entry.Hash, maxStatusSize)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s on the status branch: %w", file, err)
	}
	return data, nil
}

func nameOf(entry gitrepo.Entry) string { return strings.TrimSuffix(path.Base(entry.Path), ".yaml") }
