package schema

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tidewaiter/reconcile/release"
)

const head = "apiVersion: tidewaiter/v1\nkind: Image\nmetadata: {name: go}\nspec:\n  summary: Go\n"

// An edit changes what it must and nothing else, however the author writes.
func TestEdits(t *testing.T) {
	from := release.Version{Major: 1, Minor: 4, Patch: 2}
	sum := release.Digest("sha256:" + strings.Repeat("0", 64))
	fix := release.Upgrade{Mode: release.Fix, Notes: "Mends it."}
	for name, test := range map[string]struct {
		edit          Edit
		before, after string
	}{
		"blocks, with comments": {Edit{Tag: "2", Upgrade: fix},
			"  image:   # where it is\n    repository: acme/go\n    tag: \"1\"  # the newest\n\n  # how it differs\n  upgrade:\n    mode: compatible-feature # as agreed\n    notes: New things.\n  labels: [go]\n",
			"  image:   # where it is\n    repository: acme/go\n    tag: \"2\"  # the newest\n\n  # how it differs\n  upgrade:\n    mode: compatible-fix # as agreed\n    notes: Mends it.\n  labels: [go]\n"},
		"braces": {Edit{Tag: "2", Upgrade: fix},
			"  image: {repository: acme/go, tag: '1'}\n  upgrade: {mode: compatible-feature, notes: \"New, and: old\"}\n",
			"  image: {repository: acme/go, tag: '2'}\n  upgrade: {mode: compatible-fix, notes: \"Mends it.\"}\n"},
		"a block of notes": {Edit{Tag: "1.27", Upgrade: release.Upgrade{Mode: release.Feature, Notes: "One.\n\nTwo.\n"}},
			"  image:\n    repository: acme/go\n    tag: 1.26\n  upgrade:\n    notes: |\n      Old.\n\n      Older.\n\n    mode: compatible-fix\n",
			"  image:\n    repository: acme/go\n    tag: \"1.27\"\n  upgrade:\n    notes: |\n      One.\n\n      Two.\n\n    mode: compatible-feature\n"},
		"what counted for the last release goes": {Edit{Tag: "2", Upgrade: fix},
			"  image:\n    repository: acme/go\n    tag: one\n    digest: " + string(sum) + "\n  upgrade:\n    mode: compatible-fix\n    from: 1.4.1 # the old line\n    accept:\n    - rule: env-changed\n      subject: X\n      reason: announced\n    notes: Old.\n  withdrawn: []\n",
			"  image:\n    repository: acme/go\n    tag: \"2\"\n  upgrade:\n    mode: compatible-fix\n    notes: Mends it.\n  withdrawn: []\n"},
		"a digest and a base are added": {Edit{Tag: "2", Digest: sum, Upgrade: release.Upgrade{Mode: release.Fix, From: &from, Notes: "Mends it."}},
			"  image:\n    repository: acme/go\n    tag: one # or two\n  upgrade:\n    mode: compatible-feature\n    notes: >-\n      Folded\n      text.\n",
			"  image:\n    repository: acme/go\n    tag: \"2\" # or two\n    digest: " + string(sum) + "\n  upgrade:\n    mode: compatible-fix\n    from: 1.4.2\n    notes: |\n      Mends it.\n"},
		"and in braces": {Edit{Tag: "2", Digest: sum, Upgrade: release.Upgrade{Mode: release.Fix, From: &from, Notes: "Mends it."}},
			"  image: {repository: acme/go, tag: one}\n  upgrade: {mode: compatible-fix, accept: [{rule: env-changed, subject: X, reason: 'so, so'}], notes: Old}\n",
			"  image: {repository: acme/go, tag: \"2\", digest: \"" + string(sum) + "\"}\n  upgrade: {mode: compatible-fix, from: 1.4.2, notes: Mends it.}\n"},
		"a text over two lines": {Edit{Tag: "2", Upgrade: fix},
			"  image:\n    repository: acme/go\n    tag: one\n  upgrade:\n    mode: compatible-fix\n    notes: Old\n      and older.\n",
			"  image:\n    repository: acme/go\n    tag: \"2\"\n  upgrade:\n    mode: compatible-fix\n    notes: Mends it.\n"},
		"only a digest": {Edit{Digest: sum, Upgrade: fix},
			"  image:\n    repository: acme/go\n    tag: one\n  upgrade:\n    mode: compatible-fix\n    notes: Old.\n",
			"  image:\n    repository: acme/go\n    digest: " + string(sum) + "\n  upgrade:\n    mode: compatible-fix\n    notes: Mends it.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.edit.Apply("images/go.yaml", []byte(head+test.before))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != head+test.after {
				t.Errorf("got\n%s\nwant\n%s", got, head+test.after)
			}
		})
	}
}

