package release_test

import (
	"fmt"
	"strings"
	"testing"

	"tidewaiter/reconcile/release"
)

var (
	someDigest = "sha256:" + strings.Repeat("0123456789abcdef", 4)
	longDigest = "sha512:" + strings.Repeat("0123456789abcdef", 8)
)

// TestNewReference holds references to what the docker client makes of them.
func TestNewReference(t *testing.T) {
	for _, test := range []struct{ registry, repository, tag, digest, want string }{
		{"", "golang", "1.26", "", "docker.io/library/golang:1.26"},
		{"docker.io", "golang", "1.26", "", "docker.io/library/golang:1.26"},
		{"index.docker.io", "golang", "1.26", "", "docker.io/library/golang:1.26"},
		{"registry-1.docker.io", "golang", "1.26", "", "docker.io/library/golang:1.26"},
		{"registry.hub.docker.com", "golang", "1.26", "", "docker.io/library/golang:1.26"},
		{"INDEX.Docker.io:443", "golang", "1.26", "", "docker.io/library/golang:1.26"},
		{"", "acme/go-builder", "1.26-bookworm", "", "docker.io/acme/go-builder:1.26-bookworm"},
		{"", "library/golang", "1", "", "docker.io/library/golang:1"},
		{"", "a/b/c", "1", "", "docker.io/a/b/c:1"},
		{"ghcr.io", "golang", "1", "", "ghcr.io/golang:1"},
		{"GHCR.io", "acme/x", "Tag_1.2-RC", "", "ghcr.io/acme/x:Tag_1.2-RC"},
		{"registry.acme.dev:5000", "ci/go", "1", "", "registry.acme.dev:5000/ci/go:1"},
		{"registry.acme.dev:443", "ci/go", "1", "", "registry.acme.dev/ci/go:1"},
		{"localhost", "go", "1", "", "localhost/go:1"},
		{"localhost:5000", "go", "1", "", "localhost:5000/go:1"},
		{"registry:5000", "go", "1", "", "registry:5000/go:1"},
		{"registry:443", "go", "1", "", "registry:443/go:1"},
		{"10.0.0.1:5000", "go", "1", "", "10.0.0.1:5000/go:1"},
		{"[::1]:5000", "go", "1", "", "[::1]:5000/go:1"},
		{"[::1]:443", "go", "1", "", "[::1]/go:1"},
		{"", "a/b", "", someDigest, "docker.io/a/b@" + someDigest},
		{"", "a/b", "1", someDigest, "docker.io/a/b:1@" + someDigest},
		{"", "a/b", "", longDigest, "docker.io/a/b@" + longDigest},
		{"", "a.b/c_d/e__f/g---h", "1", "", "docker.io/a.b/c_d/e__f/g---h:1"},
		{"", "0/1", "_x", "", "docker.io/0/1:_x"},
		{"", "a/" + strings.Repeat("b", 253), strings.Repeat("c", 128), "", "docker.io/a/" + strings.Repeat("b", 253) + ":" + strings.Repeat("c", 128)},
	} {
		r, err := release.NewReference(test.registry, test.repository, test.tag, release.Digest(test.digest))
		if err != nil || r.String() != test.want {
			t.Errorf("%q %q %q %q is %v, %v, want %s", test.registry, test.repository, test.tag, test.digest, r, err, test.want)
			continue
		}
		if again := docker(t, r.String()); again != r {
			t.Errorf("docker pulls %s as %+v, want %+v", r, again, r)
		}
		if again, err := release.NewReference(r.Registry, r.Repository, r.Tag, r.Digest); err != nil || again != r {
			t.Errorf("%+v is not normalised, but becomes %+v, %v", r, again, err)
		}
	}
}

// docker reads a reference as the docker client does: what stands before the first slash is a host if it looks like one.
func docker(t *testing.T, s string) release.Reference {
	t.Helper()
	host, rest, _ := strings.Cut(s, "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, rest = "docker.io", s
	}
	rest, digest, _ := strings.Cut(rest, "@")
	repository, tag := rest, ""
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		repository, tag = rest[:i], rest[i+1:]
	}
	return release.Reference{Registry: host, Repository: repository, Tag: tag, Digest: release.Digest(digest)}
}

