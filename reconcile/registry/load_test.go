package registry_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

// TestOnce: what is content addressed is asked for once, also by images that are looked at together.
func TestOnce(t *testing.T) {
	r := start(t, registrytest.Options{})
	for i := range 10 {
		put(t, r, "ci/app", fmt.Sprint(i), registrytest.Image{Seed: fmt.Sprint(i), Layers: []string{"base", "tools", "own " + fmt.Sprint(i)}}.Build())
	}
	client := registry.New(registry.Options{})
	var looks sync.WaitGroup
	for i := range 20 {
		looks.Go(func() {
			if _, err := client.Pull(t.Context(), query(r.Host, "ci/app", fmt.Sprint(i%10))); err != nil {
				t.Error(err)
			}
		})
	}
	looks.Wait()
	seen := map[string]int{}
	for _, req := range r.Requests() {
		if strings.Contains(req.Path, "sha256:") {
			seen[req.Method+" "+req.Path]++
		}
	}
	if want := 10*(1+1+1) + 2 + 10; len(seen) != want { // index, manifest, config; shared layers; own layers
		t.Errorf("%d different things were asked for, want %d", len(seen), want)
	}
	for what, times := range seen {
		if times != 1 {
			t.Errorf("%s was asked for %d times", what, times)
		}
	}
}

// TestOneRegistryAtATime: a registry that hangs gets no more than its share of connections, and costs no other anything.
func TestOneRegistryAtATime(t *testing.T) {
	hanging, healthy := start(t, registrytest.Options{}), start(t, registrytest.Options{})
	var now, most atomic.Int32
	arrived := make(chan struct{}, 100)
	release := make(chan struct{})
	hanging.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			arrived <- struct{}{}
			<-release
			now.Add(-1)
			next.ServeHTTP(w, req)
		})
	})
	client := registry.New(registry.Options{PerRegistry: 3})
	var looks sync.WaitGroup
	for i := range 10 {
		put(t, hanging, "ci/app", fmt.Sprint(i), registrytest.Image{Seed: fmt.Sprint(i)}.Build())
		put(t, healthy, "ci/app", fmt.Sprint(i), registrytest.Image{Seed: fmt.Sprint(i)}.Build())
		looks.Go(func() {
			if _, err := client.Pull(t.Context(), query(hanging.Host, "ci/app", fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		<-arrived
	}
	for i := range 10 {
		if _, err := client.Pull(t.Context(), query(healthy.Host, "ci/app", fmt.Sprint(i))); err != nil {
			t.Error(err)
		}
	}
	close(release)
	looks.Wait()
	if most.Load() != 3 {
		t.Errorf("%d requests at a time, want 3", most.Load())
	}
}

// TestSameRefusal: an image with several things wrong is refused for the same one each time, so that statuses do not flicker.
func TestSameRefusal(t *testing.T) {
	r := start(t, registrytest.Options{})
	built := registrytest.Image{Seed: "a", Layers: []string{"1", "2", "3", "4", "5", "6", "7", "8"}}.Build()
	for _, layer := range built.Manifests[0].Layers[2:] {
		delete(built.Blobs, layer.Digest)
	}
	put(t, r, "ci/app", "1", built)
	first := string(built.Manifests[0].Layers[2].Digest)
	for range 10 {
		_, err := registry.New(registry.Options{}).Pull(t.Context(), query(r.Host, "ci/app", "1"))
		if refusal := refused(t, err, release.LayerMissing); !strings.Contains(refusal.Error(), first) {
			t.Fatalf("%v is not about %s", refusal, first)
		}
	}
}

// TestRecovers: nothing of a refusal is remembered.
func TestRecovers(t *testing.T) {
	r := start(t, registrytest.Options{})
	client := registry.New(registry.Options{})
	q := query(r.Host, "ci/app", "1")
	_, err := client.Pull(t.Context(), q)
	refused(t, err, release.ImageNotFound)
	built := twoPlatforms.Build()
	lacking := twoPlatforms.Build()
	delete(lacking.Blobs, built.Manifests[0].Layers[1].Digest)
	put(t, r, "ci/app", "1", lacking)
	_, err = client.Pull(t.Context(), q)
	refused(t, err, release.LayerMissing)
	blob(built.Manifests[0].Layers[1].Digest, "another size")(r)
	_, err = client.Pull(t.Context(), q)
	refused(t, err, release.DigestMismatch)
	for _, code := range []int{500, 502, 503, 504} {
		r.Wrap(func(http.Handler) http.Handler { return answers(code) })
		_, err = client.Pull(t.Context(), q)
		refused(t, err, release.RegistryUnavailable)
	}
	r.Wrap(nil)
	put(t, r, "ci/app", "1", built)
	if _, err := client.Pull(t.Context(), q); err != nil {
		t.Error(err)
	}
}

// TestMetrics: labels are those that one could write down before the first request.
func TestMetrics(t *testing.T) {
	r, unlisted := start(t, registrytest.Options{}), start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	client := registry.New(registry.Options{})
	all := prometheus.NewRegistry()
	all.MustRegister(client.Metrics()...)
	if _, err := client.Pull(t.Context(), query(r.Host, "ci/app", "1")); err != nil {
		t.Fatal(err)
	}
	_, err := client.Pull(t.Context(), query(r.Host, "ci/app", "2"))
	refused(t, err, release.ImageNotFound)
	q := query(unlisted.Host, "ci/app", "1")
	q.Listed = false
	_, err = client.Pull(t.Context(), q)
	refused(t, err, release.RegistryNotAllowed)

	want := "# HELP tidewaiter_registry_requests_total Requests to registries and their token servers, by registry named in the policy (or other) and by answer.\n# TYPE tidewaiter_registry_requests_total counter\n"
	counts := map[string]int{r.Host + " 2xx": 10, r.Host + " 404": 1}
	for _, host := range []string{r.Host, "other"} {
		for _, code := range []string{"2xx", "3xx", "401", "403", "404", "429", "4xx", "5xx", "error"} {
			want += fmt.Sprintf("tidewaiter_registry_requests_total{code=%q,registry=%q} %d\n", code, host, counts[host+" "+code])
		}
	}
	if err := testutil.GatherAndCompare(all, strings.NewReader(want), "tidewaiter_registry_requests_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(all); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// TestTheTimeOfEachRequestIsMeasured until its answer begins, for the registry that it went to.
func TestTheTimeOfEachRequestIsMeasured(t *testing.T) {
	const delay = 30 * time.Millisecond
	r := start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	r.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			time.Sleep(delay)
			next.ServeHTTP(w, req)
		})
	})
	client := registry.New(registry.Options{})
	all := prometheus.NewRegistry()
	all.MustRegister(client.Metrics()...)
	began := time.Now()
	if _, err := client.Pull(t.Context(), query(r.Host, "ci/app", "1")); err != nil {
		t.Fatal(err)
	}
	took, requests := time.Since(began), len(r.Requests())
	families, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool {
		return f.GetName() == "tidewaiter_registry_request_duration_seconds"
	})
	for _, m := range families[i].GetMetric() {
		host, h := m.GetLabel()[0].GetValue(), m.GetHistogram()
		least, most := time.Duration(requests)*delay, time.Duration(requests)*took
		if host != r.Host {
			least, most = 0, 0
		}
		sum := time.Duration(h.GetSampleSum() * float64(time.Second))
		if sum < least || sum > most || h.GetSampleCount() > 0 != (host == r.Host) {
			t.Errorf("%s: %d requests took %s, want between %s and %s", host, h.GetSampleCount(), sum, least, most)
		}
		if host == r.Host && int(h.GetSampleCount()) != requests {
			t.Errorf("%s: the time of %d requests was measured, %d came", host, h.GetSampleCount(), requests)
		}
	}
}

