package reconcile

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkAQuietPassBesideReviews passes over a catalog beside 500 open pull requests and over one without any, in turn, where nothing
// is new, and reports the median of the ratios, and of the time without.
func BenchmarkAQuietPassBesideReviews(b *testing.B) {
	quiet := func(heads int) *daemon {
		w := newWorld(b)
		w.publish("go", "1", "compatible-fix: The first one.")
		w.git.Reviews(catalogRepo, heads)
		d := w.start(reviewing)
		d.settle()
		for range 2 {
			d.pass()
			if _, err := d.reviews.round(d.ctx); err != nil {
				b.Fatal(err)
			}
		}
		return d
	}
	without, beside := quiet(0), quiet(500)
	pass := func(d *daemon) float64 {
		start := time.Now()
		d.pass()
		return time.Since(start).Seconds()
	}
	var alone, ratios []float64
	for b.Loop() {
		one := pass(without)
		alone, ratios = append(alone, one), append(ratios, pass(beside)/one)
	}
	slices.Sort(ratios)
	slices.Sort(alone)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(1000*alone[len(alone)/2], "alone-ms")
	b.ReportMetric(0, "ns/op") // of the two together, which says nothing
}
