package registry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

func sumOf(body []byte) release.Digest {
	return release.Digest(fmt.Sprintf("sha256:%x", sha256.Sum256(body)))
}

// layered is a single image of one layer, whose config says that it unpacks to unpacked.
func layered(packed, unpacked []byte) registrytest.Built {
	built := layeredBy(sumOf(packed), int64(len(packed)), sumOf(unpacked))
	built.Blobs[sumOf(packed)] = packed
	return built
}

// layeredBy is one whose layer is stored elsewhere.
func layeredBy(packed release.Digest, size int64, unpacked release.Digest) registrytest.Built {
	built := registrytest.Image{Seed: "content", Single: true, Layers: []string{"replaced"}}.Build()
	m := built.Manifests[0]
	var config map[string]any
	if err := json.Unmarshal(built.Blobs[m.Config.Digest], &config); err != nil {
		panic(err)
	}
	config["rootfs"] = map[string]any{"type": "layers", "diff_ids": []release.Digest{unpacked}}
	config["history"] = []any{ // as builders write it: what changed no file made no layer
		map[string]any{"created_by": "COPY file"}, map[string]any{"created_by": "ENV A=b", "empty_layer": true},
	}
	raw, err := json.Marshal(config)
	if err != nil {
		panic(err)
	}
	m.Config.Digest, m.Config.Size = sumOf(raw), int64(len(raw))
	m.Layers[0].Digest, m.Layers[0].Size = packed, size
	built.Blobs = map[release.Digest][]byte{m.Config.Digest: raw}
	built.Documents = map[release.Digest]registrytest.Stored{}
	built.Manifests[0], built.Root = m, built.Add(m.MediaType, m)
	return built
}

func gzipped(parts ...[]byte) []byte {
	var out bytes.Buffer
	for _, part := range parts { // each a member of its own
		w := gzip.NewWriter(&out)
		w.Write(part)
		w.Close()
	}
	return out.Bytes()
}

// zstandard compresses as a stream, whose header asks for the whole window.
func zstandard(plain []byte, options ...zstd.EOption) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, options...)
	if err != nil {
		panic(err)
	}
	w.Write(plain)
	w.Close()
	return out.Bytes()
}

// TestContent: in content mode a layer must be what its digest says, and unpack to what the config says.
func TestContent(t *testing.T) {
	plain := []byte(strings.Repeat("what the layer holds\n", 10_000))
	wide := bytes.Repeat(plain, 20)
	for name, test := range map[string]struct {
		packed, unpacked []byte
		want             release.Reason
	}{
		"gzip":                      {packed: gzipped(plain), unpacked: plain},
		"gzip of several members":   {packed: gzipped(plain[:5000], plain[5000:]), unpacked: plain},
		"zstd":                      {packed: zstandard(plain), unpacked: plain},
		"zstd of several frames":    {packed: append(zstandard(plain[:5000]), zstandard(plain[5000:])...), unpacked: plain},
		"not compressed":            {packed: plain, unpacked: plain},
		"of three bytes":            {packed: []byte("abc"), unpacked: []byte("abc")},
		"nothing":                   {packed: gzipped(nil), unpacked: nil},
		"another content":           {packed: gzipped(plain), unpacked: plain[1:], want: release.ManifestInvalid},
		"not compressed, another":   {packed: plain, unpacked: plain[1:], want: release.ManifestInvalid},
		"gzip that ends early":      {packed: gzipped(plain)[:100], unpacked: plain, want: release.ManifestInvalid},
		"zstd that ends early":      {packed: zstandard(plain)[:40], unpacked: plain, want: release.ManifestInvalid},
		"gzip and more":             {packed: append(gzipped(plain), "more"...), unpacked: plain, want: release.ManifestInvalid},
		"zstd as builders write it": {packed: zstandard(wide, zstd.WithWindowSize(8<<20)), unpacked: wide},
		"zstd that asks for memory": {packed: zstandard(wide, zstd.WithWindowSize(256<<20)), unpacked: wide, want: release.ManifestInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, registrytest.Options{})
			put(t, r, "ci/app", "1", layered(test.packed, test.unpacked))
			q := query(r.Host, "ci/app", "1")
			if _, err := registry.New(registry.Options{}).Pull(t.Context(), q); err != nil {
				t.Fatalf("in layers mode: %v", err)
			}
			q.Content = true
			_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
			if test.want == "" && err != nil {
				t.Fatal(err)
			}
			if test.want != "" {
				refused(t, err, test.want)
			}
		})
	}
}

