package reconcile

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidewaiter/reconcile/registry/registrytest"
)

// BenchmarkADeadRegistryDelaysNoOther releases 500 images of a healthy registry beside 500 of a dead one, and beside the same 500
// while they are suspended, in turn, and reports the median of the ratios, and of the time without the dead one. The healthy
// one takes 5 ms for an answer, as one at some distance does. Dead is one that refuses connections, and one that takes them
// and never answers.
func BenchmarkADeadRegistryDelaysNoOther(b *testing.B) {
	hangs, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes the connections
	if err != nil {
		b.Fatal(err)
	}
	defer hangs.Close()
	refuses, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	refuses.Close()
	healthy := startRegistry(b, registrytest.Options{})
	healthy.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Millisecond)
			next.ServeHTTP(rw, r)
		})
	})
	for i := range 500 {
		name := "healthy-" + strconv.Itoa(i)
		pushImage(b, healthy, name, "1", name)
	}
	for name, dead := range map[string]string{"that hangs": hangs.Addr().String(), "that refuses": refuses.Addr().String()} {
		b.Run(name, func(b *testing.B) {
			var ratios, alone []float64
			for b.Loop() {
				one := releaseAll(b, healthy, dead, "suspend: true").Seconds()
				both := releaseAll(b, healthy, dead).Seconds()
				alone, ratios = append(alone, one), append(ratios, both/one)
			}
			slices.Sort(ratios)
			slices.Sort(alone)
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
			b.ReportMetric(alone[len(alone)/2], "alone-s")
			b.ReportMetric(0, "ns/op") // of the two together, which says nothing
		})
	}
}

// releaseAll is how long it takes from the start of a daemon until all healthy images are recorded; the specs of the others have
// more lines.
func releaseAll(b *testing.B, healthy *registrytest.Registry, dead string, more ...string) time.Duration {
	w := emptyWorld(b, healthy)
	files := map[string]string{"catalog.yaml": policyOf([]string{healthy.Host, dead})}
	for i := range 500 {
		name := "healthy-" + strconv.Itoa(i)
		files["images/"+name+".yaml"] = specAt(healthy.Host, name, "1", "compatible-fix: a")
		name = "dead-" + strconv.Itoa(i)
		files["images/"+name+".yaml"] = specAt(dead, name, "1", "compatible-fix: a", more...)
	}
	fastImport(b, w.git.Dir(catalogRepo), []commit{{"all images", files}})
	d := w.start(func(c *Config) { c.Now, c.Registry.Timeout = time.Now, 5*time.Second })
	started := time.Now()
	stop := d.run()
	for testutil.ToFloat64(d.metrics.releases.WithLabelValues("compatible-fix")) < 500 {
		if time.Since(started) > time.Minute {
			b.Fatal(fmt.Errorf("in vain: %d looks are on their way", d.looks.Pending()))
		}
		time.Sleep(2 * time.Millisecond)
	}
	took := time.Since(started)
	stop()
	d.end()
	return took
}
