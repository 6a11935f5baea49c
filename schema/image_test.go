package schema

import (
	"reflect"
	"strings"
	"testing"

	"tidewaiter/reconcile/release"
)

const sum = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// The example of the documentation, whole.
const imageExample = `# yaml-language-server: $schema=../schema/image.schema.json
apiVersion: tidewaiter/v1
kind: Image
metadata:
  name: go-builder                 # unique in the catalog
spec:
  title: Go builder                # shown in the store
  summary: Go toolchain with gcc and git      # one line, at most 120
  description: |                   # Markdown
    ## Usage
    Mount the sources.
  category: build
  labels: [go, linux]
  publisher: Build team
  logo: logos/go.png
  dockerfile: |
    FROM golang:1.26-bookworm
    RUN true
  image:
    registry: docker.io            # blank means docker.io
    repository: acme/go-builder    # with its namespace
    tag: 1.26-bookworm
    digest: ` + sum + `
    credentials: acme-pull
    platforms: [linux/amd64, linux/arm64]
  upgrade:
    mode: compatible-feature
    from: 1.4.2
    notes: |
      Go 1.26.
    accept:
      - {rule: env-changed, subject: GOTOOLCHAIN, reason: documented switch}
  contractEnv: [GOTOOLCHAIN]
  contractLabels: []
  debugProject: ci-sandbox
  withdrawn:
    - {version: 1.3.0, reason: broken git}
  suspend: false
`

func TestDecodeImage(t *testing.T) {
	name, spec, problems := DecodeImage("images/go.yaml", []byte(imageExample))
	if problems != nil {
		t.Fatalf("the documented example has problems: %v", problems)
	}
	want := &Image{
		Path: "images/go.yaml", Name: "go-builder", Title: "Go builder", Summary: "Go toolchain with gcc and git",
		Description: "## Usage\nMount the sources.\n", Category: "build", Labels: []string{"go", "linux"},
		Publisher: "Build team", Logo: "logos/go.png", Dockerfile: Dockerfile{Inline: "FROM golang:1.26-bookworm\nRUN true\n"},
		Image: release.Image{
			Reference:   release.Reference{Registry: "docker.io", Repository: "acme/go-builder", Tag: "1.26-bookworm", Digest: sum},
			Credentials: "acme-pull", Platforms: []release.Platform{"linux/amd64", "linux/arm64"},
		},
		Upgrade: release.Upgrade{
			Mode: release.Feature, From: &release.Version{Major: 1, Minor: 4, Patch: 2}, Notes: "Go 1.26.\n",
			Accept: []release.Accept{{Rule: "env-changed", Subject: "GOTOOLCHAIN", Reason: "documented switch"}},
		},
		ContractEnv: []string{"GOTOOLCHAIN"}, ContractLabels: []string{}, DebugProject: "ci-sandbox",
		Withdrawn: []release.Withdrawal{{Version: release.Version{Major: 1, Minor: 3}, Reason: "broken git"}},
		marks:     spec.marks,
	}
	if name != "go-builder" || !reflect.DeepEqual(spec, want) {
		t.Errorf("name %q, spec\n%+v\nwant\n%+v", name, spec, want)
	}
	planned := release.Spec{
		Path: spec.Path, Image: want.Image, Upgrade: want.Upgrade, Withdrawn: want.Withdrawn,
		ContractEnv: want.ContractEnv, ContractLabels: want.ContractLabels,
	}
	if got := spec.Spec(); !reflect.DeepEqual(got, planned) {
		t.Errorf("the planner gets %+v, want %+v", got, planned)
	}
}

// smallImage is a spec with nothing but what is required.
const smallImage = `apiVersion: tidewaiter/v1
kind: Image
metadata:
  name: tool
spec:
  summary: A tool
  image:
    repository: golang
    tag: 1.10
  upgrade:
    mode: compatible-fix
    notes: First.
`

func TestDefaults(t *testing.T) {
	_, spec, problems := DecodeImage("images/tool.yaml", []byte(smallImage))
	if problems != nil {
		t.Fatal(problems)
	}
	if spec.Title != "tool" {
		t.Errorf("title %q, want the name", spec.Title)
	}
	if got := spec.Image.Reference.String(); got != "docker.io/library/golang:1.10" {
		t.Errorf("reference %s: the normal form has the default registry, and the tag to the letter", got)
	}
}

// Texts that YAML reads as numbers and dates are what the author wrote.
func TestPlainScalars(t *testing.T) {
	for _, tag := range []string{"1.10", "1e3", "0x1F", "007", "2026-01-02", "1_000", "-1"[1:], ".5"[1:]} {
		_, spec, problems := DecodeImage("x.yaml", []byte(strings.Replace(smallImage, "1.10", tag, 1)))
		if problems != nil || spec.Image.Tag != tag {
			t.Errorf("tag: %s is read as %+v %v", tag, spec, problems)
		}
	}
}

func TestDockerfile(t *testing.T) {
	for written, want := range map[string]Dockerfile{
		"FROM scratch":                             {Inline: "FROM scratch"},
		"{path: docker/x.Dockerfile}":              {Path: "docker/x.Dockerfile"},
		"{url: https://git.acme.dev/x/Dockerfile}": {URL: "https://git.acme.dev/x/Dockerfile"},
	} {
		_, spec, problems := DecodeImage("x.yaml", []byte(smallImage+"  dockerfile: "+written+"\n"))
		if problems != nil || spec.Dockerfile != want {
			t.Errorf("dockerfile: %s is %+v %v, want %+v", written, spec, problems, want)
		}
	}
}

func TestPosition(t *testing.T) {
	_, spec, problems := DecodeImage("x.yaml", []byte(imageExample))
	if problems != nil {
		t.Fatal(problems)
	}
	lines := strings.Split(imageExample, "\n")
	for field, want := range map[string]string{
		"metadata.name":                 "name: go-builder",
		"spec.image":                    "image:",
		"spec.image.tag":                "tag: 1.26",
		"spec.upgrade.mode":             "mode: comp",
		"spec.upgrade.accept[0].reason": "accept:",
		"spec.withdrawn":                "withdrawn:",
		"spec.image.annotations":        "image:",
		"spec.nothing":                  "spec:",
	} {
		line, column := spec.Position(field)
		if got := lines[line-1][column-1:]; !strings.HasPrefix(got, want) {
			t.Errorf("%s is at %d:%d %q, want %q", field, line, column, got, want)
		}
	}
	if line, column := spec.Position("elsewhere"); line != 1 || column != 1 {
		t.Errorf("an unknown field is at %d:%d, want the beginning", line, column)
	}
}

func BenchmarkDecodeImage(b *testing.B) {
	b.SetBytes(int64(len(imageExample)))
	for b.Loop() {
		if _, _, problems := DecodeImage("x.yaml", []byte(imageExample)); problems != nil {
			b.Fatal(problems)
		}
	}
}