// TestContentThatIsABomb: a layer that unpacks to far more than it is long is refused, also where all it says is true.
func TestContentThatIsABomb(t *testing.T) {
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	sum, zeros := sha256.New(), make([]byte, 1<<20)
	to := io.MultiWriter(sum, w)
	for range 1 << 10 {
		to.Write(zeros)
	}
	to.Write(zeros[:1]) // one more than there may be
	w.Close()
	built := layeredBy(sumOf(packed.Bytes()), int64(packed.Len()), release.Digest(fmt.Sprintf("sha256:%x", sum.Sum(nil))))
	built.Blobs[sumOf(packed.Bytes())] = packed.Bytes()
	r := start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", built)
	q := query(r.Host, "ci/app", "1")
	q.Content = true
	_, err = registry.New(registry.Options{}).Pull(t.Context(), q)
	refused(t, err, release.ManifestInvalid)
}

// TestContentNeedsADiffIDForEachLayer: a config that says nothing of a layer does not vouch for it.
func TestContentNeedsADiffIDForEachLayer(t *testing.T) {
	r := start(t, registrytest.Options{})
	built := layered([]byte("one"), []byte("one"))
	m := built.Manifests[0]
	m.Layers = append(m.Layers, m.Layers[0])
	built.Root = built.Add(m.MediaType, m)
	put(t, r, "ci/app", "1", built)
	q := query(r.Host, "ci/app", "1")
	q.Content = true
	_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
	refused(t, err, release.ManifestInvalid)
}

// TestContentWithoutItsDigest: what is served is not what was named, however well it unpacks.
func TestContentWithoutItsDigest(t *testing.T) {
	r := start(t, registrytest.Options{})
	built := layered(gzipped([]byte("what was pushed")), []byte("what was pushed"))
	put(t, r, "ci/app", "1", built)
	q := query(r.Host, "ci/app", "1")
	q.Content = true
	for name, served := range map[string][]byte{
		"another layer of that size": gzipped([]byte("what was pulled")),
		"one with more behind it":    append(gzipped([]byte("what was pushed")), 0),
	} {
		layer := built.Manifests[0].Layers[0]
		whenGot(r, layer.Digest, int(layer.Size), func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(served) })
		_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
		if refusal := refused(t, err, release.DigestMismatch); refusal == nil {
			t.Error(name)
		}
	}
}

// TestContentOfAnotherSize: a registry that repeats the size of the manifest where it is asked for it does not make it true.
func TestContentOfAnotherSize(t *testing.T) {
	r := start(t, registrytest.Options{})
	body := noise(1000)
	built := layeredBy(sumOf(body), int64(len(body))+1, sumOf(body))
	put(t, r, "ci/app", "1", built)
	whenGot(r, sumOf(body), len(body)+1, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	q := query(r.Host, "ci/app", "1")
	q.Content = true
	_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
	refused(t, err, release.DigestMismatch)
}

// TestContentOnce: a layer that several repositories and registries share is downloaded once, and looked up in each.
func TestContentOnce(t *testing.T) {
	one, two := start(t, registrytest.Options{}), start(t, registrytest.Options{})
	client := registry.New(registry.Options{})
	built := registrytest.Image{Seed: "shared", Layers: []string{"a", "b"}}.Build()
	downloads, lookUps := 0, 0
	for _, place := range []struct {
		r          *registrytest.Registry
		repository string
	}{{one, "ci/app"}, {one, "ci/other"}, {two, "ci/app"}} {
		put(t, place.r, place.repository, "1", built)
		q := query(place.r.Host, place.repository, "1")
		q.Content = true
		if _, err := client.Pull(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		for _, req := range place.r.Requests() {
			for _, layer := range built.Manifests[0].Layers {
				switch req.Method + " /v2/" + place.repository + "/blobs/" + string(layer.Digest) {
				case "GET " + req.Path:
					downloads++
				case "HEAD " + req.Path:
					lookUps++
				}
			}
		}
	}
	if downloads != 2 || lookUps != 6 {
		t.Errorf("%d downloads and %d looks at 2 layers in 3 places", downloads, lookUps)
	}
}

// whenGot answers each GET of a blob, which a HEAD finds as it is.
func whenGot(r *registrytest.Registry, digest release.Digest, size int, do http.HandlerFunc) {
	when(r, "/blobs/"+string(digest), func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodHead {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			return
		}
		do(w, req)
	})
}

// cutting is a server of one blob that breaks off after so many bytes, more each time.
type cutting struct {
	body   []byte
	after  []int // bytes of each answer; the last goes for all that follow; 0 is all of it, -1 is none
	ranges bool  // it knows ranges
	shift  int   // by how much it misses the range it was asked for

	mu    sync.Mutex // held while it answers
	asked []string   // ranges
	sent  int        // bytes
}

// served is what it was asked for and how many bytes it sent, once it has answered.
func (c *cutting) served() (asked []string, sent int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, c.sent
}

func (c *cutting) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from, after := 0, c.after[min(len(c.asked), len(c.after)-1)]
	c.asked = append(c.asked, req.Header.Get("Range"))
	status := http.StatusOK
	if _, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &from); err == nil && c.ranges {
		from += c.shift
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(c.body)-1, len(c.body)))
		status = http.StatusPartialContent
	} else {
		from = 0
	}
	body := c.body[from:]
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	if after == 0 || after >= len(body) {
		n, _ := w.Write(body)
		c.sent += n
		return
	}
	n, _ := w.Write(body[:max(after, 0)])
	c.sent += n
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// noise does not compress and repeats nothing.
func noise(size int) []byte {
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body)
	return body
}

