package reconcile

import (
	"fmt"
	"strings"
	"testing"

	"tidewaiter/schema"
)

// fileOf is a file as readFile makes one of content: empty for none.
func fileOf(t testing.TB, path, content string) *file {
	t.Helper()
	if content == "" {
		return nil
	}
	name, image, problems := schema.DecodeImage(path, []byte(content))
	f := &file{name: name}
	if image != nil {
		spec := image.Spec()
		f.spec, f.nameAt = &spec, nameOfSpec(image)
	}
	for _, p := range problems {
		f.problems = append(f.problems, p.String())
	}
	return f
}

// meanings applies one commit, given as the new content of files, and says what it did to each image it is about: "go reads
// images/go.yaml", "go has mistakes in images/go.yaml", "go is gone".
func (c *catalog) meanings(t testing.TB, files map[string]string) []string {
	t.Helper()
	var edits []edit
	for path, content := range files {
		edits = append(edits, edit{path, fileOf(t, path, content)})
	}
	var list []string
	for _, name := range c.apply(edits) {
		_, owned := c.owner[name]
		switch spec, problems := c.resolve(name); {
		case spec != nil:
			list = append(list, fmt.Sprintf("%s reads %s", name, spec.Path))
		case len(problems) > 0:
			path, _, _ := strings.Cut(problems[0], ":")
			list = append(list, fmt.Sprintf("%s has mistakes in %s", name, path))
		case owned:
			c.disown(name)
			list = append(list, name+" is gone")
		}
	}
	return list
}

func TestWhatFilesMean(t *testing.T) {
	valid := func(name string) string { return specAt("registry.example.com", name, "1", "compatible-fix: a") }
	mistake := func(name string) string { return strings.Replace(valid(name), "tag:", "tug:", 1) }
	const unreadable = "kind: ["
	type files = map[string]string
	type step struct {
		files files
		want  string // joined by "; "
	}
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"the name counts, not the path", []step{
			{files{"images/x.yaml": valid("go")}, "go reads images/x.yaml"},
		}},
		{"a file is moved", []step{
			{files{"images/1.yaml": valid("go")}, "go reads images/1.yaml"},
			{files{"images/1.yaml": "", "images/lang/go.yaml": valid("go")}, "go reads images/lang/go.yaml"},
			{files{"images/lang/go.yaml": ""}, "go is gone"},
		}},
		{"two specs swap names", []step{
			{files{"images/1.yaml": valid("a"), "images/2.yaml": valid("b")}, "a reads images/1.yaml; b reads images/2.yaml"},
			{files{"images/1.yaml": valid("b"), "images/2.yaml": valid("a")}, "a reads images/2.yaml; b reads images/1.yaml"},
		}},
		{"an image is renamed in place", []step{
			{files{"images/1.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/1.yaml": valid("b")}, "a is gone; b reads images/1.yaml"},
		}},
		{"of two files with one name the first one keeps it", []step{
			{files{"images/2.yaml": valid("a")}, "a reads images/2.yaml"},
			{files{"images/1.yaml": valid("a")}, "a reads images/2.yaml"},
			{files{"images/2.yaml": valid("b")}, "a reads images/1.yaml; b reads images/2.yaml"},
		}},
		{"of two files with one name in one commit neither has it", []step{
			{files{"images/1.yaml": valid("a"), "images/2.yaml": valid("a")}, "a has mistakes in images/1.yaml"},
			{files{"images/1.yaml": valid("b")}, "a reads images/2.yaml; b reads images/1.yaml"},
		}},
		{"the other one becomes it when the first one is removed", []step{
			{files{"images/1.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/2.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/1.yaml": ""}, "a reads images/2.yaml"},
			{files{"images/2.yaml": ""}, "a is gone"},
		}},
		{"two others are both mistakes when the first one is removed", []step{
			{files{"images/1.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/2.yaml": valid("a"), "images/3.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/1.yaml": ""}, "a has mistakes in images/2.yaml"},
			{files{"images/3.yaml": ""}, "a reads images/2.yaml"},
		}},
		{"a mistake stands for its name and never delists", []step{
			{files{"images/1.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/1.yaml": mistake("a")}, "a has mistakes in images/1.yaml"},
			{files{"images/1.yaml": valid("a")}, "a reads images/1.yaml"},
		}},
		{"a file whose name cannot be read stands for the one read last at its path", []step{
			{files{"images/1.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/1.yaml": unreadable}, "a has mistakes in images/1.yaml"},
			{files{"images/1.yaml": unreadable + " "}, "a has mistakes in images/1.yaml"},
			{files{"images/1.yaml": ""}, "a is gone"},
		}},
		{"a file whose name never could be read stands for nothing", []step{
			{files{"images/1.yaml": unreadable}, ""},
			{files{"images/1.yaml": ""}, ""},
		}},
		{"a new file with a mistake stands for the name it says", []step{
			{files{"images/1.yaml": mistake("a")}, "a has mistakes in images/1.yaml"},
			{files{"images/1.yaml": ""}, "a is gone"},
		}},
		{"a mistake does not take a name from a valid file", []step{
			{files{"images/2.yaml": valid("a")}, "a reads images/2.yaml"},
			{files{"images/1.yaml": mistake("a")}, "a reads images/2.yaml"},
		}},
		{"renamed in place with a mistake: it stands for the old name", []step{
			{files{"images/1.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/1.yaml": mistake("b")}, "a has mistakes in images/1.yaml"},
			{files{"images/1.yaml": valid("b")}, "a is gone; b reads images/1.yaml"},
		}},
		{"renamed in place with a mistake, and taken back", []step{
			{files{"images/1.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/1.yaml": mistake("b")}, "a has mistakes in images/1.yaml"},
			{files{"images/1.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/1.yaml": unreadable}, "a has mistakes in images/1.yaml"},
			{files{"images/1.yaml": ""}, "a is gone"},
		}},
		{"moved with a mistake: the name is still there", []step{
			{files{"images/1.yaml": valid("a")}, "a reads images/1.yaml"},
			{files{"images/1.yaml": "", "images/2.yaml": mistake("a")}, "a has mistakes in images/2.yaml"},
			{files{"images/2.yaml": valid("a")}, "a reads images/2.yaml"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCatalog(nil)
			for i, s := range test.steps {
				if got := strings.Join(c.meanings(t, s.files), "; "); got != s.want {
					t.Fatalf("commit %d: %s\nwant: %s", i+1, got, s.want)
				}
			}
		})
	}
}
