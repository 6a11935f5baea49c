package reconcile

import (
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// What the daemon writes is read by people and by programs of other people: these files show all of it.
func TestWhatIsWritten(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "incompatible: The first one.")
	d := w.start()
	d.settle()
	w.golden("release-message.txt", w.message())
	w.golden("image.yaml", w.file("images/go.yaml"))
	w.golden("release.yaml", w.file("releases/go/1.0.0.yaml"))
	w.golden("catalog.yaml", w.file("catalog.yaml"))

	w.author.Write("images/go.yaml", w.spec("go", "2", "compatible-fix: Not pushed yet."))
	w.merge("Upgrade go")
	d.settle()
	w.golden("refusal-message.txt", w.message())
	w.golden("refused-image.yaml", w.file("images/go.yaml"))
	w.golden("readme.md", w.file("README.md"))
}

// golden compares text with a golden file, without the port and the hashes that differ in every run.
func (w *world) golden(name, text string) {
	t := w.t.(*testing.T)
	t.Helper()
	text = strings.ReplaceAll(text, w.registry.Host, "registry.example:5000")
	text = regexp.MustCompile(`\b[0-9a-f]{40}\b`).ReplaceAllString(text, "0123456789abcdef0123456789abcdef01234567")
	golden(t, name, text+"\n")
}

func TestMetricsAreAsPrometheusWantsThem(t *testing.T) {
	w := newWorld(t)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w.start().Metrics()...)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