func TestNewReferenceRefuses(t *testing.T) {
	for _, test := range []struct{ registry, repository, tag, digest string }{
		{"", "", "1", ""},
		{"", "a/b", "", ""},
		{"", "a/b", "", "sha256:0123"},
		{"", "a/b", "1", "md5:" + strings.Repeat("0", 32)},
		{"", "A/b", "1", ""},
		{"", "/a", "1", ""},
		{"", "a/", "1", ""},
		{"", "a//b", "1", ""},
		{"", "a/b:1", "1", ""},
		{"", "a..b/c", "1", ""},
		{"", "a___b/c", "1", ""},
		{"", "-a/b", "1", ""},
		{"", "../b", "1", ""},
		{"", "a/b\n", "1", ""},
		{"", "é/b", "1", ""},
		{"", "a/" + strings.Repeat("b", 254), "1", ""},
		{"", "a/b", "-1", ""},
		{"", "a/b", ".1", ""},
		{"", "a/b", "1+2", ""},
		{"", "a/b", "1 ", ""},
		{"", "a/b", strings.Repeat("c", 129), ""},
		{"registry", "a/b", "1", ""}, // docker would pull docker.io/registry/a/b
		{"https://ghcr.io", "a/b", "1", ""},
		{"ghcr.io/acme", "b", "1", ""},
		{"user@ghcr.io", "a/b", "1", ""},
		{"ghcr.io.", "a/b", "1", ""},
		{"-ghcr.io", "a/b", "1", ""},
		{"ghcr..io", "a/b", "1", ""},
		{"ghcr.io:", "a/b", "1", ""},
		{"ghcr.io:port", "a/b", "1", ""},
		{"ghcr.io:123456", "a/b", "1", ""},
		{":443", "a/b", "1", ""},
		{" ghcr.io", "a/b", "1", ""},
		{"::1", "a/b", "1", ""},
		{"münchen.example", "a/b", "1", ""},
		{strings.Repeat("a.", 126) + "ab", "a/b", "1", ""},
	} {
		if r, err := release.NewReference(test.registry, test.repository, test.tag, release.Digest(test.digest)); err == nil {
			t.Errorf("%q %q %q %q is %v, want an error", test.registry, test.repository, test.tag, test.digest, r)
		}
	}
}

func TestParseDigest(t *testing.T) {
	for _, text := range []string{someDigest, longDigest} {
		if d, err := release.ParseDigest(text); err != nil || string(d) != text {
			t.Errorf("ParseDigest(%q) = %q, %v", text, d, err)
		}
	}
	for _, text := range []string{
		"", "sha256", "sha256:", someDigest[:70], someDigest + "0", strings.ToUpper(someDigest), "sha256:" + someDigest[7:70] + "g",
		"sha512:" + someDigest[7:], "sha256:" + longDigest[7:], someDigest[7:], "sha256+b64:" + someDigest[7:], "sha256:" + someDigest[7:70] + "A",
	} {
		var d release.Digest
		if err := d.UnmarshalText([]byte(text)); err == nil || d != "" {
			t.Errorf("the digest %q is read as %q, %v, want an error", text, d, err)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for text, want := range map[string]release.Platform{
		"linux/amd64": "linux/amd64", "linux/arm64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "linux/arm/v7": "linux/arm/v7",
		"linux/x86_64": "linux/amd64", "linux/aarch64": "linux/arm64", "windows/amd64": "windows/amd64",
	} {
		p, err := release.ParsePlatform(text)
		if again, _ := release.ParsePlatform(string(p)); err != nil || p != want || again != p {
			t.Errorf("ParsePlatform(%q) = %q, %v, and again %q, want %q", text, p, err, again, want)
		}
	}
	for _, text := range []string{"", "linux", "linux/", "/amd64", "Linux/amd64", "linux/amd64/v1/x", "linux amd64", "linux/amd64\n", "*/*"} {
		var p release.Platform
		if err := p.UnmarshalText([]byte(text)); err == nil || p != "" {
			t.Errorf("the platform %q is read as %q, %v, want an error", text, p, err)
		}
	}
}

func TestImageEqual(t *testing.T) {
	h := parse(t, `
		1
		2
		1 pin
		1@b
		1 cred=key
		1 platform=linux/arm64
	`)
	for i, e := range h {
		for j, f := range h {
			if e.spec.Image.Equal(f.spec.Image) != (i == j) {
				t.Errorf("equality of images %d and %d of\n%s is wrong", i, j, h)
			}
		}
	}
}

// FuzzNewReference: what is accepted is in normal form, and docker pulls the same by it.
func FuzzNewReference(f *testing.F) {
	f.Add("", "golang", "1.26", "")
	f.Add("index.docker.io:443", "golang", "", someDigest)
	f.Add("registry", "a/b", "1", "")
	f.Add("registry.acme.dev:443", "ci/go", "x", someDigest)
	f.Add("[::1]:443", "a", "1", "")
	f.Add("localhost:443", "a", "1", "")
	f.Fuzz(func(t *testing.T, registry, repository, tag, digest string) {
		r, err := release.NewReference(registry, repository, tag, release.Digest(digest))
		if err != nil {
			return
		}
		if again, err := release.NewReference(r.Registry, r.Repository, r.Tag, r.Digest); err != nil || again != r {
			t.Fatalf("%+v becomes %+v, %v", r, again, err)
		}
		if again := docker(t, r.String()); again != r {
			t.Fatalf("docker pulls %s as %+v, want %+v", r, again, r)
		}
		if pinned := r.Pin(release.Digest(someDigest)); fmt.Sprint(pinned) != fmt.Sprint(r.Pin(""))+"@"+someDigest {
			t.Fatalf("%v pinned is %v", r, pinned)
		}
	})
}