// TestContentResumes: a connection that breaks off does not throw away what came; each time it goes on from there, and no byte
// is sent twice.
func TestContentResumes(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		t.Run(fmt.Sprintf("redirected=%t", elsewhere), func(t *testing.T) {
			r := start(t, registrytest.Options{})
			body := noise(100_000)
			put(t, r, "ci/app", "1", layered(body, body))
			q := query(r.Host, "ci/app", "1")
			q.Content = true
			c := &cutting{body: body, after: []int{30_000}, ranges: true}
			if elsewhere {
				store := newStranger(t, c.ServeHTTP)
				whenGot(r, sumOf(body), len(body), func(w http.ResponseWriter, req *http.Request) {
					http.Redirect(w, req, store.url, http.StatusTemporaryRedirect)
				})
				q.Registry.Realms = []string{"localhost"}
			} else {
				whenGot(r, sumOf(body), len(body), c.ServeHTTP)
			}
			var told atomic.Int64
			if _, err := registry.New(registry.Options{Downloaded: func(n int) { told.Add(int64(n)) }}).Pull(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			asked, sent := c.served()
			if want := "[ bytes=30000- bytes=60000- bytes=90000-]"; fmt.Sprint(asked) != want {
				t.Errorf("it was asked for %q", asked)
			}
			if sent != len(body) || told.Load() != int64(len(body)) {
				t.Errorf("%d bytes were sent and %d told of, want %d", sent, told.Load(), len(body))
			}
		})
	}
}

// TestContentStartsOver: where a registry does not know ranges, what it sends again is not taken for what follows.
func TestContentStartsOver(t *testing.T) {
	r := start(t, registrytest.Options{})
	body := noise(1_000_000)
	put(t, r, "ci/app", "1", layered(body, body))
	q := query(r.Host, "ci/app", "1")
	q.Content = true
	c := &cutting{body: body, after: []int{30_000, 600_000, 0}}
	whenGot(r, sumOf(body), len(body), c.ServeHTTP)
	if _, err := registry.New(registry.Options{}).Pull(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if asked, _ := c.served(); fmt.Sprint(asked) != "[ bytes=30000- bytes=600000-]" {
		t.Errorf("it was asked for %q", asked)
	}
}

// TestContentThatCannotBeResumed: a registry that never gets further, or sends something else, is unavailable, and asked again
// later.
func TestContentThatCannotBeResumed(t *testing.T) {
	for name, test := range map[string]struct {
		*cutting
		want int
	}{
		"it starts over and gets no further": {&cutting{after: []int{30_000}}, 2},
		"it sends another range":             {&cutting{after: []int{30_000}, ranges: true, shift: 1}, 2},
		"nothing comes":                      {&cutting{after: []int{30_000, -1}, ranges: true}, 2},
		"it breaks off again and again":      {&cutting{after: []int{1000}, ranges: true}, 1 + 10},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, registrytest.Options{})
			c := test.cutting
			c.body = noise(100_000)
			put(t, r, "ci/app", "1", layered(c.body, c.body))
			q := query(r.Host, "ci/app", "1")
			q.Content = true
			whenGot(r, sumOf(c.body), len(c.body), c.ServeHTTP)
			_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
			refused(t, err, release.RegistryUnavailable)
			if asked, _ := c.served(); len(asked) != test.want {
				t.Errorf("it was asked %d times, want %d: %q", len(asked), test.want, asked)
			}
		})
	}
}

// TestContentOfASlowRegistry: a layer that another registry is slow to send holds up nobody who has it too.
func TestContentOfASlowRegistry(t *testing.T) {
	slow, healthy := start(t, registrytest.Options{}), start(t, registrytest.Options{})
	body := noise(1 << 20)
	for _, r := range []*registrytest.Registry{slow, healthy} {
		put(t, r, "ci/app", "1", layered(body, body))
	}
	begun := make(chan struct{})
	whenGot(slow, sumOf(body), len(body), func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[:len(body)-1]) // which buys it sixteen seconds
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-req.Context().Done()
	})
	client := registry.New(registry.Options{Timeout: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q := query(slow.Host, "ci/app", "1")
		q.Content = true
		_, _ = client.Pull(ctx, q)
	}()
	<-begun
	q := query(healthy.Host, "ci/app", "1")
	q.Content = true
	if _, err := client.Pull(t.Context(), q); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
		t.Error("it waited until the slow registry had been given up")
	default:
	}
	cancel()
	<-ended
}
