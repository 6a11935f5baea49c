package registry

import (
	"cmp"
	"context"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/regclient/regclient"
	"github.com/regclient/regclient/types/blob"
	"github.com/regclient/regclient/types/descriptor"
	"github.com/regclient/regclient/types/ref"

	"tidewaiter/reconcile/release"
)

// visit is one look at one repository.
type visit struct {
	facts      *cache[factKey, fact]
	remote     remoteKey
	client     *regclient.RegClient
	repository string
	downloaded func(bytes int)
	patience   time.Duration // with the downloads of other registries
}

// atATime bounds the requests of one visit, so that an image of many layers leaves room for the others of its registry.
const atATime = 4

// ref names something of the repository to the library, field by field: parsing a text again could name another registry.
func (v visit) ref(tag string, d release.Digest) ref.Ref {
	return ref.Ref{Scheme: "reg", Registry: v.remote.host, Repository: v.repository, Tag: tag, Digest: string(d)}
}

func (v visit) fact(ctx context.Context, key factKey, fetch func() (fact, error)) (fact, error) {
	return v.facts.get(ctx, key, func() (fact, int, error) {
		f, err := fetch()
		return f, len(f.body) + factOverhead, err
	})
}

// root is the manifest or index of a reference. A digest decides alone; a tag costs a HEAD, and what it names is read by its
// digest, so that everything after that is about one image even while the tag moves.
func (v visit) root(ctx context.Context, r release.Reference) (document, error) {
	if r.Digest != "" {
		doc, err := v.manifest(ctx, r.Digest, release.ImageNotFound)
		return doc, about(err, "manifest %s", r.Digest)
	}
	head, err := v.client.ManifestHead(ctx, v.ref(r.Tag, ""))
	if err != nil {
		return document{}, about(answered(err, release.ImageNotFound), "tag %s", r.Tag)
	}
	named := release.Digest(head.GetDescriptor().Digest)
	if named == "" {
		return v.rootByGET(ctx, r.Tag)
	}
	if _, err := release.ParseDigest(string(named)); err != nil {
		return document{}, refuse(release.ManifestInvalid, "tag %s: the registry gives no digest that OCI knows", r.Tag)
	}
	doc, err := v.manifest(ctx, named, release.ImageNotFound)
	return doc, about(err, "tag %s: manifest %s", r.Tag, named)
}

// rootByGET reads a tag where the registry does not say its digest in answer to a HEAD.
func (v visit) rootByGET(ctx context.Context, tag string) (document, error) {
	m, err := v.client.ManifestGet(ctx, v.ref(tag, ""))
	if err != nil {
		return document{}, about(answered(err, release.ImageNotFound), "tag %s", tag)
	}
	body, err := m.RawBody()
	d := m.GetDescriptor() // of the body, as the library hashed it
	return document{release.Digest(d.Digest), d.MediaType, body}, err
}

// manifest reads the manifest or index of a digest; missing is what it means that there is none.
func (v visit) manifest(ctx context.Context, d release.Digest, missing release.Reason) (document, error) {
	f, err := v.fact(ctx, factKey{v.remote, v.repository, d, false}, func() (fact, error) {
		m, err := v.client.ManifestGet(ctx, v.ref("", d))
		if err != nil {
			return fact{}, answered(err, missing)
		}
		body, err := m.RawBody() // it hashes to the digest, or there would be no manifest
		return fact{body: body, mediaType: m.GetDescriptor().MediaType}, err
	})
	return document{d, f.mediaType, f.body}, err
}

// known returns what is known of a blob, and finds it out where nothing is. The size must be what the manifest says; one
// that is not is not remembered, since only the digest of content stands for it.
func (v visit) known(ctx context.Context, blob blobRef, content bool, fetch func() (fact, error)) (fact, error) {
	same := func(f fact) error {
		if f.size != blob.Size {
			return refuse(release.DigestMismatch, "it is not of the %d bytes that the manifest says", blob.Size)
		}
		return nil
	}
	f, err := v.fact(ctx, factKey{v.remote, v.repository, blob.Digest, content}, func() (fact, error) {
		f, err := fetch()
		return f, cmp.Or(err, same(f))
	})
	return f, cmp.Or(err, same(f))
}

// config reads the config blob that a manifest names.
func (v visit) config(ctx context.Context, config blobRef) ([]byte, error) {
	if config.Size > maxConfig {
		return nil, refuse(release.ManifestInvalid, "it is longer than %d bytes", maxConfig)
	}
	f, err := v.known(ctx, config, true, func() (fact, error) {
		reader, err := v.blob(ctx, config.Digest)
		if err != nil {
			return fact{}, err
		}
		defer reader.Close()
		body, err := io.ReadAll(io.LimitReader(reader, config.Size+1)) // the reader compares the digest at the end
		return fact{body: body, size: int64(len(body))}, answered(err, release.LayerMissing)
	})
	return f.body, err
}

// blob opens a blob. Only its digest is told to the library, which would follow the URLs in a descriptor, and try for ever
// to get the size that it gives.
func (v visit) blob(ctx context.Context, d release.Digest) (*blob.BReader, error) {
	reader, err := v.client.BlobGet(ctx, v.ref("", ""), descriptor.Descriptor{Digest: digest.Digest(d)})
	return reader, answered(err, release.LayerMissing)
}

// layers shows that each layer is there, with content that each is what its digest says.
func (v visit) layers(ctx context.Context, layers []blobRef, content bool) error {
	return each(ctx, len(layers), func(ctx context.Context, i int) error {
		layer := layers[i]
		_, err := v.known(ctx, layer, false, func() (fact, error) { return v.lookUp(ctx, layer) })
		if err == nil && content {
			err = v.content(ctx, layer)
		}
		if err != nil && len(layer.URLs) > 0 {
			return about(err, "layer %s, whose foreign URLs are not followed", layer.Digest)
		}
		return about(err, "layer %s", layer.Digest)
	})
}

// lookUp asks for a layer's headers. A registry that gives no length is believed.
func (v visit) lookUp(ctx context.Context, layer blobRef) (fact, error) {
	head, err := v.client.BlobHead(ctx, v.ref("", ""), descriptor.Descriptor{Digest: digest.Digest(layer.Digest)})
	if err != nil {
		return fact{}, answered(err, release.LayerMissing)
	}
	if length := head.Response().ContentLength; length >= 0 {
		return fact{size: length}, nil
	}
	return fact{size: layer.Size}, nil
}

// each does n things, a few at a time, and returns the error of the first of them in order, so that the same image is always
// refused for the same reason. A refusal that is not about the image stops the rest and is returned before any other.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	refusals := make([]error, n)
	var running sync.WaitGroup
	places := make(chan struct{}, atATime)
	for i := range n {
		places <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-places }()
			refusals[i] = do(ctx, i)
			if r := AsRefusal(refusals[i]); r != nil && r.Reason.Kind() != release.Retried {
				cancel(r)
			}
		})
	}
	running.Wait()
	if why := context.Cause(ctx); why != nil {
		return unreachable(why)
	}
	for _, err := range refusals {
		if err != nil {
			return err
		}
	}
	return nil
}
