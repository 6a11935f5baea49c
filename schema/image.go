package schema

import (
	"encoding/json"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"

	"tidewaiter/reconcile/release"
)

// Image is a valid spec: everything that its author said, and the defaults of what was left out.
type Image struct {
	Path           string               `json:"-"`
	Name           string               `json:"-"`
	Title          string               `json:"title"` // metadata.name where the spec has none
	Summary        string               `json:"summary"`
	Description    string               `json:"description"` // Markdown
	Category       string               `json:"category"`
	Labels         []string             `json:"labels"`
	Publisher      string               `json:"publisher"`
	Logo           string               `json:"logo"` // a path from the root of the catalog, or an https link
	Dockerfile     Dockerfile           `json:"dockerfile"`
	Image          release.Image        `json:"image"` // its reference is normalised
	Upgrade        release.Upgrade      `json:"upgrade"`
	ContractEnv    []string             `json:"contractEnv"`
	ContractLabels []string             `json:"contractLabels"`
	DebugProject   string               `json:"debugProject"`
	Withdrawn      []release.Withdrawal `json:"withdrawn"`
	Suspend        bool                 `json:"suspend"`

	marks [len(pointable)]mark
}

// Dockerfile says where an image's Dockerfile is to be seen. At most one of its fields is set.
type Dockerfile struct {
	Inline string `json:"-"`    // the text itself
	Path   string `json:"path"` // a regular file, from the root of the catalog
	URL    string `json:"url"`  // an https link, never fetched
}

// UnmarshalJSON reads a text, {"path": …} or {"url": …}.
func (f *Dockerfile) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, &f.Inline)
	}
	type fields Dockerfile
	return json.Unmarshal(data, (*fields)(f))
}

// DecodeImage reads a spec. The name is metadata.name where that could be read and has the right form, whatever else is wrong;
// otherwise it is empty. The spec is nil where there are problems, which are all there are, in the order of their places.
func DecodeImage(path string, data []byte) (name string, spec *Image, problems []Problem) {
	var file struct {
		Spec Image `json:"spec"`
	}
	d := decode(path, data, schemas["Image"](), imageRules, &file)
	metadata := schemas["Image"]().Properties["metadata"]
	if text := d.text("/metadata/name"); metadata.Properties["name"].Validate(text) == nil {
		name = text
	}
	spec = &file.Spec
	if len(d.problems) == 0 {
		r := spec.Image.Reference
		var err error
		if spec.Image.Reference, err = release.NewReference(r.Registry, r.Repository, r.Tag, r.Digest); err != nil {
			d.problem("/spec/image/repository", err.Error(), "") // too long with library/ before it
		}
	}
	if len(d.problems) > 0 {
		return name, nil, sorted(d.problems)
	}
	spec.Path, spec.Name = path, name
	if spec.Title == "" {
		spec.Title = name
	}
	spec.mark(d.root)
	return name, spec, nil
}

// Spec is what the planner needs to know.
func (i *Image) Spec() release.Spec {
	return release.Spec{
		Path: i.Path, Image: i.Image, Upgrade: i.Upgrade, Withdrawn: i.Withdrawn, Suspend: i.Suspend,
		ContractEnv: i.ContractEnv, ContractLabels: i.ContractLabels,
	}
}

// imageRules are what the schema of Image cannot say.
func imageRules(d *document) {
	d.checkPath("/spec/logo")
	d.checkLink("/spec/logo")
	d.checkPath("/spec/dockerfile/path")
	d.checkLink("/spec/dockerfile/url")
	d.checkPlatforms("/spec/image/platforms")
	d.checkOnce("/spec/withdrawn", func(item map[string]any) string {
		version, _ := item["version"].(string)
		return version
	})
	d.checkOnce("/spec/upgrade/accept", func(item map[string]any) string {
		rule, _ := item["rule"].(string)
		subject, _ := item["subject"].(string)
		return strings.TrimSpace(rule + " " + subject)
	})
}

