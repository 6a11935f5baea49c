// Package registry answers one question: can this image be pulled, and what is it?
//
// It promises that an answer is proof: every manifest, config and layer of the image was seen in the registry, every document
// hashes to its digest, and the digest returned is the one that was looked at, whatever the tag means a moment later. A refusal
// has one of the named reasons, and one that is the registry's is never given for a mistake of ours. What is immutable is
// asked for once: the second look at an unchanged tag costs one HEAD.
//
// Registries are strangers. All traffic leaves by one door, which decides what may be dialled, what gets credentials, how much
// may come back and how long it may take (door.go, guard.go). Nothing is ever written to a registry.
//
// It does not know of specs, versions or Git, decides nothing about releases, and retries nothing: that is for whoever knows
// how urgent the answer is.
package registry

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/release"
)

// Options say how registries are spoken to. The zero value works: anonymous, with the system's certificates, without a proxy.
type Options struct {
	// CredentialsDir holds one directory per credential: NAME/username and NAME/password, or NAME/.dockerconfigjson, which may
	// name credential helpers. They are read at every use and no other place is ever read.
	CredentialsDir string
	// DockerConfig is a docker config file whose entries are shown to hosts where no credential is named. It is for commands
	// that somebody runs for themselves; a daemon has none.
	DockerConfig string
	// CAFile is a PEM file of certificates that are trusted besides the system's.
	CAFile string
	// Proxy picks the proxy of a request, as http.ProxyFromEnvironment does; nil is none. Nobody can check what a proxy
	// resolves a name to, so through one only hosts that the policy names are contacted.
	Proxy func(*http.Request) (*url.URL, error)
	// PerRegistry bounds the requests that are under way at one registry with one credential; 0 means 8.
	PerRegistry int
	// Rate bounds the requests a second to one registry with one credential, twice as many at once; 0 is no bound, and those on
	// this machine have none.
	Rate float64
	// Log, if set, hears when a registry stops answering and when it answers again.
	Log *slog.Logger
	// Timeout is how long one answer may take before its first byte, and to start its body, and how long a credential helper may
	// take; 0 means 15 s.
	Timeout time.Duration
	// UserAgent is what registries see; empty means tidewaiter.
	UserAgent string
	// Downloaded, if set, hears how many bytes of a layer were just read, from several goroutines at once.
	Downloaded func(bytes int)
	// CacheBytes bounds the memory for immutable answers; 0 means 32 MiB.
	CacheBytes int
}

// Client asks registries. It is safe for concurrent use. Make one with New.
type Client struct {
	options Options
	facts   *cache[factKey, fact]
	remotes *cache[remoteKey, *remote]
	metrics *metrics
}

// maxRemotes bounds how many registries, each with its connections, are remembered at a time.
const maxRemotes = 128

// New returns a client. Files that the options name are read when a registry is asked, so that a mistake in them is a refusal
// that can be mended while the daemon runs.
func New(options Options) *Client {
	options.PerRegistry = cmp.Or(options.PerRegistry, 8)
	options.Timeout = cmp.Or(options.Timeout, 15*time.Second)
	options.UserAgent = cmp.Or(options.UserAgent, "tidewaiter")
	options.CacheBytes = cmp.Or(options.CacheBytes, 32<<20)
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Downloaded == nil {
		options.Downloaded = func(int) {}
	}
	return &Client{
		options: options,
		facts:   newCache[factKey](options.CacheBytes, func(fact) {}),
		remotes: newCache[remoteKey](maxRemotes, func(r *remote) { r.door.transport.CloseIdleConnections() }),
		metrics: newMetrics(),
	}
}

// Metrics are the collectors of this component.
func (c *Client) Metrics() []prometheus.Collector { return c.metrics.collectors() }

// Hurry lets the next request to every registry through that is left alone because it did not answer.
func (c *Client) Hurry() {
	for _, r := range c.remotes.all() {
		r.door.breaker.hurry()
	}
}

// Query is one image to look at, and what the policy says about it.
type Query struct {
	// Name is the image's name in the catalog. It salts the hashes in the contract.
	Name string
	// Image names the image. A digest in it decides alone; without one the tag is resolved.
	Image release.Image
	// Registry is the policy's entry for the image, as release.Policy.Judge returns it. Its credential is the one used.
	Registry release.Registry
	// Listed is true where the policy names the host: then it may be on a private or loopback address.
	Listed bool
	// Required are the platforms that must be there; none means all that the index names.
	Required []release.Platform
	// MaxSize bounds the compressed size of one platform's image in bytes; 0 is no bound.
	MaxSize int64
	// Content downloads every layer and compares it with its digest and, unpacked, with the config; otherwise layers are only
	// looked up.
	Content bool
}

