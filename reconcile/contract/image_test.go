package contract

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// part is the image of one platform, in the JSON that registries keep.
type part struct {
	platform    string // as the index says
	built       string // os/architecture as the config says; that of platform where empty
	config      string // the object "config" of the config
	created     string
	manifest    string // more fields of the manifest, each with a comma behind
	annotations string // of the entry in the index, an object
	size        int64
}

func platformJSON(s string) string {
	os, rest, _ := strings.Cut(s, "/")
	arch, variant, _ := strings.Cut(rest, "/")
	return fmt.Sprintf(`"os": %q, "architecture": %q, "variant": %q`, os, arch, variant)
}

func (p part) documents() Manifest {
	config := p.config
	if config == "" {
		config = "{}"
	}
	created := "null"
	if p.created != "" {
		created = fmt.Sprintf("%q", p.created)
	}
	built := p.built
	if built == "" {
		built = p.platform
	}
	manifest := p.manifest
	if !strings.Contains(manifest, `"config"`) {
		manifest += `"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 1000},`
	}
	raw := fmt.Appendf(nil, `{"schemaVersion": 2, %s "layers": [{"size": %d}]}`, manifest, p.size)
	text := fmt.Appendf(nil, `{%s, "created": %s, "config": %s}`, platformJSON(built), created, config)
	// What makes the digest is of no matter here, but that two parts have two.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s", p.platform, raw, text))
	return Manifest{Digest: fmt.Sprintf("sha256:%x", sum), Raw: raw, Config: text}
}

// single is an image without an index.
func single(p part) Source {
	return Source{Name: "app", Manifests: []Manifest{p.documents()}}
}

// multi is an image with an index.
func multi(parts ...part) Source {
	s := Source{Name: "app"}
	var entries []string
	for _, p := range parts {
		m := p.documents()
		annotations := p.annotations
		if annotations == "" {
			annotations = "{}"
		}
		entries = append(entries, fmt.Sprintf(`{"digest": %q, "platform": {%s}, "annotations": %s}`, m.Digest, platformJSON(p.platform), annotations))
		s.Manifests = append(s.Manifests, m)
	}
	s.Index = fmt.Appendf(nil, `{"schemaVersion": 2, "manifests": [%s]}`, strings.Join(entries, ", "))
	return s
}

func contractOf(t testing.TB, s Source) Contract {
	t.Helper()
	c, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encode(t testing.TB, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
