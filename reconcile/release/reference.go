package release

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Digest names content by its hash, as OCI writes it: "sha256:" or "sha512:" and lower-case hex.
type Digest string

// ParseDigest reads a digest of one of the two algorithms that OCI registers.
func ParseDigest(s string) (Digest, error) {
	algorithm, sum, _ := strings.Cut(s, ":")
	want := map[string]int{"sha256": 64, "sha512": 128}[algorithm]
	if _, err := hex.DecodeString(sum); want == 0 || len(sum) != want || err != nil || sum != strings.ToLower(sum) {
		return "", fmt.Errorf("digest %q: want sha256: and 64 lower-case hex digits", s)
	}
	return Digest(s), nil
}

// UnmarshalText is ParseDigest.
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}

// Platform is one os/architecture[/variant], normalised: linux/arm64 stands for linux/arm64/v8.
type Platform string

var platformForm = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$`)

// ParsePlatform reads the form that docker --platform takes and normalises it.
func ParsePlatform(s string) (Platform, error) {
	if !platformForm.MatchString(s) {
		return "", fmt.Errorf("platform %q: want os/architecture, like linux/amd64", s)
	}
	switch s {
	case "linux/arm64/v8":
		s = "linux/arm64"
	case "linux/x86_64":
		s = "linux/amd64"
	case "linux/aarch64":
		s = "linux/arm64"
	}
	return Platform(s), nil
}

// UnmarshalText is ParsePlatform.
func (p *Platform) UnmarshalText(text []byte) error {
	parsed, err := ParsePlatform(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}

// DockerHub is the registry that a blank one means.
const DockerHub = "docker.io"

// Reference is what an image is pulled by, normalised, so that two that mean the same are equal.
// Make one with NewReference.
type Reference struct {
	Registry   string `json:"registry"`   // host or host:port, lower case
	Repository string `json:"repository"` // with its namespace
	Tag        string `json:"tag,omitempty"`
	Digest     Digest `json:"digest,omitempty"`
}

var (
	hostForm       = regexp.MustCompile(`^(([a-z0-9]([a-z0-9-]*[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$`)
	repositoryForm = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagForm        = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

// NewReference normalises the parts of a reference as the docker client does: a blank registry is docker.io, the other names
// of Docker Hub are docker.io, its repositories without a namespace are under library/, and hosts are lower case.
// The repository and tag forms are those of the OCI distribution specification. One of tag and digest must be given.
func NewReference(registry, repository, tag string, digest Digest) (Reference, error) {
	host, err := NormalizeHost(registry)
	if err != nil {
		return Reference{}, err
	}
	if host == DockerHub && repository != "" && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	switch {
	case len(repository) > 255 || !repositoryForm.MatchString(repository):
		return Reference{}, fmt.Errorf("repository %q: want lower-case names separated by /, like acme/go-builder", repository)
	case tag == "" && digest == "":
		return Reference{}, fmt.Errorf("repository %q: give a tag, a digest or both", repository)
	case tag != "" && !tagForm.MatchString(tag):
		return Reference{}, fmt.Errorf("tag %q: want letters, digits, _ . and -, at most 128", tag)
	}
	if digest != "" {
		if _, err := ParseDigest(string(digest)); err != nil {
			return Reference{}, err
		}
	}
	return Reference{host, repository, tag, digest}, nil
}

// NormalizeHost returns a registry's host[:port] as references hold it. Docker takes a name without a dot or a port for a
// namespace of Docker Hub, so such a one is refused; localhost is the exception, as it is there.
func NormalizeHost(host string) (string, error) {
	host = strings.ToLower(host)
	named := host == "localhost" || strings.ContainsAny(host, ".:")
	if host != "" && (len(host) > 253 || !named || !hostForm.MatchString(host)) {
		return "", fmt.Errorf("registry %q: want a host with a dot or a port, in ASCII, like registry.acme.dev:5000", host)
	}
	if name, ok := strings.CutSuffix(host, ":443"); ok && strings.ContainsAny(name, ".:") {
		host = name
	}
	switch host {
	case "", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return DockerHub, nil
	}
	return host, nil
}

// String writes registry/repository[:tag][@digest], which docker pull and crane take as it is.
func (r Reference) String() string {
	s := r.Registry + "/" + r.Repository
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// Pin returns r with the digest it was resolved to.
func (r Reference) Pin(digest Digest) Reference {
	r.Digest = digest
	return r
}

// Image is what a spec says about where its image is and how to pull it.
type Image struct {
	Reference
	Credentials string     `json:"credentials,omitempty"` // the name of a credential in the policy
	Platforms   []Platform `json:"platforms,omitempty"`   // required ones; none means the policy's
}

// Equal compares all of two images.
func (i Image) Equal(j Image) bool {
	return i.Reference == j.Reference && i.Credentials == j.Credentials && slices.Equal(i.Platforms, j.Platforms)
}
