package registry_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

// metric is the value of one series of a client.
func metric(t *testing.T, client *registry.Client, name, host string) float64 {
	t.Helper()
	all := prometheus.NewRegistry()
	all.MustRegister(client.Metrics()...)
	families, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if family.GetName() == name && label.GetName() == "registry" && label.GetValue() == host {
					return m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
	}
	t.Fatalf("there is no %s of %s", name, host)
	return 0
}

// TestARegistryIsLeftAloneForAsLongAsItSays: after 429 with Retry-After: 3 nothing is sent to that registry for three seconds,
// and others notice nothing.
func TestARegistryIsLeftAloneForAsLongAsItSays(t *testing.T) {
	t.Parallel()
	limited, other := start(t, registrytest.Options{}), start(t, registrytest.Options{})
	for i := range 20 {
		put(t, limited, "ci/app", fmt.Sprint(i), registrytest.Image{Seed: fmt.Sprint(i)}.Build())
		put(t, other, "ci/app", fmt.Sprint(i), registrytest.Image{Seed: fmt.Sprint(i)}.Build())
	}
	limited.Requests()
	var until atomic.Pointer[time.Time]
	var early, refusals atomic.Int32
	limited.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			now := time.Now()
			over := now.Add(3 * time.Second)
			switch {
			case until.CompareAndSwap(nil, &over):
				refusals.Add(1)
				w.Header().Set("Retry-After", "3")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			case now.Before(*until.Load()):
				early.Add(1)
			}
			next.ServeHTTP(w, req)
		})
	})
	client := registry.New(registry.Options{})
	_, err := client.Pull(t.Context(), query(limited.Host, "ci/app", "0"))
	if refusal := refused(t, err, release.RateLimited); refusal.RetryAfter != 3*time.Second {
		t.Errorf("it is to be asked again after %s", refusal.RetryAfter)
	}
	held := 0
	for time.Now().Before(*until.Load()) {
		for i := range 20 {
			if _, err := client.Pull(t.Context(), query(other.Host, "ci/app", fmt.Sprint(i))); err != nil {
				t.Fatalf("another registry: %v", err)
			}
			if _, err := client.Pull(t.Context(), query(limited.Host, "ci/app", fmt.Sprint(i))); err != nil && time.Now().Before(*until.Load()) {
				refusal := refused(t, err, release.RateLimited)
				if refusal.RetryAfter <= 0 || refusal.RetryAfter > 3*time.Second {
					t.Fatalf("it is to be asked again after %s", refusal.RetryAfter)
				}
				held++
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	// The client's clock began a moment after the server's.
	time.Sleep(200 * time.Millisecond)
	if _, err := client.Pull(t.Context(), query(limited.Host, "ci/app", "0")); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	if refusals.Load() != 1 || early.Load() > 0 || held == 0 {
		t.Errorf("%d requests were refused by the registry, %d came early", refusals.Load(), early.Load())
	}
	t.Logf("in 3 s no request to the registry that asked for it, %d looks held back, %d requests to the other", held, len(other.Requests()))
	if s := metric(t, client, "tidewaiter_registry_throttled_seconds_total", limited.Host); s < 2.9 || s > 3.1 {
		t.Errorf("%.2f s are counted", s)
	}
}

// TestQuotaIsHeeded: where a registry says that nothing is left until a time, it is left alone until then, unrefused.
func TestQuotaIsHeeded(t *testing.T) {
	r := start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	r.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("RateLimit", `"pulls";r=0;t=60`)
			next.ServeHTTP(w, req)
		})
	})
	client := registry.New(registry.Options{})
	_, err := client.Pull(t.Context(), query(r.Host, "ci/app", "1"))
	refused(t, err, release.RateLimited)
	if lines := asked(r); len(lines) != 1 {
		t.Errorf("it was asked %v", lines)
	}
	if left := metric(t, client, "tidewaiter_registry_quota_remaining", r.Host); left != 0 {
		t.Errorf("%v requests are left", left)
	}
}

// TestWhyARegistryIsLeftAlone: one that is down and says for how long is unavailable to all that ask in the meantime, not rate limited.
func TestWhyARegistryIsLeftAlone(t *testing.T) {
	for status, want := range map[int]release.Reason{
		http.StatusServiceUnavailable: release.RegistryUnavailable, http.StatusTooManyRequests: release.RateLimited,
	} {
		r := start(t, registrytest.Options{})
		r.Wrap(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(status)
			})
		})
		client := registry.New(registry.Options{})
		for range 3 {
			_, err := client.Pull(t.Context(), query(r.Host, "ci/app", "1"))
			refused(t, err, want)
		}
		if lines := asked(r); len(lines) != 1 {
			t.Errorf("it was asked %v", lines)
		}
	}
}