// checkPath reports a path that may lead out of the catalog's tree, or that names a file in another way than Git does.
func (d *document) checkPath(pointer string) {
	file := d.text(pointer)
	if file == "" || file[0] == '/' || strings.HasPrefix(file, "https://") {
		return // nothing, refused by the schema, or a link
	}
	if isPath(file) {
		return
	}
	hint := "write its path from the root of the catalog, like logos/go.png"
	if clean := path.Clean(file); isPath(clean) {
		hint = "write " + quote(clean)
	}
	d.problem(pointer, quote(file)+" is not the path of a file of the catalog", hint)
}

func isPath(file string) bool {
	odd := func(r rune) bool { return r == '\\' || unicode.IsControl(r) }
	return fs.ValidPath(file) && file != "." && !strings.ContainsFunc(file, odd)
}

// checkLink reports an https link that no browser should be given.
func (d *document) checkLink(pointer string) {
	if link := d.text(pointer); strings.HasPrefix(link, "https://") {
		d.judgeLink(pointer, link)
	}
}

func (d *document) judgeLink(pointer, link string) {
	odd := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
	switch u, err := url.Parse(link); {
	case err != nil || u.Hostname() == "" || strings.ContainsFunc(link, odd):
		d.problem(pointer, quote(link)+" is not an https link", "want https://host/path")
	case u.User != nil:
		d.problem(pointer, "the link holds a user or password", "remove it; everybody can read this file")
	}
}

// checkPlatforms reports platforms that are the same under two names.
func (d *document) checkPlatforms(pointer string) {
	seen := map[release.Platform]string{}
	items, _ := d.get(pointer).([]any)
	for i, item := range items {
		text, _ := item.(string)
		platform, err := release.ParsePlatform(text)
		if err != nil {
			continue
		}
		if other := seen[platform]; other != "" && other != text {
			d.problem(at(pointer, i), quote(text)+" is the same platform as "+quote(other), "keep one")
		}
		if seen[platform] == "" {
			seen[platform] = text
		}
	}
}

// checkOnce reports items of a list that were there before, by their key; one that is empty is none.
func (d *document) checkOnce(pointer string, key func(item map[string]any) string) {
	seen := map[string]bool{}
	items, _ := d.get(pointer).([]any)
	for i, item := range items {
		fields, _ := item.(map[string]any)
		k := key(fields)
		if k != "" && seen[k] {
			d.problem(at(pointer, i), quote(k)+" is listed twice", "keep one")
		}
		seen[k] = true
	}
}

// mark is a place in a file. Thousands of specs are kept, so each keeps few of them.
type mark struct{ line, column uint32 }

// pointable are the fields that a finding may be shown at.
var pointable = [...]string{
	"metadata.name",
	"spec",
	"spec.category",
	"spec.contractEnv",
	"spec.contractLabels",
	"spec.debugProject",
	"spec.dockerfile",
	"spec.image",
	"spec.image.credentials",
	"spec.image.digest",
	"spec.image.platforms",
	"spec.image.registry",
	"spec.image.repository",
	"spec.image.tag",
	"spec.logo",
	"spec.suspend",
	"spec.upgrade",
	"spec.upgrade.accept",
	"spec.upgrade.from",
	"spec.upgrade.mode",
	"spec.upgrade.notes",
	"spec.withdrawn",
}

// Position returns the line and column where a field, like spec.upgrade.mode, is written. For one that is left out, and for one
// that findings are never about, it is where the block is that would hold it.
func (i *Image) Position(field string) (line, column int) {
	for {
		for at, name := range pointable {
			if m := i.marks[at]; name == field && m.line > 0 {
				return int(m.line), int(m.column)
			}
		}
		dot := strings.LastIndexAny(field, ".[")
		if dot < 0 {
			return 1, 1
		}
		field = field[:dot]
	}
}

// mark notes where the pointable fields are written.
func (i *Image) mark(root *yaml.Node) {
	for at, name := range pointable {
		field := &entry{value: root}
		for part := range strings.SplitSeq(name, ".") {
			if field = lookup(field.value, part); field == nil {
				break
			}
		}
		if field != nil {
			i.marks[at] = mark{uint32(field.key.Line), uint32(field.key.Column)}
		}
	}
}
