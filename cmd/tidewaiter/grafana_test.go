package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// TestDashboardsAndRules has a real Prometheus scrape the daemon of the demo while its story is told, and asks it whatever
// dashboards and rules ask. A query that fails, a panel that has nothing to show and a legend that names no label would
// be noticed by nobody until somebody needs them.
func TestDashboardsAndRules(t *testing.T) {
	t.Parallel()
	(&stage{TB: t}).require("prometheus")
	w, err := newWorld(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.close() })
	p := startPrometheus(t, strings.TrimPrefix(w.pageURL, "http://"))
	p.await("a scrape before the story", `sum(tidewaiter_releases_total == 0)`)

	began, tell := time.Now(), newTeller(io.Discard)
	for i, step := range story {
		tell.step(step.title, step.text)
		if err := step.play(t.Context(), w, tell); err != nil {
			t.Fatal(err)
		}
		if i == 0 { // from then on one registry says what it still allows, as Docker Hub does
			w.registries["docker.io"].Wrap(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("RateLimit-Remaining", "76;w=21600")
					next.ServeHTTP(w, r)
				})
			})
		}
		time.Sleep(p.interval * 11 / 10) // so that Prometheus sees the daemon at every step
	}
	p.await("a scrape after the story", fmt.Sprintf(`timestamp(up{job="tidewaiter"}) > %d`, time.Now().Unix()))

	files, err := filepath.Glob("../../catalog-example/grafana/*.json")
	if err != nil || len(files) != 4 {
		t.Fatalf("there are the dashboards %q: %v", files, err)
	}
	for _, file := range files {
		for _, q := range questions(t, file) {
			p.check(q, began)
		}
	}
	p.checkRules()
}

// question is one query of a dashboard.
type question struct {
	from    string // for messages
	expr    string // with the variables of Grafana in it
	legend  string
	instant bool
	main    bool // the panel is empty without an answer
}

// chosen are the variables of a dashboard as Grafana replaces them: $__rate_interval for the usual scrape interval of 15 s, and all
// that can be chosen but for the image.
var chosen = strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$job", "tidewaiter", "$instance", ".*", "$registry", ".*", "$image", "greeter")

// questions are the queries of a dashboard's panels and variables.
func questions(t *testing.T, file string) (all []question) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Type, Title string
			Targets     []struct {
				Expr, LegendFormat string
				Instant            bool
			}
		}
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for n, target := range panel.Targets {
			all = append(all, question{
				fmt.Sprintf("%s: panel %q", filepath.Base(file), panel.Title), target.Expr, target.LegendFormat, target.Instant, n == 0,
			})
		}
	}
	form := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	for _, variable := range dashboard.Templating.List {
		if variable.Type != "query" {
			continue
		}
		query := form.FindStringSubmatch(variable.Query.(map[string]any)["query"].(string))
		if query == nil {
			t.Fatalf("%s: the variable %s asks for something else than the values of a label", file, variable.Name)
		}
		// The values of a label are those by which its series can be told apart.
		all = append(all, question{
			fmt.Sprintf("%s: variable %s", filepath.Base(file), variable.Name),
			fmt.Sprintf("group by (%s) (%s)", query[2], query[1]), "{{" + query[2] + "}}", true, true,
		})
	}
	if len(all) < 10 {
		t.Fatalf("%s asks only %d questions", file, len(all))
	}
	return all
}

// promServer is a Prometheus that scrapes one daemon as job tidewaiter, with the configuration and the rules that people copy.
type promServer struct {
	*testing.T
	url      string
	interval time.Duration // between two scrapes
}

func startPrometheus(t *testing.T, target string) *promServer {
	t.Helper()
	config, err := os.ReadFile("../../catalog-example/deploy/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs("../../catalog-example/prometheus/tidewaiter.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const interval = time.Second
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yaml")
	text := strings.NewReplacer("15s", interval.String(), "tidewaiter:8080", target, "tidewaiter.rules.yaml", rules).Replace(string(config))
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	listens := regexp.MustCompile(`msg="Listening on" address=(127\.0\.0\.1:\d+)`)
	said := bufio.NewScanner(log)
	for said.Scan() {
		if m := listens.FindStringSubmatch(said.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, log) }()
			return &promServer{t, "http://" + m[1], interval}
		}
	}
	t.Fatalf("prometheus ended before it listened on %s", target)
	return nil
}

