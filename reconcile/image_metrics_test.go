package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/web"
)

// seriesOfImages are the metrics of images that collectors have, one "metric label,label value" a line.
func seriesOfImages(t *testing.T, collectors ...prometheus.Collector) []string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collectors...)
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var series []string
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), "tidewaiter_image_")
		if !ours {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, label := range m.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			series = append(series, fmt.Sprintf("%s %s %.0f", name, strings.Join(labels, ","), m.GetGauge().GetValue()))
		}
	}
	return series
}

// What the metrics say of an image is what its page says, and ends with it.
func TestMetricsOfEachImage(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "incompatible: a")
	w.publish("node", "1", "incompatible: a")
	w.author.Write("images/missing.yaml", w.spec("missing", "1", "compatible-fix: never pushed"))
	w.merge("Add missing")
	d := w.start(func(c *Config) { c.MetricsPerImage = true })
	want := func(want ...string) {
		t.Helper()
		if got := seriesOfImages(t, d.Metrics()...); !slices.Equal(got, want) {
			t.Errorf("the metrics of images are\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
	want("metrics_left_out  0")

	began := w.clock.Now().Unix()
	d.settle()
	want("drifts go 0", "drifts missing 0", "drifts node 0",
		"info go,Released,1.0.0 1", "info missing,ImageNotFound, 1", "info node,Released,1.0.0 1",
		"metrics_left_out  0",
		"ready go 1", "ready missing 0", "ready node 1",
		fmt.Sprint("released_timestamp_seconds go ", began), fmt.Sprint("released_timestamp_seconds node ", began),
		"requests go 0", "requests missing 1", "requests node 0",
		fmt.Sprint("transition_timestamp_seconds go ", began), fmt.Sprint("transition_timestamp_seconds missing ", began),
		fmt.Sprint("transition_timestamp_seconds node ", began))

	w.clock.advance(time.Hour)
	w.author.Remove("images/node.yaml")
	w.author.Remove("images/missing.yaml")
	w.publish("go", "2", "incompatible: b")
	d.settle()
	w.clock.advance(time.Hour)
	w.publish("go", "1-fixed", "compatible-fix from 1.0.0: the old line")
	d.settle()
	want("drifts go 0", "info go,Released,2.0.0 1", "metrics_left_out  0", "ready go 1",
		fmt.Sprint("released_timestamp_seconds go ", began+7200), "requests go 0", fmt.Sprint("transition_timestamp_seconds go ", began))
}

// Nobody who did not ask for series of images has any, and who did has a bounded number.
func TestMetricsOfImagesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "incompatible: a")
	d := w.start()
	d.settle()
	if series := seriesOfImages(t, d.Metrics()...); len(series) > 0 {
		t.Errorf("without being asked for, there are the metrics %q", series)
	}

	store := &web.Store{}
	add := func(name string, reason release.Reason) {
		store.Images = append(store.Images, web.Image{Name: name, Status: release.ImageStatus{
			Conditions: []release.Condition{{Type: "Ready", Status: release.True, Reason: reason}},
		}})
	}
	add("a file with a name like \xff", release.Released)
	for n := range 3 {
		add(fmt.Sprint("delisted-", n), release.Delisted)
	}
	for n := range maxImageMetrics + 7 {
		add(fmt.Sprintf("image-%04d", n), release.Released)
	}
	var ready, leftOut []string
	for _, series := range seriesOfImages(t, imageMetrics{func() *web.Store { return store }}) {
		if strings.HasPrefix(series, "ready") {
			ready = append(ready, series)
		}
		if strings.HasPrefix(series, "metrics_left_out") {
			leftOut = append(leftOut, series)
		}
	}
	if n := len(ready); n != maxImageMetrics || ready[0] != "ready image-0000 1" || ready[n-1] != "ready image-0999 1" {
		t.Errorf("%d images have metrics, from %q to %q", n, ready[0], ready[n-1])
	}
	if !slices.Equal(leftOut, []string{"metrics_left_out  7"}) {
		t.Errorf("of those left out it says %q", leftOut)
	}
}