// BenchmarkPull looks at 200 images of two platforms on a loopback registry, cold and again.
func BenchmarkPull(b *testing.B) {
	r := start(b, registrytest.Options{})
	for i := range 200 {
		put(b, r, fmt.Sprintf("ci/app%d", i), "1", registrytest.Image{Seed: fmt.Sprint(i), Platforms: []string{"linux/amd64", "linux/arm64"}}.Build())
	}
	pull := func(b *testing.B, client *registry.Client) {
		var looks sync.WaitGroup
		next := atomic.Int32{}
		for range 16 {
			looks.Go(func() {
				for i := next.Add(1) - 1; i < 200; i = next.Add(1) - 1 {
					if _, err := client.Pull(b.Context(), query(r.Host, fmt.Sprintf("ci/app%d", i), "1")); err != nil {
						b.Error(err)
					}
				}
			})
		}
		looks.Wait()
	}
	b.Run("first", func(b *testing.B) {
		r.Requests()
		for b.Loop() {
			pull(b, registry.New(registry.Options{}))
		}
		b.ReportMetric(float64(len(r.Requests()))/float64(b.N)/200, "requests/image")
	})
	b.Run("again", func(b *testing.B) {
		client := registry.New(registry.Options{})
		pull(b, client)
		r.Requests()
		for b.Loop() {
			pull(b, client)
		}
		b.ReportMetric(float64(len(r.Requests()))/float64(b.N)/200, "requests/image")
	})
}

// BenchmarkContent proves one layer of 1 GiB, which compresses to about half, and reports how much the heap grew for it beyond
// what was there before. The layer is served from a file.
func BenchmarkContent(b *testing.B) {
	const size = 1 << 30
	for name, compress := range map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
			if err != nil {
				b.Fatal(err)
			}
			return z
		},
	} {
		b.Run(name, func(b *testing.B) {
			file, err := os.Create(filepath.Join(b.TempDir(), "layer"))
			if err != nil {
				b.Fatal(err)
			}
			packed, unpacked := sha256.New(), sha256.New()
			compressor := compress(io.MultiWriter(file, packed))
			text, random, block := hex.NewEncoder(io.MultiWriter(compressor, unpacked)), rand.NewChaCha8([32]byte{}), make([]byte, 1<<16)
			for range size / (2 * len(block)) {
				_, _ = random.Read(block)
				if _, err := text.Write(block); err != nil {
					b.Fatal(err)
				}
			}
			if err := compressor.Close(); err != nil {
				b.Fatal(err)
			}
			info, err := file.Stat()
			if err != nil {
				b.Fatal(err)
			}
			digest := func(h hash.Hash) release.Digest { return release.Digest(fmt.Sprintf("sha256:%x", h.Sum(nil))) }
			r := start(b, registrytest.Options{})
			put(b, r, "ci/large", "1", layeredBy(digest(packed), info.Size(), digest(unpacked)))
			when(r, "/blobs/"+string(digest(packed)), func(w http.ResponseWriter, req *http.Request) { http.ServeFile(w, req, file.Name()) })
			q := query(r.Host, "ci/large", "1")
			q.Content = true
			peak := peakHeap(b)
			b.SetBytes(info.Size())
			for b.Loop() {
				if _, err := registry.New(registry.Options{}).Pull(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(peak())/(1<<20), "MiB-peak")
		})
	}
}

// peakHeap watches the heap, and returns what says by how many bytes it grew at most.
func peakHeap(b *testing.B) (peak func() uint64) {
	heap := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}} // those not yet collected included
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	runtime.GC()
	before, most := heap(), uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				most = max(most, heap())
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-stopped
		return most - min(before, most)
	}
}
