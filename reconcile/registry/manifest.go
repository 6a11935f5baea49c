package registry

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/regclient/regclient/types/mediatype"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/release"
)

// Bounds on what one image may be made of.
const (
	maxEntries = 256 // of an index; an image with attestations has two a platform
	maxLayers  = 512 // of a manifest; engines stop at 127
)

// document is a manifest or an index as it was served.
type document struct {
	digest    release.Digest
	mediaType string
	body      []byte
}

// blobRef is a descriptor: what a manifest says of a blob, or an index of a manifest.
type blobRef struct {
	MediaType   string            `json:"mediaType"`
	Digest      release.Digest    `json:"digest"`
	Size        int64             `json:"size"`
	URLs        []string          `json:"urls"`
	Annotations map[string]string `json:"annotations"`
	Platform    *platformOf       `json:"platform"`

	diffID release.Digest // of a layer whose content is looked at: the digest of what it unpacks to, as the config says
}

// platformOf is a platform as an index has it, and the beginning of a config.
type platformOf struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
}

func (p platformOf) parse() (release.Platform, error) {
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	platform, err := release.ParsePlatform(text)
	if err != nil {
		return "", refuse(release.ManifestInvalid, "%w", err)
	}
	return platform, nil
}

// attests reports whether an entry of an index is no image but says something of one.
func (b blobRef) attests() bool {
	return b.Annotations["vnd.docker.reference.type"] != "" ||
		b.Platform != nil && b.Platform.OS == "unknown" && b.Platform.Architecture == "unknown"
}

// contents are the fields of an index and of a manifest. A document that has those of both means different images to
// different clients (CVE-2021-41190) and is refused.
type contents struct {
	Config    *blobRef  `json:"config"`
	Layers    []blobRef `json:"layers"`
	Manifests []blobRef `json:"manifests"`
}

// platformImage is the image of one platform, read but for its layers.
type platformImage struct {
	platform release.Platform
	document document // its manifest
	config   blobRef
	layers   []blobRef
	raw      []byte // the config
}

// size is the compressed size in bytes: config and layers. It is right once contract.New has seen the manifest, which bounds
// the number and size of its blobs.
func (i platformImage) size() int64 {
	size := i.config.Size
	for _, layer := range i.layers {
		size += layer.Size
	}
	return size
}

