package contract

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const rich = `{
	"User": "1000:1000", "WorkingDir": "/srv/", "StopSignal": "SIGINT",
	"ExposedPorts": {"443": {}, "80/tcp": {}}, "Volumes": {"/data/": {}},
	"Env": ["PATH=/usr/bin:/bin", "LANG=C.UTF-8", "TOKEN=hunter2", "TOKEN=swordfish", "=C:=C:\\", "FLAG"],
	"Entrypoint": ["/app"], "Cmd": [], "Shell": ["/bin/bash", "-c"], "OnBuild": ["RUN login swordfish"],
	"Healthcheck": {"Test": ["CMD", "check", "swordfish"], "Interval": 1000000000},
	"Labels": {"team": "swordfish", "a": ""}
}`

// The record of a release is for ever, and so is this form.
const richContract = `{
  "index": true,
  "images": [
    {
      "platforms": [
        {
          "platform": "linux/amd64",
          "size": 6000,
          "created": "2026-11-01T10:00:00Z"
        },
        {
          "platform": "linux/arm64",
          "config": "linux/arm",
          "size": 3000
        }
      ],
      "base": "debian:12",
      "entrypoint": [
        "/app"
      ],
      "user": "1000:1000",
      "workdir": "/srv",
      "ports": [
        "443/tcp",
        "80/tcp"
      ],
      "volumes": [
        "/data"
      ],
      "env": {
        "FLAG": "07397b880a89c6c6",
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "TOKEN": "4ece9bec9577e058"
      },
      "labels": [
        "a",
        "team"
      ],
      "stopSignal": "INT",
      "shell": [
        "/bin/bash",
        "-c"
      ],
      "onbuild": "4f1a7b7e87e14c93",
      "healthcheck": "34174335cdf3957b"
    },
    {
      "platforms": [
        {
          "platform": "linux/riscv64",
          "size": 1000
        }
      ],
      "artifactType": "application/vnd.acme"
    }
  ]
}`

func richSource() Source {
	const base = `{"org.opencontainers.image.base.name": "debian:12"}`
	return multi(
		part{platform: "linux/riscv64", manifest: `"artifactType": "application/vnd.acme",`},
		part{platform: "linux/arm64/v8", built: "linux/arm/v7", config: rich, size: 2000, annotations: base, created: "1980-01-01T00:00:01Z"},
		part{platform: "unknown/unknown", annotations: `{"vnd.docker.reference.type": "attestation-manifest"}`},
		part{platform: "linux/amd64", config: rich, size: 5000, manifest: `"annotations": ` + base + `,`, created: "2026-11-01T12:00:00.9+02:00"},
		part{platform: "linux/arm64", config: `{"User": "second"}`},
	)
}

func TestNew(t *testing.T) {
	c := contractOf(t, richSource())
	got := encode(t, c)
	if got != richContract {
		t.Errorf("contract is\n%s\nwant\n%s", got, richContract)
	}
	var read Contract
	if err := json.Unmarshal([]byte(got), &read); err != nil || !reflect.DeepEqual(read, c) {
		t.Errorf("read back as %+v (%v), want %+v", read, err, c)
	}
}

// Whoever reads a record must not learn what a private image holds.
func TestContractsHoldNoSecrets(t *testing.T) {
	c := contractOf(t, richSource())
	other := richSource()
	other.Name = "other"
	changed := contractOf(t, multi(part{platform: "linux/amd64"}))
	told := encode(t, c) + encode(t, Compare(c, changed, Policy{Mode: Fix})) + encode(t, Compare(changed, c, Policy{Mode: Fix}))
	for _, secret := range []string{"swordfish", "hunter2"} {
		if strings.Contains(told, secret) {
			t.Errorf("%s is told in %s", secret, told)
		}
	}
	if a, b := c.Images[0].Env["TOKEN"], contractOf(t, other).Images[0].Env["TOKEN"]; a == b {
		t.Errorf("the same value has the hash %s in two images, so that they can be linked", a)
	}
	twice := contractOf(t, single(part{platform: "linux/amd64", config: `{"Env": ["A=x", "B=x"]}`})).Images[0].Env
	if twice["A"] == twice["B"] {
		t.Errorf("the same value has the hash %s under two keys", twice["A"])
	}
}

