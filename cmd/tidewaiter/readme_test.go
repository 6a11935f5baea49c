package main

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
)

var updateReadme = flag.Bool("update-readme", false, "write the generated tables of README.md")

// The tables of metrics and of reasons in README.md are what the daemon has. Operators write alerts and runbooks by them.
func TestReadmeTables(t *testing.T) {
	const file = "../../README.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	readme := string(data)
	for name, table := range map[string]string{"metrics": metricsTable(t), "reasons": reasonsTable()} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
		before, rest, ok := strings.Cut(readme, begin)
		old, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("README.md has no table between %q and %q", begin, end)
		}
		if old != table && !*updateReadme {
			t.Errorf("the table of %s in README.md is out of date; run go test ./cmd/tidewaiter -run TestReadmeTables -update-readme\nwant:\n%s", name, table)
		}
		readme = before + begin + table + end + after
	}
	if *updateReadme {
		if err := os.WriteFile(file, []byte(readme), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// metricsTable has every metric of a daemon that released an image from a registry and asked a forge which both tell their quota,
// which is all there are.
func metricsTable(t *testing.T) string {
	t.Helper()
	hub, err := registrytest.Start(registrytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Close() })
	if _, err := hub.Push(t.Context(), "acme/go", "1", registrytest.Image{Seed: "go"}); err != nil {
		t.Fatal(err)
	}
	hub.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("RateLimit-Remaining", "76;w=21600")
			next.ServeHTTP(w, r)
		})
	})
	git := gittest.NewServer(t)
	git.Create(repoName)
	author := gittest.NewAuthor(t, git.Repo(repoName))
	author.Write("catalog.yaml", fmt.Sprintf(`apiVersion: tidewaiter/v1
kind: Catalog
metadata: {name: acme}
spec: {registries: [{host: "%s"}]}
`, hub.Host))
	author.Write("images/go.yaml", fmt.Sprintf(`apiVersion: tidewaiter/v1
kind: Image
metadata: {name: go}
spec:
  summary: An image of the tests
  image: {registry: "%s", repository: acme/go, tag: "1"}
  upgrade: {mode: incompatible, notes: The first one.}
`, hub.Host))
	author.Commit("Add go")
	author.Push()
	daemon, err := reconcile.New(t.Context(), reconcile.Config{
		Git: gitrepo.Options{URL: git.Repo(repoName), Dir: t.TempDir()}, Branch: "main", StatusBranch: "status",
		Log: slog.New(slog.DiscardHandler), Now: time.Now, MetricsPerImage: true,
		Reviews: reconcile.ReviewConfig{Refs: []string{"refs/pull/*/head"}, Forge: forgeThatTellsItsQuota(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = daemon.Close() })
	if err := daemon.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(daemon.Metrics()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| metric | type | labels | what it is |\n|---|---|---|---|\n")
	for _, f := range families {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), labels(f), f.GetHelp())
	}
	for _, name := range described(daemon.Metrics()) {
		if !strings.Contains(b.String(), "| `"+name+"` |") {
			t.Errorf("there is no series of %s, so its type and labels are not known", name)
		}
	}
	return b.String()
}

// forgeThatTellsItsQuota was asked once.
func forgeThatTellsItsQuota(t *testing.T) review.Forge {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-RateLimit-Remaining", "4999")
		w.Header().Set("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(time.Hour).Unix()))
		fmt.Fprint(w, "[]")
	}))
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	forge, err := review.NewForge(review.ForgeOptions{
		Kind: "github", API: server.URL, Repository: "https://github.com/acme/catalog", Branch: "main", TokenFile: token,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := forge.Open(t.Context(), "main", 1); err != nil {
		t.Fatal(err)
	}
	return forge
}

// described are the names of the metrics that collectors may have.
func described(collectors []prometheus.Collector) (names []string) {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		for _, c := range collectors {
			c.Describe(descs)
		}
	}()
	for desc := range descs {
		_, rest, _ := strings.Cut(desc.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		names = append(names, name)
	}
	return names
}

func labels(f *dto.MetricFamily) string {
	var names []string
	for _, label := range f.GetMetric()[0].GetLabel() {
		names = append(names, "`"+label.GetName()+"`")
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func reasonsTable() string {
	again := map[release.Kind]string{
		release.Waits:     "with a commit or a change of the policy",
		release.Retried:   "by itself, with growing pauses up to an hour, or at SIGHUP",
		release.Transient: "by itself",
		release.Ours:      "by itself; never written to Git",
	}
	var b strings.Builder
	b.WriteString("| reason | what it means, and what to do | looked at again |\n|---|---|---|\n")
	for _, reason := range release.Refusals() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", reason, reason.Message(), again[reason.Kind()])
	}
	for _, reason := range []release.Reason{
		release.HistoryRewritten, release.DelistingHeld, release.SpecsInvalid, release.StatusMissing, release.StatusTampered,
	} {
		fmt.Fprintf(&b, "| `%s` | %s | for the whole catalog |\n", reason, reason.Message())
	}
	for _, finding := range release.Findings() {
		fmt.Fprintf(&b, "| `%s` | %s | at each audit |\n", finding, finding.Message())
	}
	fmt.Fprintf(&b, "| `%s` | %s | said of a pull request; decides nothing |\n", release.DigestChangedSinceReview, release.DigestChangedSinceReview.Message())
	return b.String()
}