// TestADeadRegistryCostsFewRequests: however many images are in a registry that fails, it is asked a few times, and its state
// can be seen. When somebody hurries the daemon, it is asked once more.
func TestADeadRegistryCostsFewRequests(t *testing.T) {
	r := start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	r.Wrap(func(http.Handler) http.Handler { return answers(http.StatusBadGateway) })
	var log bytes.Buffer
	client := registry.New(registry.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 200 {
		_, err := client.Pull(t.Context(), query(r.Host, "ci/app", "1"))
		refused(t, err, release.RegistryUnavailable)
	}
	if n := len(r.Requests()); n != 5 {
		t.Errorf("it was asked %d times", n)
	}
	if open := metric(t, client, "tidewaiter_registry_breaker_open", r.Host); open != 1 {
		t.Errorf("the metric says %v", open)
	}
	client.Hurry()
	for range 10 {
		_, _ = client.Pull(t.Context(), query(r.Host, "ci/app", "1"))
	}
	if n := len(r.Requests()); n != 1 {
		t.Errorf("hurried, it was asked %d times", n)
	}
	r.Wrap(nil)
	client.Hurry()
	if _, err := client.Pull(t.Context(), query(r.Host, "ci/app", "1")); err != nil {
		t.Errorf("it is there again: %v", err)
	}
	if open := metric(t, client, "tidewaiter_registry_breaker_open", r.Host); open != 0 {
		t.Errorf("the metric says %v", open)
	}
	if text := log.String(); strings.Count(text, "does not answer") != 1 || strings.Count(text, "answers again") != 1 {
		t.Errorf("the log says\n%s", text)
	}
}

// TestAnUnchangedImageCostsNoQuota: a second look is one HEAD, which Docker Hub does not count.
func TestAnUnchangedImageCostsNoQuota(t *testing.T) {
	r := start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	client := registry.New(registry.Options{})
	for range 2 {
		if _, err := client.Pull(t.Context(), query(r.Host, "ci/app", "1")); err != nil {
			t.Fatal(err)
		}
	}
	requests := r.Requests()
	for i, req := range requests {
		if last := i == len(requests)-1; last != (req.Method == http.MethodHead && i > 0 && strings.HasSuffix(req.Path, "/manifests/1")) {
			t.Errorf("request %d of %d: %s %s", i+1, len(requests), req.Method, req.Path)
		}
	}
}

// TestALargeImageLeavesRoom: an image of very many layers does not keep the others of its registry waiting.
func TestALargeImageLeavesRoom(t *testing.T) {
	r := start(t, registrytest.Options{})
	var layers []string
	for i := range 100 {
		layers = append(layers, fmt.Sprint(i))
	}
	put(t, r, "ci/large", "1", registrytest.Image{Layers: layers}.Build())
	put(t, r, "ci/small", "1", twoPlatforms.Build())
	arrived, release := make(chan struct{}, 1000), make(chan struct{})
	r.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodHead && strings.HasPrefix(req.URL.Path, "/v2/ci/large/blobs/") {
				arrived <- struct{}{}
				<-release
			}
			next.ServeHTTP(w, req)
		})
	})
	client := registry.New(registry.Options{})
	var large sync.WaitGroup
	large.Go(func() {
		if _, err := client.Pull(t.Context(), query(r.Host, "ci/large", "1")); err != nil {
			t.Error(err)
		}
	})
	for range 4 {
		<-arrived
	}
	if _, err := client.Pull(t.Context(), query(r.Host, "ci/small", "1")); err != nil {
		t.Error(err)
	}
	close(release)
	large.Wait()
}

// TestMannersAreMeasured: all series are there before the first request, and as Prometheus wants them.
func TestMannersAreMeasured(t *testing.T) {
	client := registry.New(registry.Options{})
	for _, name := range []string{"tidewaiter_registry_throttled_seconds_total", "tidewaiter_registry_breaker_open"} {
		if v := metric(t, client, name, "other"); v != 0 {
			t.Errorf("%s begins with %v", name, v)
		}
	}
	all := prometheus.NewRegistry()
	all.MustRegister(client.Metrics()...)
	if problems, err := testutil.GatherAndLint(all); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