func TestMissingManifestsArePlatformsThatAreNotThere(t *testing.T) {
	s := multi(part{platform: "linux/amd64"}, part{platform: "linux/arm64"})
	s.Manifests = s.Manifests[1:]
	c := contractOf(t, s)
	if got := c.names(); !reflect.DeepEqual(got, []string{"linux/arm64"}) {
		t.Errorf("platforms are %v", got)
	}
}

func TestPlatformOfAnEntryWithoutOne(t *testing.T) {
	s := multi(part{platform: "linux/arm64/v8"})
	s.Index = fmt.Appendf(nil, `{"manifests": [{"digest": %q}]}`, s.Manifests[0].Digest)
	c := contractOf(t, s)
	if got := c.Images[0].Platforms; !reflect.DeepEqual(got, []Platform{{Name: "linux/arm64", Size: 1000}}) {
		t.Errorf("platforms are %+v", got)
	}
}

func TestBaseIsReadWhereItIsClosest(t *testing.T) {
	annotation := func(name string) string {
		return fmt.Sprintf(`{"org.opencontainers.image.base.name": %q}`, name)
	}
	for _, c := range []struct{ manifest, entry, index, want string }{
		{annotation("m"), annotation("e"), annotation("i"), "m"},
		{"null", annotation("e"), annotation("i"), "e"},
		{"{}", "{}", annotation("i"), "i"},
		{"null", "null", "null", ""},
	} {
		s := multi(part{platform: "linux/amd64", annotations: c.entry, manifest: `"annotations": ` + c.manifest + `,`})
		s.Index = []byte(strings.Replace(string(s.Index), "{", `{"annotations": `+c.index+`,`, 1))
		if got := contractOf(t, s).Images[0].Base; got != c.want {
			t.Errorf("base of %+v is %q", c, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	config := func(config string) Source { return single(part{platform: "linux/amd64", config: config}) }
	raw := func(index, manifest, config string) Source {
		s := Source{Manifests: []Manifest{{Digest: "sha256:m", Raw: []byte(manifest), Config: []byte(config)}}}
		if index != "" {
			s.Index = []byte(index)
		}
		return s
	}
	many := func(n int, form string) string {
		var entries []string
		for i := range n {
			entries = append(entries, fmt.Sprintf(form, i))
		}
		return strings.Join(entries, ", ")
	}
	const fine = `{"os": "linux", "architecture": "amd64"}`
	for want, s := range map[string]Source{
		"an image without an index has one manifest, not 0":                                         {},
		"reading the index: unexpected end of JSON input":                                           raw(`{`, `{}`, fine),
		"reading the index: it is null":                                                             raw(`null`, `{}`, fine),
		"the index names no image":                                                                  raw(`{"manifests": null}`, `{}`, fine),
		"the index has more than 1024 entries":                                                      raw(`{"manifests": [`+many(1025, `{"size": %d}`)+`]}`, `{}`, fine),
		"reading manifest sha256:m: it is null":                                                     raw("", `null`, fine),
		"reading manifest sha256:m: invalid character 'x' after top-level value":                    raw("", `{} x`, fine),
		"manifest sha256:m: a blob has the impossible size -1":                                      raw("", `{"layers": [{"size": -1}]}`, fine),
		"manifest sha256:m: a blob has the impossible size 1125899906842625":                        raw("", `{"config": {"size": 1125899906842625}}`, fine),
		"manifest sha256:m: it has more than 1024 layers":                                           raw("", `{"layers": [`+many(1025, `{"size": %d}`)+`]}`, fine),
		"reading the config of manifest sha256:m: it is null":                                       raw("", `{}`, `null`),
		`manifest sha256:m: platform "/" is not an os and an architecture`:                          raw("", `{}`, `{}`),
		`manifest sha256:m: platform "a\nb/c" is not an os and an architecture`:                     raw(`{"manifests": [{"digest": "sha256:m", "platform": {"os": "a\nb", "architecture": "c"}}]}`, `{}`, fine),
		"config of manifest sha256:m: it was created after the year 9999":                           raw("", `{}`, `{"created": "9999-12-31T23:00:00-02:00"}`),
		"config of manifest DIGEST: one of its lists has 1025 entries, more than 1024":              config(`{"Labels": {` + many(1025, `"l%d": ""`) + `}}`),
		"config of manifest DIGEST: its PATH has 1025 directories, more than 1024":                  config(`{"Env": ["PATH=` + strings.ReplaceAll(many(1025, "/%d"), ", ", ":") + `"]}`),
		"what the image promises takes 65677 bytes, more than 65536":                                config(`{"User": "` + strings.Repeat("x", 65600) + `"}`),
		"reading the config of manifest DIGEST: json: cannot unmarshal string into Go struct field": config(`{"Entrypoint": "sh"}`),
		"reading the config of manifest DIGEST: json: cannot unmarshal array into Go struct field":  config(`{"Volumes": ["/data"]}`),
		"reading the config of manifest DIGEST: json: cannot unmarshal number":                      config(`{"Env": [1]}`),
	} {
		c, err := New(s)
		if err == nil {
			t.Errorf("described as %s, want the error %q", encode(t, c), want)
			continue
		}
		if len(s.Manifests) > 0 {
			want = strings.ReplaceAll(want, "DIGEST", s.Manifests[0].Digest)
		}
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error is %q, want %q", err, want)
		}
	}
}

// Whatever a registry serves is described or refused, and what is described can be recorded, read back and compared.
func FuzzNew(f *testing.F) {
	for _, s := range []Source{richSource(), single(part{platform: "linux/amd64", config: rich}), eight("")} {
		f.Add(s.Index, s.Manifests[0].Raw, s.Manifests[0].Config)
	}
	f.Add([]byte(`{"manifests": [{"digest": "sha256:m", "platform": null}], "annotations": {"a": null}}`), []byte(`{"layers": null}`), []byte(`{"OS": "linux", "architecture": "x86_64"}`))
	f.Add([]byte(nil), []byte(`{"config": {"size": 1e3}}`), []byte(`{"os": "a", "architecture": "b", "created": "0001-01-01T00:00:00+23:59", "config": null}`))
	f.Add([]byte(nil), []byte(`[]`), []byte(`{"os": "a", "architecture": "b", "config": {"Env": [null, "=", "A"], "User": ":", "Volumes": {"": {}}}}`))
	f.Fuzz(func(t *testing.T, index, raw, config []byte) {
		s := Source{Name: "app", Index: index, Manifests: []Manifest{{"sha256:m", raw, config}}}
		if len(index) == 0 {
			s.Index = nil
		} else if document, err := decode[indexDocument](index); err == nil && len(document.Manifests) > 0 {
			s.Manifests[0].Digest = document.Manifests[0].Digest
		}
		c, err := New(s)
		if err != nil {
			return
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("%+v cannot be recorded: %v", c, err)
		}
		var read Contract
		if err := json.Unmarshal(text, &read); err != nil || !reflect.DeepEqual(read, c) {
			t.Fatalf("%+v is read back as %+v (%v)", c, read, err)
		}
		if found := Compare(c, read, Policy{Mode: Fix}); len(found) > 0 {
			t.Fatalf("%s differs from itself: %v", text, found)
		}
		Compare(c, contractOf(t, single(part{platform: c.names()[0]})), Policy{Mode: Feature})
	})
}

// The contract is a value that everybody may hold, and so depends on nobody.
func TestImportsTheStandardLibraryOnly(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			switch {
			case strings.Contains(path, "."), strings.HasPrefix(path, "tidewaiter"):
				t.Errorf("%s imports %s, which is not of the standard library", file, path)
			case path == "os" || path == "io" || strings.HasPrefix(path, "net") || path == "log/slog":
				t.Errorf("%s imports %s, but the package does no I/O", file, path)
			}
		}
	}
}
