package contract

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds on what a contract is made of. Images in use are far below; what is above is refused.
const (
	maxEntries = 1024     // of any list of a document
	maxSize    = 64 << 10 // of the contract, in bytes of JSON
	maxBlob    = 1 << 50  // bytes; a sum of maxEntries of them fits an int64 five times
)

// Source is an image as its registry has it.
type Source struct {
	// Name is the image's name in the catalog. It salts the hashes.
	Name string
	// Index is the index, nil for a single manifest.
	Index []byte
	// Manifests are the manifests that the index names, in any order, or the single one. Those that are not there, because a mirror
	// copied some only, are platforms that the image does not have.
	Manifests []Manifest
}

// Manifest is the manifest of one platform.
type Manifest struct {
	Digest string // as the index names it
	Raw    []byte
	Config []byte
}

// New describes what an image promises. Every error is about the image: its documents are not what the OCI image specification
// says, name no platform, or are beyond all bounds.
func New(s Source) (Contract, error) {
	index := indexDocument{Manifests: []entry{{}}}
	if s.Index != nil {
		var err error
		if index, err = decode[indexDocument](s.Index); err != nil {
			return Contract{}, fmt.Errorf("reading the index: %w", err)
		}
	} else if len(s.Manifests) != 1 {
		return Contract{}, fmt.Errorf("an image without an index has one manifest, not %d", len(s.Manifests))
	}
	if len(index.Manifests) > maxEntries {
		return Contract{}, fmt.Errorf("the index has more than %d entries", maxEntries)
	}
	var images []Image // of one platform each
	seen := map[string]bool{}
	for _, e := range index.Manifests {
		i := slices.IndexFunc(s.Manifests, func(m Manifest) bool { return s.Index == nil || m.Digest == e.Digest })
		if i < 0 || e.attestation() {
			continue
		}
		e.Annotations = merged(index.Annotations, e.Annotations)
		image, err := describe(s.Name, e, s.Manifests[i])
		if err != nil {
			return Contract{}, err
		}
		// Engines take the first of two entries of one platform.
		if name := image.Platforms[0].Name; !seen[name] {
			seen[name] = true
			images = append(images, image)
		}
	}
	if len(images) == 0 {
		return Contract{}, errors.New("the index names no image")
	}
	c := Contract{Index: s.Index != nil, Images: group(images)}
	if text, err := json.Marshal(c); err != nil {
		return Contract{}, fmt.Errorf("encoding the contract: %w", err)
	} else if len(text) > maxSize {
		return Contract{}, fmt.Errorf("what the image promises takes %d bytes, more than %d", len(text), maxSize)
	}
	return c, nil
}

// group joins the images that promise the same.
func group(images []Image) []Image {
	slices.SortFunc(images, func(a, b Image) int { return cmp.Compare(a.Platforms[0].Name, b.Platforms[0].Name) })
	var groups []Image
	for _, image := range images {
		i := slices.IndexFunc(groups, image.alike)
		if i < 0 {
			groups = append(groups, image)
			continue
		}
		groups[i].Platforms = append(groups[i].Platforms, image.Platforms...)
	}
	return groups
}

// alike reports whether two images promise the same, platforms aside.
func (i Image) alike(j Image) bool {
	return i.ArtifactType == j.ArtifactType && i.Base == j.Base && slices.Equal(i.Entrypoint, j.Entrypoint) &&
		slices.Equal(i.Cmd, j.Cmd) && i.User == j.User && i.Workdir == j.Workdir && slices.Equal(i.Ports, j.Ports) &&
		slices.Equal(i.Volumes, j.Volumes) && maps.Equal(i.Env, j.Env) && slices.Equal(i.Labels, j.Labels) &&
		i.StopSignal == j.StopSignal && slices.Equal(i.Shell, j.Shell) && i.OnBuild == j.OnBuild && i.Healthcheck == j.Healthcheck
}

// describe reads the image of one platform.
func describe(salt string, e entry, m Manifest) (Image, error) {
	manifest, err := decode[manifestDocument](m.Raw)
	if err != nil {
		return Image{}, fmt.Errorf("reading manifest %s: %w", m.Digest, err)
	}
	config, err := decode[configDocument](m.Config)
	if err != nil {
		return Image{}, fmt.Errorf("reading the config of manifest %s: %w", m.Digest, err)
	}
	image, err := config.image(salt)
	if err != nil {
		return Image{}, fmt.Errorf("config of manifest %s: %w", m.Digest, err)
	}
	platform, err := platformOf(e.Platform, config)
	if err != nil {
		return Image{}, fmt.Errorf("manifest %s: %w", m.Digest, err)
	}
	if platform.Size, err = manifest.size(); err != nil {
		return Image{}, fmt.Errorf("manifest %s: %w", m.Digest, err)
	}
	image.Platforms = []Platform{platform}
	image.ArtifactType = manifest.artifactType()
	image.Base = merged(e.Annotations, manifest.Annotations)["org.opencontainers.image.base.name"]
	return image, nil
}

// platformOf is the platform that an index says, or the config where the index says none: engines choose by the index.
func platformOf(indexed platformDocument, config configDocument) (Platform, error) {
	name, err := indexed.name()
	built, builtErr := config.platformDocument.name()
	switch {
	case indexed == platformDocument{}:
		name, err = built, builtErr
	case err == nil && osArch(built) != osArch(name):
		return Platform{Name: name, Config: cmp.Or(osArch(built), "unknown/unknown"), Created: config.created()}, nil
	}
	return Platform{Name: name, Created: config.created()}, err
}

func osArch(platform string) string {
	os, rest, _ := strings.Cut(platform, "/")
	arch, _, _ := strings.Cut(rest, "/")
	if os == "" {
		return ""
	}
	return os + "/" + arch
}

// hash tells two values of one key of one image apart.
func hash(salt, key, value string) string {
	sum := sha256.Sum256([]byte(salt + "\x00" + key + "\x00" + value))
	return hex.EncodeToString(sum[:8])
}

func merged(under, over map[string]string) map[string]string {
	all := maps.Clone(under)
	if all == nil {
		return over
	}
	maps.Copy(all, over)
	return all
}

// created is when the image was built; zero where nobody says, or a reproducible build says a date of its own.
func (d configDocument) created() time.Time {
	built := d.Created.UTC().Truncate(time.Second)
	if built.Year() < 1981 {
		return time.Time{}
	}
	return built
}