// unpacked notes of each layer what the config says it unpacks to.
func (i platformImage) unpacked() error {
	var config struct {
		RootFS struct {
			DiffIDs []release.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if json.Unmarshal(i.raw, &config) != nil || len(config.RootFS.DiffIDs) != len(i.layers) {
		return refuse(release.ManifestInvalid, "its diff_ids are not those of the %d layers", len(i.layers))
	}
	for n := range i.layers {
		i.layers[n].diffID = config.RootFS.DiffIDs[n]
	}
	return nil
}

func isIndex(mediaType string) bool {
	return mediaType == mediatype.OCI1ManifestList || mediaType == mediatype.Docker2ManifestList
}

func isManifest(mediaType string) bool {
	return mediaType == mediatype.OCI1Manifest || mediaType == mediatype.Docker2Manifest
}

// parse reads an index or a manifest and holds it to what its media type says.
func (d document) parse() (contents, error) {
	var c contents
	if err := json.Unmarshal(d.body, &c); err != nil {
		return contents{}, refuse(release.ManifestInvalid, "it is not the JSON of a manifest or an index")
	}
	named := slices.Concat(c.Manifests, c.Layers)
	switch {
	case isIndex(d.mediaType):
		if c.Config != nil || c.Layers != nil {
			return contents{}, refuse(release.ManifestInvalid, "it is an index and has the config or layers of a manifest")
		}
	case isManifest(d.mediaType):
		if c.Config == nil || c.Manifests != nil {
			return contents{}, refuse(release.ManifestInvalid, "it is a manifest and has no config, or the manifests of an index")
		}
		if t := c.Config.MediaType; t != mediatype.OCI1ImageConfig && t != mediatype.Docker2ImageConfig {
			return contents{}, refuse(release.ManifestInvalid, "it is an artifact, not an image: its config has another media type")
		}
		named = append(named, *c.Config)
	default:
		return contents{}, refuse(release.ManifestInvalid, "it is neither an index nor a manifest of OCI or Docker schema 2")
	}
	if len(c.Manifests) > maxEntries || len(c.Layers) > maxLayers {
		return contents{}, refuse(release.ManifestInvalid, "it names more than %d manifests or %d layers", maxEntries, maxLayers)
	}
	if slices.ContainsFunc(named, func(b blobRef) bool { return b.Digest == "" }) {
		return contents{}, refuse(release.ManifestInvalid, "a descriptor lacks its digest")
	}
	return c, nil
}

// platforms reads the manifest and config of every platform of an image, in the order of the index. A single manifest is an
// index of one, whose platform is in its config; the first of two entries of one platform wins, as it does for those who pull;
// attestations are no platforms. Where platforms are required, entries for others may lack their manifest, as in a mirror
// that copied some only, and then are not there.
func (v visit) platforms(ctx context.Context, root document, required []release.Platform) ([]platformImage, error) {
	c, err := root.parse()
	if err != nil {
		return nil, about(err, "manifest %s", root.digest)
	}
	var images []platformImage
	if isManifest(root.mediaType) {
		image, err := v.platform(ctx, root, c, "")
		if err != nil {
			return nil, about(err, "manifest %s", root.digest)
		}
		images = append(images, image)
	} else if images, err = v.entries(ctx, c.Manifests, required); err != nil {
		return nil, about(err, "index %s", root.digest)
	}
	seen := map[release.Platform]bool{}
	images = slices.DeleteFunc(images, func(i platformImage) bool {
		again := seen[i.platform]
		seen[i.platform] = true
		return again || i.raw == nil
	})
	for _, p := range required {
		if !slices.ContainsFunc(images, func(i platformImage) bool { return i.platform == p }) {
			return nil, refuse(release.PlatformMissing, "%s has no image for %s", root.digest, p)
		}
	}
	if len(images) == 0 {
		return nil, refuse(release.ManifestInvalid, "index %s names no image", root.digest)
	}
	return images, nil
}

// entries reads the images that an index names.
func (v visit) entries(ctx context.Context, entries []blobRef, required []release.Platform) ([]platformImage, error) {
	entries = slices.DeleteFunc(entries, blobRef.attests)
	images := make([]platformImage, len(entries))
	err := each(ctx, len(entries), func(ctx context.Context, i int) error {
		e := entries[i]
		if !isManifest(e.MediaType) {
			return refuse(release.ManifestInvalid, "entry %s is no manifest of OCI or Docker schema 2; nested indexes are not read", e.Digest)
		}
		var platform release.Platform
		if e.Platform != nil {
			var err error
			if platform, err = e.Platform.parse(); err != nil {
				return about(err, "entry %s", e.Digest)
			}
		}
		doc, err := v.manifest(ctx, e.Digest, release.PlatformMissing)
		var refusal *Refusal
		if errors.As(err, &refusal) && refusal.Reason == release.PlatformMissing && len(required) > 0 {
			return nil // whether it is a required one is seen when all are read
		}
		var image platformImage
		switch {
		case err != nil:
		case doc.mediaType != e.MediaType || int64(len(doc.body)) != e.Size:
			err = refuse(release.ManifestInvalid, "the index gives it another media type or size")
		default:
			var c contents
			if c, err = doc.parse(); err == nil {
				image, err = v.platform(ctx, doc, c, platform)
			}
		}
		if err != nil {
			return about(err, "manifest %s of %s", e.Digest, platform)
		}
		images[i] = image
		return nil
	})
	return images, err
}

// platform reads the config of a manifest. The platform is what the index says, where it says one: that is what engines
// choose by.
func (v visit) platform(ctx context.Context, doc document, c contents, indexed release.Platform) (platformImage, error) {
	raw, err := v.config(ctx, *c.Config)
	if err != nil {
		return platformImage{}, about(err, "config %s", c.Config.Digest)
	}
	image := platformImage{document: doc, config: *c.Config, layers: c.Layers, raw: raw}
	var p platformOf
	if json.Unmarshal(raw, &p) != nil {
		return platformImage{}, refuse(release.ManifestInvalid, "config %s is not the JSON of an image config", c.Config.Digest)
	}
	if indexed != "" {
		image.platform = indexed
		return image, nil
	}
	image.platform, err = p.parse()
	return image, about(err, "config %s", c.Config.Digest)
}

// promised is the contract of the images found.
func promised(name string, root document, images []platformImage) (contract.Contract, error) {
	source := contract.Source{Name: name}
	if isIndex(root.mediaType) {
		source.Index = root.body
	}
	for _, i := range images {
		source.Manifests = append(source.Manifests, contract.Manifest{Digest: string(i.document.digest), Raw: i.document.body, Config: i.raw})
	}
	c, err := contract.New(source)
	if err != nil {
		return contract.Contract{}, refuse(release.ManifestInvalid, "%w", err)
	}
	return c, nil
}
