package reconcile

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/web"
	"tidewaiter/schema"
)

// specDir is the folder of the catalog that holds the specs, and nothing else.
const specDir = "images"

// catalog is what the files under images/ say at one commit, and which of them stands for which image.
type catalog struct {
	files  map[string]file     // by path
	claims map[string][]string // by name: the paths of the files that say so, usable or not
	owner  map[string]string   // by name: the path that the image is read from; empty where it is no single one
	stands map[string]string   // by path: the name it stands for
	lost   map[string]bool     // the names of those that have no file any more and are held
}

// file is one file under images/: a valid spec, or problems with positions and perhaps a name. It keeps what planning and lists
// need and no long texts: there may be tens of thousands.
type file struct {
	name     string
	hash     gitrepo.Hash // of its content
	spec     *release.Spec
	card     web.Card
	nameAt   schema.Problem // where a valid spec has its name; a place only
	problems []string
}

// edit is what a commit did to one file; an entry that is nil says it is gone.
type edit struct {
	path string
	file *file
}

// standing is a file that an image was read from last, and may be read from still.
type standing struct{ name, path string }

// newCatalog is a catalog without files. Of two images that were read from one file the later one stands for it.
func newCatalog(read []standing) *catalog {
	c := &catalog{
		files: map[string]file{}, claims: map[string][]string{}, owner: map[string]string{}, stands: map[string]string{}, lost: map[string]bool{},
	}
	for _, s := range read {
		c.own(s.name, s.path)
	}
	return c
}

// all are the names of those and of every image that a file claims to be, sorted.
func (c *catalog) all() []string {
	names := maps.Clone(c.owner)
	for name := range c.claims {
		names[name] = ""
	}
	return slices.Sorted(maps.Keys(names))
}

// apply puts the edits of one commit in place and returns the names of the images they may be about, sorted.
func (c *catalog) apply(edits []edit) []string {
	touched := map[string]bool{}
	for _, e := range edits {
		touched[c.stands[e.path]] = true
		if old, ok := c.files[e.path]; ok {
			touched[old.name] = true
			c.claims[old.name] = slices.DeleteFunc(c.claims[old.name], func(p string) bool { return p == e.path })
			if len(c.claims[old.name]) == 0 {
				delete(c.claims, old.name)
			}
			delete(c.files, e.path)
		}
		if e.file != nil {
			c.files[e.path] = *e.file
			touched[e.file.name] = true
			switch before := c.stands[e.path]; {
			case e.file.spec == nil:
			case c.owner[e.file.name] == e.path:
				c.own(e.file.name, e.path)
			case before != "":
				c.own(before, "") // the file is another image's now
			}
			if e.file.name != "" {
				c.claims[e.file.name] = append(c.claims[e.file.name], e.path)
			}
		}
	}
	delete(touched, "")
	return slices.Sorted(maps.Keys(touched))
}

// resolve says what an image is now: its spec, or why that cannot be used; neither where no file stands for it any more.
//
// A file that cannot be used stands for the name last read at its path, so that a mistake never delists. Of two files with
// one name the path that had it before keeps it; where none did, neither has it.
func (c *catalog) resolve(name string) (spec *release.Spec, problems []string) {
	if f, ok := c.files[c.owner[name]]; ok && f.spec == nil {
		return nil, f.problems
	} else if ok && f.name == name {
		return f.spec, nil
	}
	var usable, broken []string
	for _, p := range c.claims[name] {
		switch stands := c.stands[p]; {
		case c.files[p].spec != nil:
			usable = append(usable, p)
		case stands == "" || stands == name:
			broken = append(broken, p)
		}
	}
	slices.Sort(usable)
	switch {
	case len(usable) == 1:
		c.own(name, usable[0])
		return c.files[usable[0]].spec, nil
	case len(usable) > 1:
		if _, known := c.owner[name]; !known {
			c.own(name, "")
		}
		for _, p := range usable {
			problems = append(problems, c.duplicate(p))
		}
		return nil, problems
	case len(broken) > 0:
		p := slices.Min(broken)
		c.own(name, p)
		return nil, c.files[p].problems
	}
	return nil, nil
}

