package registrytest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"tidewaiter/reconcile/release"
)

// Image describes a small image to build. The same description makes the same bytes, and so the same digests.
type Image struct {
	// Seed tells images apart that are otherwise alike.
	Seed string
	// Platforms are os/architecture[/variant]; none means linux/amd64.
	Platforms []string
	// Layers names what is in each layer: equal names make equal layers, also between images of one platform.
	// None means a base layer and one of the seed's own.
	Layers []string
	// LayerSize is how many bytes of content, which does not compress, are in a layer; 0 means 2048.
	LayerSize int
	// Config is what a container of the image starts with.
	Config Config
	// Created is written to the config when it is not zero.
	Created time.Time
	// Annotations are those of the index, or of the manifest of a single image.
	Annotations map[string]string
	// Docker uses the media types of Docker schema 2 instead of those of OCI.
	Docker bool
	// Single makes one manifest without an index; there is one platform then.
	Single bool
	// Attestation adds an entry to the index as BuildKit does for provenance.
	Attestation bool
}

// Config is the part of the same name of an OCI image config.
type Config struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	Shell        []string            `json:"Shell,omitempty"`
	OnBuild      []string            `json:"OnBuild,omitempty"`
	Healthcheck  *Healthcheck        `json:"Healthcheck,omitempty"`
}

// Healthcheck is how an engine finds out whether a container works.
type Healthcheck struct {
	Test []string `json:"Test"`
}

// Descriptor is what one document says of another.
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      release.Digest    `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *Platform         `json:"platform,omitempty"`
	URLs        []string          `json:"urls,omitempty"`
}

// Platform is a platform as an index has it.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// Manifest is an image manifest of one platform.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Index names the manifests of several platforms.
type Index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []Descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Built is an image ready to be pushed. To push one that lacks something, delete it here first.
type Built struct {
	Root      Descriptor                // what a tag names
	Manifests []Manifest                // one per platform, in the order of the platforms
	Documents map[release.Digest]Stored // manifests and index
	Blobs     map[release.Digest][]byte // configs and layers
}

// Stored is a manifest or index as it is stored.
type Stored struct {
	MediaType string
	Body      []byte
}

// mediaTypes are those of an index, a manifest, a config and a layer.
type mediaTypes struct{ index, manifest, config, layer string }

var (
	oci = mediaTypes{
		"application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
		"application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip",
	}
	docker = mediaTypes{
		"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip",
	}
)

// Build makes the image. It panics where a platform has no slash or a single image has several: the describer's mistake.
func (i Image) Build() Built {
	types := oci
	if i.Docker {
		types = docker
	}
	platforms := i.Platforms
	if len(platforms) == 0 {
		platforms = []string{"linux/amd64"}
	}
	if i.Single && len(platforms) != 1 {
		panic("registrytest: a single image has one platform")
	}
	b := Built{Documents: map[release.Digest]Stored{}, Blobs: map[release.Digest][]byte{}}
	index := Index{SchemaVersion: 2, MediaType: types.index, Annotations: i.Annotations}
	for _, text := range platforms {
		parts := append(strings.Split(text, "/"), "")
		platform := &Platform{parts[0], parts[1], parts[2]}
		manifest := i.manifest(&b, types, *platform)
		if i.Single {
			manifest.Annotations = i.Annotations
		}
		b.Manifests = append(b.Manifests, manifest)
		d := b.Add(types.manifest, manifest)
		d.Platform = platform
		index.Manifests = append(index.Manifests, d)
	}
	if i.Attestation {
		index.Manifests = append(index.Manifests, b.attestation(types, index.Manifests[0].Digest))
	}
	b.Root = index.Manifests[0]
	if !i.Single {
		b.Root = b.Add(types.index, index)
	}
	return b
}

func (i Image) manifest(b *Built, types mediaTypes, p Platform) Manifest {
	type rootfs struct {
		Type    string           `json:"type"`
		DiffIDs []release.Digest `json:"diff_ids"`
	}
	config := struct {
		Platform
		Created *time.Time `json:"created,omitempty"`
		Seed    string     `json:"author"` // so that images of other seeds have other configs
		Config  Config     `json:"config"`
		RootFS  rootfs     `json:"rootfs"`
	}{Platform: p, Seed: i.Seed, Config: i.Config, RootFS: rootfs{Type: "layers"}}
	if !i.Created.IsZero() {
		config.Created = &i.Created
	}
	m := Manifest{SchemaVersion: 2, MediaType: types.manifest}
	names := i.Layers
	if len(names) == 0 {
		names = []string{"base", i.Seed}
	}
	for _, name := range names {
		plain := layer(fmt.Sprintf("%s %s", name, p), cmp.Or(i.LayerSize, 2048))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest(plain))
		m.Layers = append(m.Layers, b.blob(types.layer, compress(plain)))
	}
	m.Config = b.blob(types.config, encode(config))
	return m
}

// attestation adds a manifest as BuildKit writes one for provenance.
func (b *Built) attestation(types mediaTypes, of release.Digest) Descriptor {
	d := b.Add(types.manifest, Manifest{
		SchemaVersion: 2, MediaType: types.manifest,
		Config: b.blob(oci.config, []byte(`{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}`)),
		Layers: []Descriptor{b.blob("application/vnd.in-toto+json", []byte(`{}`))},
	})
	d.Platform = &Platform{OS: "unknown", Architecture: "unknown"}
	d.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": string(of),
	}
	return d
}

// Add stores a manifest or index and returns its descriptor.
func (b *Built) Add(mediaType string, document any) Descriptor {
	body := encode(document)
	d := Descriptor{MediaType: mediaType, Digest: digest(body), Size: int64(len(body))}
	b.Documents[d.Digest] = Stored{mediaType, body}
	return d
}

func (b *Built) blob(mediaType string, body []byte) Descriptor {
	d := Descriptor{MediaType: mediaType, Digest: digest(body), Size: int64(len(body))}
	b.Blobs[d.Digest] = body
	return d
}

// layer is a tar with one file whose content hangs on the seed alone.
func layer(seed string, size int) []byte {
	content := make([]byte, 0, size+sha256.Size)
	for block := sha256.Sum256([]byte(seed)); len(content) < size; block = sha256.Sum256(block[:]) {
		content = append(content, block[:]...)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	must(w.WriteHeader(&tar.Header{Name: "content", Mode: 0o644, Size: int64(size)}))
	_, err := w.Write(content[:size])
	must(err)
	must(w.Close())
	return out.Bytes()
}

func compress(plain []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(plain)
	must(err)
	must(w.Close())
	return out.Bytes()
}

func digest(body []byte) release.Digest {
	sum := sha256.Sum256(body)
	return release.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

func encode(document any) []byte {
	body, err := json.Marshal(document)
	must(err)
	return body
}

// must is for writes to memory, which cannot go wrong.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
