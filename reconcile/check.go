package reconcile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
	"tidewaiter/schema"
)

// Report is what a validation of a checkout found.
type Report struct {
	review.Report

	specs    []*schema.Image
	policy   *release.Policy         // nil where it cannot be used
	files    map[string]gitrepo.Hash // regular files that were read, by path
	names    map[string]string       // of these, what each says it is
	statuses map[string]gitrepo.Hash // files under status/, by path
}

// FileOf is the path of the spec of an image. The error is that there is none, or more than one.
func (r Report) FileOf(name string) (string, error) {
	var files []string
	for file, claimed := range r.names {
		if claimed == name {
			files = append(files, file)
		}
	}
	switch slices.Sort(files); len(files) {
	case 0:
		return "", fmt.Errorf("no spec has the name %s", name)
	case 1:
		return files[0], nil
	}
	return "", fmt.Errorf("%s all have the name %s; rename or remove all but one", strings.Join(files, ", "), name)
}

// Only is what a report says of one spec.
func (r Report) Only(file string) Report {
	r.Problems = slices.DeleteFunc(slices.Clone(r.Problems), func(p schema.Problem) bool { return p.Path != file })
	r.specs = slices.DeleteFunc(slices.Clone(r.specs), func(s *schema.Image) bool { return s.Path != file })
	r.Specs = len(r.specs)
	return r
}

// maxLogoSize bounds a logo in bytes.
const maxLogoSize = 256 << 10

// Check validates the catalog in a directory, offline: every file under images/ as the daemon reads it, catalog.yaml, what
// the specs refer to in the tree, and whether the policy lets each image be looked at. The error is that the directory cannot
// be read, or holds no catalog.
func Check(dir string) (Report, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, err
	}
	defer root.Close()
	c := checkout{root.FS().(checkoutFS), map[string]gitrepo.Hash{}, map[string]string{}}
	policy, problems, found, err := c.policy()
	if err != nil {
		return Report{}, err
	}
	specs, more, err := c.specs()
	if err != nil {
		return Report{}, err
	}
	if !found && len(specs) == 0 && len(more) == 0 {
		return Report{}, fmt.Errorf("%s holds no catalog: neither %s nor files under %s/", dir, catalogFile, specDir)
	}
	problems = append(problems, more...)
	named := map[string][]*schema.Image{}
	for _, spec := range specs {
		named[spec.Name] = append(named[spec.Name], spec)
		problems = append(problems, c.judge(spec, policy)...)
	}
	for _, same := range named {
		for _, spec := range same {
			var others []string
			for _, other := range same {
				if other != spec {
					others = append(others, other.Path)
				}
			}
			if len(others) > 0 {
				problems = append(problems, duplicateOf(nameOfSpec(spec), spec.Name, others))
			}
		}
	}
	schema.SortProblems(problems)
	report := Report{Report: review.Report{Specs: len(specs), Problems: problems}, specs: specs, files: c.seen, names: c.names}
	if report.statuses, err = c.below("status"); err != nil {
		return Report{}, err
	}
	if policy != nil {
		report.policy = &policy.Policy
	}
	return report, nil
}

// checkoutFS is what a directory opened as a root offers.
type checkoutFS interface {
	fs.FS
	fs.ReadLinkFS
}

// checkout is the files of a catalog, links not followed, and what was seen of them.
type checkout struct {
	files checkoutFS
	seen  map[string]gitrepo.Hash // policy and specs
	names map[string]string
}

// below are the regular files at and below a directory.
func (c checkout) below(dir string) (map[string]gitrepo.Hash, error) {
	files := map[string]gitrepo.Hash{}
	err := fs.WalkDir(c.files, dir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case name == dir && errors.Is(err, fs.ErrNotExist):
			return fs.SkipAll
		case err != nil || !entry.Type().IsRegular():
			return err
		}
		data, err := fs.ReadFile(c.files, name)
		files[name] = gitrepo.HashOf(data)
		return err
	})
	return files, err
}

// read returns the content of a regular file of at most limit bytes; otherwise it says what is wrong with it.
func (c checkout) read(name string, limit int64) (data []byte, wrong string, err error) {
	info, err := c.files.Lstat(name)
	switch {
	case err != nil:
		return nil, "", err
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, "this is a symbolic link; use a regular file", nil
	case !info.Mode().IsRegular():
		return nil, "this is no regular file", nil
	case info.Size() > limit:
		return nil, fmt.Sprintf("the file is larger than %d KiB", limit>>10), nil
	}
	f, err := c.files.Open(name)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, limit))
	return data, "", err
}