// series is what Prometheus knows of one set of labels.
type series struct {
	Metric map[string]string
	Value  [2]any   // time and value, at one moment
	Values [][2]any // and over a time
}

// has reports whether there is any number among the values.
func (s series) has() bool {
	return slices.ContainsFunc(append(s.Values, s.Value), func(v [2]any) bool {
		text, _ := v[1].(string)
		n, err := strconv.ParseFloat(text, 64)
		return err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
	})
}

// get asks the API of Prometheus. The error is what it says against the question, or warns of.
func (p *promServer) get(into any, path string, query url.Values) error {
	p.Helper()
	resp, err := http.Get(p.url + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Error    string
		Warnings []string
		Data     any
	}{Data: into}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != "" || len(answer.Warnings) > 0 {
		return fmt.Errorf("%s %q", answer.Error, answer.Warnings)
	}
	return nil
}

// at asks for an expression now, or since a time.
func (p *promServer) at(expr string, since time.Time) ([]series, error) {
	p.Helper()
	path, query, now := "/api/v1/query", url.Values{"query": {expr}}, time.Now()
	if !since.IsZero() {
		path = "/api/v1/query_range"
		query.Set("start", fmt.Sprint(since.Unix()))
		query.Set("end", fmt.Sprint(now.Unix()))
		query.Set("step", "1")
	}
	var data struct{ Result []series }
	err := p.get(&data, path, query)
	return data.Result, err
}

// await waits until an expression has a value.
func (p *promServer) await(what, expr string) {
	p.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		found, err := p.at(expr, time.Time{})
		if err == nil && len(found) > 0 {
			return
		}
		if time.Now().After(deadline) {
			p.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

var labelInLegend = regexp.MustCompile(`\{\{(\w+)\}\}`)

// check asks a question as a panel does: over the story unless it is about one moment, and at its end.
func (p *promServer) check(q question, began time.Time) {
	p.Helper()
	expr := chosen.Replace(q.expr)
	if strings.Contains(expr, "$") {
		p.Errorf("%s: a variable is unknown: %s", q.from, expr)
		return
	}
	moments := []time.Time{{}, began}
	if q.instant {
		moments = moments[:1]
	}
	for _, since := range moments {
		found, err := p.at(expr, since)
		switch {
		case err != nil:
			p.Errorf("%s: %s: %v", q.from, expr, err)
		case q.main && !slices.ContainsFunc(found, series.has):
			p.Errorf("%s has nothing to show: %s", q.from, expr)
		}
		for _, label := range labelInLegend.FindAllStringSubmatch(q.legend, -1) {
			for _, s := range found {
				if s.Metric[label[1]] == "" {
					p.Errorf("%s: the legend names %s, which %v lacks", q.from, label[1], s.Metric)
				}
			}
		}
	}
}

// checkRules wants that Prometheus could evaluate every rule, and asks for each expression, and what each summary says would be.
func (p *promServer) checkRules() {
	p.Helper()
	text, err := os.ReadFile("../../catalog-example/prometheus/tidewaiter.rules.yaml")
	if err != nil {
		p.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Record, Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		p.Fatal(err)
	}
	var written []string
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			written = append(written, rule.Record+rule.Alert)
			if _, err := p.at(rule.Expr, time.Time{}); err != nil {
				p.Errorf("%s%s: %v", rule.Record, rule.Alert, err)
			}
			if rule.Record != "" {
				if found, err := p.at(rule.Record, time.Time{}); err != nil || len(found) == 0 {
					p.Errorf("nothing is recorded as %s: %v", rule.Record, err)
				}
			}
		}
	}
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	if err := p.get(&data, "/api/v1/rules", nil); err != nil {
		p.Fatal(err)
	}
	var evaluated []string
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			evaluated = append(evaluated, rule.Name)
			if rule.Health != "ok" || rule.State == "firing" {
				p.Errorf("%s is %s %s, %s", rule.Name, rule.Health, rule.LastError, rule.State)
			}
		}
	}
	if len(written) == 0 || !slices.Equal(evaluated, written) {
		p.Errorf("Prometheus has the rules %q, want %q", evaluated, written)
	}
}