// own makes a path the one that an image is read from, whoever had it before; an empty path is none.
func (c *catalog) own(name, p string) {
	c.disown(name)
	if other := c.stands[p]; other != "" {
		c.owner[other] = ""
	}
	c.owner[name] = p
	if p != "" {
		c.stands[p] = name
	}
}

// disown forgets an image: it is delisted.
func (c *catalog) disown(name string) {
	if p := c.owner[name]; c.stands[p] == name {
		delete(c.stands, p)
	}
	delete(c.owner, name)
}

// lose notes which images have no file: those are held.
func (c *catalog) lose() {
	for name := range c.owner {
		if spec, problems := c.resolve(name); spec == nil && len(problems) == 0 {
			c.lost[name] = true
		}
	}
}

// problems lists every file that cannot be used, by path.
func (c *catalog) problems() []release.Problem {
	var list []release.Problem
	for p, f := range c.files {
		for _, text := range f.problems {
			list = append(list, release.Problem{Path: p, Reason: release.InvalidSpec, Message: text})
		}
		if f.spec != nil && c.owner[f.name] != p {
			list = append(list, release.Problem{Path: p, Reason: release.DuplicateName, Message: c.duplicate(p)})
		}
	}
	slices.SortStableFunc(list, func(a, b release.Problem) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// duplicate words the problem of a file whose name is another's.
func (c *catalog) duplicate(p string) string {
	f := c.files[p]
	var others []string
	for _, q := range c.claims[f.name] {
		if q != p && c.files[q].spec != nil {
			others = append(others, q)
		}
	}
	return duplicateOf(f.nameAt, f.name, others).String()
}

const notYAML = "only specs are kept under images/, and their names end in .yaml; move or rename this file"

// readFile reads one entry under images/. What is wrong with it is in the file; the error is that it could not be read.
func readFile(repo *gitrepo.Repo, entry gitrepo.Entry) (file, error) {
	name, image, problems, err := readSpec(repo, entry)
	f := file{name: name, hash: entry.Hash}
	if image != nil {
		spec := image.Spec()
		f.spec, f.nameAt = &spec, nameOfSpec(image)
		f.card = web.Card{Title: image.Title, Summary: image.Summary, Category: image.Category, Labels: image.Labels}
		if !strings.HasPrefix(image.Logo, "https://") {
			f.card.Logo = image.Logo
		}
	}
	for _, p := range problems {
		f.problems = append(f.problems, p.String())
	}
	return f, err
}

// readSpec reads one entry under images/: what it says it is, its spec where that is valid, and what is wrong with it. The error
// is that it could not be read.
func readSpec(repo *gitrepo.Repo, entry gitrepo.Entry) (name string, spec *schema.Image, problems []schema.Problem, err error) {
	refuse := func(text string) (string, *schema.Image, []schema.Problem, error) {
		return "", nil, []schema.Problem{{Path: entry.Path, Line: 1, Column: 1, Message: text}}, nil
	}
	switch {
	case entry.Kind == gitrepo.Symlink:
		return refuse("this is a symbolic link; a spec is a regular file")
	case entry.Kind != gitrepo.File && entry.Kind != gitrepo.Executable:
		return refuse("this is no regular file; a spec is one")
	case path.Ext(entry.Path) != ".yaml":
		return refuse(notYAML)
	}
	data, err := repo.Blob(entry.Hash, schema.MaxFileSize)
	switch {
	case errors.Is(err, gitrepo.ErrTooLarge):
		return refuse(fmt.Sprintf("the file is larger than %d KiB; a spec is smaller", schema.MaxFileSize>>10))
	case err != nil:
		return "", nil, nil, fmt.Errorf("reading %s: %w", entry.Path, err)
	}
	name, spec, problems = schema.DecodeImage(entry.Path, data)
	return name, spec, problems, nil
}