func (c checkout) policy() (*schema.Catalog, []schema.Problem, bool, error) {
	data, wrong, err := c.read(catalogFile, schema.MaxFileSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &schema.Catalog{}, nil, false, nil
	case err != nil:
		return nil, nil, false, err
	case wrong != "":
		return nil, []schema.Problem{{Path: catalogFile, Line: 1, Column: 1, Message: wrong}}, true, nil
	}
	c.seen[catalogFile] = gitrepo.HashOf(data)
	policy, problems := schema.DecodeCatalog(catalogFile, data)
	return policy, problems, true, nil
}

// specs reads everything under images/: the valid specs, and what is wrong with the other files.
func (c checkout) specs() (specs []*schema.Image, problems []schema.Problem, err error) {
	err = fs.WalkDir(c.files, specDir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case name == specDir && errors.Is(err, fs.ErrNotExist):
			return fs.SkipAll
		case err != nil:
			return err
		case entry.IsDir():
			return nil
		}
		data, wrong, err := c.read(name, schema.MaxFileSize)
		if err != nil {
			return err
		}
		if wrong == "" && path.Ext(name) != ".yaml" {
			wrong = notYAML
		}
		if wrong != "" {
			problems = append(problems, schema.Problem{Path: name, Line: 1, Column: 1, Message: wrong})
			return nil
		}
		claimed, spec, found := schema.DecodeImage(name, data)
		c.seen[name], c.names[name] = gitrepo.HashOf(data), claimed
		problems = append(problems, found...)
		if spec != nil {
			specs = append(specs, spec)
		}
		return nil
	})
	return specs, problems, err
}

// judge checks what the policy and the rest of the tree say about a valid spec.
func (c checkout) judge(spec *schema.Image, catalog *schema.Catalog) []schema.Problem {
	problems := judgeFiles(spec, func(name string, limit int64) string {
		_, wrong, err := c.read(name, limit)
		if err != nil {
			return noSuchFile
		}
		return wrong
	})
	if catalog != nil {
		problems = append(problems, judgePolicy(spec, catalog.Policy)...)
	}
	return problems
}

const noSuchFile = "there is no such file in the catalog"

// judgeFiles checks the files that a spec names. Wrong says what is wrong with one as a regular file of at most limit bytes.
func judgeFiles(spec *schema.Image, wrong func(name string, limit int64) string) (problems []schema.Problem) {
	file := func(field, name string, limit int64) {
		if name == "" || strings.HasPrefix(name, "https://") {
			return
		}
		if text := wrong(name, limit); text != "" {
			problems = append(problems, problemAt(spec, field, "%s: %s", name, text))
		}
	}
	file("spec.dockerfile", spec.Dockerfile.Path, schema.MaxFileSize)
	file("spec.logo", spec.Logo, maxLogoSize)
	return problems
}

// judgePolicy checks what a policy says about a valid spec.
func judgePolicy(spec *schema.Image, policy release.Policy) (problems []schema.Problem) {
	at := func(field, format string, args ...any) {
		problems = append(problems, problemAt(spec, field, format, args...))
	}
	if _, reason := policy.Judge(spec.Image); reason == release.InvalidSpec {
		at("spec.image", "the catalog requires image.digest; add the digest that the tag has now")
	} else if reason != "" {
		at("spec.image", "%s: %s", reason, reason.Message())
	}
	if policy.Categories != nil && spec.Category != "" && !slices.Contains(policy.Categories, spec.Category) {
		at("spec.category", "category %q is not in %s; use one of %s", spec.Category, catalogFile, strings.Join(policy.Categories, ", "))
	}
	if _, ok := policy.DebugProjects[spec.DebugProject]; spec.DebugProject != "" && !ok {
		at("spec.debugProject", "debug project %q is not in %s; add it to spec.debugProjects there, or correct the name", spec.DebugProject, catalogFile)
	}
	return problems
}

// problemAt is a problem at a field of a spec.
func problemAt(spec *schema.Image, field, format string, args ...any) schema.Problem {
	line, column := spec.Position(field)
	return schema.Problem{Path: spec.Path, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
}

// nameOfSpec is the place of a spec's name.
func nameOfSpec(spec *schema.Image) schema.Problem {
	line, column := spec.Position("metadata.name")
	return schema.Problem{Path: spec.Path, Line: line, Column: column}
}

// duplicateOf is the problem that a name at a place is also that of other files.
func duplicateOf(place schema.Problem, name string, others []string) schema.Problem {
	slices.Sort(others)
	for i, other := range others {
		others[i] = schema.ShownPath(other)
	}
	place.Message = fmt.Sprintf("metadata.name %s is also that of %s", name, strings.Join(others, ", "))
	place.Hint = "rename or remove one of them"
	return place
}