// Image is what a reference was found to be.
type Image struct {
	Digest    release.Digest // of the index, or of the manifest where there is no index
	MediaType string
	Platforms []Platform // in the order of the index
	Size      int64      // the sum over all platforms, each blob counted once
	// Contract is what the image promises. Its fields that are of the spec are not set.
	Contract contract.Contract
}

// Platform is the image of one platform.
type Platform struct {
	Platform release.Platform
	Digest   release.Digest // of its manifest
	Size     int64          // compressed: config and layers
}

// Pull looks at an image. Its error is always a *Refusal. Requests are bounded one by one, in time and size; the context
// bounds all of them together.
func (c *Client) Pull(ctx context.Context, q Query) (Image, error) {
	defer c.metrics.timer()()
	return c.visit(ctx, q, func(v visit) (Image, error) {
		image, layers, err := v.describe(ctx, q)
		if err != nil {
			return Image{}, err
		}
		return image, v.layers(ctx, layers, q.Content)
	})
}

// Describe reads what an image is and promises, and looks at no layer: 2 requests and 2 for each platform, besides those for a
// token. Its error is always a *Refusal.
func (c *Client) Describe(ctx context.Context, q Query) (Image, error) {
	return c.visit(ctx, q, func(v visit) (Image, error) {
		image, _, err := v.describe(ctx, q)
		return image, err
	})
}

// visit does something in the repository of a query, and where access is denied does it again with the credential read anew and
// a client that knows no token yet: the library also answers "unauthorized" when a token server was asked too fast, or a token
// grew old on the way.
func (c *Client) visit(ctx context.Context, q Query, do func(visit) (Image, error)) (Image, error) {
	r, client, err := c.remote(ctx, q)
	if err != nil {
		return Image{}, AsRefusal(err)
	}
	image, err := do(visit{c.facts, r.key, client, q.Image.Repository, c.options.Downloaded, c.options.Timeout})
	if refusal := AsRefusal(err); refusal == nil {
		return image, nil
	} else if refusal.Reason != release.AccessDenied {
		return Image{}, refusal
	}
	shown, err := c.options.credential(ctx, q.Registry.Credentials, q.Image.Registry)
	if err != nil {
		return Image{}, AsRefusal(err)
	}
	client = r.login(shown, r.door)
	if image, err = do(visit{c.facts, r.key, client, q.Image.Repository, c.options.Downloaded, c.options.Timeout}); err != nil {
		return Image{}, AsRefusal(err)
	}
	r.adopt(shown, client)
	return image, nil
}

// describe walks from the reference down to the configs, and returns the layers that the manifests name, each once.
func (v visit) describe(ctx context.Context, q Query) (found Image, layers []blobRef, err error) {
	root, err := v.root(ctx, q.Image.Reference)
	if err != nil {
		return Image{}, nil, err
	}
	images, err := v.platforms(ctx, root, q.Required)
	if err != nil {
		return Image{}, nil, err
	}
	found = Image{Digest: root.digest, MediaType: root.mediaType}
	if found.Contract, err = promised(q.Name, root, images); err != nil {
		return Image{}, nil, err
	}
	type claim struct {
		digest, diffID release.Digest
		size           int64
	}
	seen := map[claim]bool{} // a blob of which two things are claimed is looked at twice, and one of them is wrong
	for _, image := range images {
		size := image.size()
		if q.MaxSize > 0 && size > q.MaxSize {
			return Image{}, nil, refuse(release.ImageTooLarge, "%s is %d bytes, more than the %d allowed", image.platform, size, q.MaxSize)
		}
		found.Platforms = append(found.Platforms, Platform{image.platform, image.document.digest, size})
		if c := (claim{image.config.Digest, "", image.config.Size}); !seen[c] {
			seen[c] = true
			found.Size += c.size
		}
		if q.Content {
			if err := image.unpacked(); err != nil {
				return Image{}, nil, about(err, "config %s", image.config.Digest)
			}
		}
		for _, layer := range image.layers {
			if c := (claim{layer.Digest, layer.diffID, layer.Size}); !seen[c] {
				seen[c] = true
				found.Size += c.size
				layers = append(layers, layer)
			}
		}
	}
	return found, layers, nil
}

// factKey is what a fact is known by: who was asked, with which credential, about what. That content is what its digest says
// is true whoever was asked.
type factKey struct {
	remote     remoteKey
	repository string
	digest     release.Digest
	content    bool // the fact is about the content of a layer, not only its presence
}

// fact is something immutable: the bytes of a document, that a layer is there, or what it unpacks to.
type fact struct {
	body      []byte
	mediaType string // of a manifest
	size      int64
	diffID    release.Digest // of the unpacked content
}

// factOverhead is roughly what a fact costs besides its bytes.
const factOverhead = 512

// hostOnly strips the port and the brackets of an IPv6 address.
func hostOnly(hostport string) string {
	u := url.URL{Host: hostport}
	return strings.ToLower(u.Hostname())
}
