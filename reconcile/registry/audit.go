package registry

import (
	"context"
	"slices"

	"tidewaiter/reconcile/release"
)

// Audit looks again at a release: is its digest still there, and does its tag still name it? The query's image has the digest,
// and the tag where the release has one; the platforms are the digests of its manifests, in any order. Where nothing has
// changed it costs a HEAD for each. Its error is always a *Refusal that says nothing of the release.
func (c *Client) Audit(ctx context.Context, q Query, platforms []release.Digest) (found []release.Reason, err error) {
	_, err = c.visit(ctx, q, func(v visit) (Image, error) {
		found, err = v.audit(ctx, q.Image.Reference, platforms)
		return Image{}, err
	})
	return found, err
}

func (v visit) audit(ctx context.Context, r release.Reference, platforms []release.Digest) (found []release.Reason, err error) {
	if _, err := v.client.ManifestHead(ctx, v.ref("", r.Digest)); err != nil {
		refusal := AsRefusal(answered(err, release.DigestMissing))
		if refusal.Reason != release.DigestMissing {
			return nil, refusal
		}
		found = append(found, release.DigestMissing)
	}
	if r.Tag == "" {
		return found, nil
	}
	named, err := v.root(ctx, release.Reference{Registry: r.Registry, Repository: r.Repository, Tag: r.Tag})
	switch refusal := AsRefusal(err); {
	case refusal == nil && named.digest == r.Digest:
	case refusal == nil && v.sameImages(named, platforms):
		found = append(found, release.IndexMoved)
	case refusal == nil, refusal.Reason.Kind() == release.Retried && refusal.Reason != release.ImageNotFound && refusal.Reason != release.AccessDenied:
		found = append(found, release.ContentMoved) // whatever it is now
	case refusal.Reason == release.ImageNotFound:
		found = append(found, release.TagGone)
	default:
		return nil, refusal
	}
	return found, nil
}

// sameImages reports whether a document is an index of the manifests given, or the only one of them itself.
func (v visit) sameImages(d document, platforms []release.Digest) bool {
	c, err := d.parse()
	if err != nil {
		return false
	}
	named := []release.Digest{d.digest}
	if isIndex(d.mediaType) {
		named = nil
		for _, e := range c.Manifests {
			if !e.attests() {
				named = append(named, e.Digest)
			}
		}
	}
	slices.Sort(named)
	return slices.Equal(named, slices.Sorted(slices.Values(platforms)))
}