// What cannot be edited is refused, and never turned into something else.
func TestEditsThatAreRefused(t *testing.T) {
	fix := release.Upgrade{Mode: release.Fix, Notes: "Mends it."}
	for name, test := range map[string]struct {
		edit Edit
		spec string
		want string
	}{
		"an invalid spec": {Edit{Tag: "2", Upgrade: fix}, "  image: {repository: acme/go}\n  upgrade: {mode: compatible-fix, notes: Old}\n", "tag"},
		"an invalid tag":  {Edit{Tag: "no tag", Upgrade: fix}, "  image: {repository: acme/go, tag: one}\n  upgrade: {mode: compatible-fix, notes: Old}\n", "problem"},
		"no notes":        {Edit{Tag: "2", Upgrade: release.Upgrade{Mode: release.Fix}}, "  image: {repository: acme/go, tag: one}\n  upgrade: {mode: compatible-fix, notes: Old}\n", "problem"},
	} {
		if got, err := test.edit.Apply("images/go.yaml", []byte(head+test.spec)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// FuzzEdit: an edit of any spec is the spec that was asked for, or refused.
func FuzzEdit(f *testing.F) {
	f.Add([]byte(head+"  image:\n    repository: acme/go\n    tag: one # c\n  upgrade:\n    mode: compatible-fix\n    notes: |\n      Old.\n"), "2", "New.\n\nMore: \"x\"")
	f.Add([]byte(head+"  image: {repository: acme/go, tag: 'one'}\n  upgrade: {mode: compatible-fix, notes: \"a, b\"}\n"), "2", "#1")
	f.Fuzz(func(t *testing.T, data []byte, tag, notes string) {
		edited, err := Edit{Tag: tag, Upgrade: release.Upgrade{Mode: release.Feature, Notes: notes}}.Apply("images/a.yaml", data)
		if err != nil {
			return
		}
		_, spec, problems := DecodeImage("images/a.yaml", edited)
		if len(problems) > 0 || spec.Image.Tag != tag || spec.Upgrade.Mode != release.Feature {
			t.Fatalf("%q became %q", data, edited)
		}
	})
}

// A new spec says what it was given, in the order of the documentation, and nothing that is no spec is written.
func TestNew(t *testing.T) {
	from := release.Version{Major: 1, Minor: 4, Patch: 2}
	image := Image{Path: "images/go.yaml", Name: "go", Title: "Go: the builder", Summary: "Go", Category: "build", Publisher: "Build team",
		Image: release.Image{
			Reference:   release.Reference{Registry: "registry.acme.dev:5000", Repository: "acme/go", Tag: "1.26", Digest: release.Digest("sha256:" + strings.Repeat("0", 64))},
			Credentials: "acme-pull", Platforms: []release.Platform{"linux/amd64", "linux/arm64"},
		},
		Upgrade: release.Upgrade{Mode: release.Feature, From: &from, Notes: "One.\n\nTwo."},
	}
	data, err := New(image)
	want := `apiVersion: tidewaiter/v1
kind: Image
metadata:
  name: go
spec:
  title: 'Go: the builder'
  summary: Go
  category: build
  publisher: Build team
  image:
    registry: registry.acme.dev:5000
    repository: acme/go
    tag: "1.26"
    digest: sha256:` + strings.Repeat("0", 64) + `
    credentials: acme-pull
    platforms: [linux/amd64, linux/arm64]
  upgrade:
    mode: compatible-feature
    from: 1.4.2
    notes: |
      One.

      Two.
`
	if err != nil || string(data) != want {
		t.Errorf("got\n%s\n%v, want\n%s", data, err, want)
	}
	image.Name = "Go"
	if data, err := New(image); err == nil {
		t.Errorf("wrote\n%s", data)
	}
}

// What people copy stays theirs: an upgrade of each spec of the example catalog changes the lines that it must, and the files under
// testdata/upgrade show which those are.
func TestEditsOfTheExampleCatalog(t *testing.T) {
	edit := Edit{Tag: "next", Upgrade: release.Upgrade{Mode: release.Fix, Notes: "Mends it.\n\nAnd more."}}
	root := "../catalog-example/images"
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		t.Run(entry.Name(), func(t *testing.T) {
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			after, err := edit.Apply(path, before)
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, "testdata/upgrade/"+strings.TrimSuffix(entry.Name(), ".yaml")+".diff", changedLines(t, path, after))
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// changedLines is a unified diff of a file and what it becomes, without any line around.
func changedLines(t *testing.T, path string, after []byte) string {
	t.Helper()
	edited := filepath.Join(t.TempDir(), "after")
	if err := os.WriteFile(edited, after, 0o600); err != nil {
		t.Fatal(err)
	}
	diff, err := exec.Command("git", "diff", "--no-index", "--no-color", "--no-ext-diff", "--unified=0", path, edited).Output()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("git diff says there is no difference, or cannot tell: %v", err)
	}
	_, lines, _ := strings.Cut(string(diff), "\n@@")
	return "@@" + lines
}
