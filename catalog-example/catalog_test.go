package catalogexample

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"gopkg.in/yaml.v3"
)

// TestAlerts has promtool check the rules and play their tests, and check the configuration that goes with them.
func TestAlerts(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("TIDEWAITER_TEST_REQUIRE") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() // where all of it lies in one folder, as the compose file has it
	for _, file := range []string{"prometheus/tidewaiter.rules.yaml", "prometheus/tidewaiter.tests.yaml", "deploy/prometheus.yaml"} {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"check", "rules", "tidewaiter.rules.yaml"}, {"test", "rules", "tidewaiter.tests.yaml"}, {"check", "config", "prometheus.yaml"},
	} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestRules: a rule about a metric that nobody knows would be silent for ever, and an alert without a section in the runbook helps
// nobody at night. Each has a test in which it does not fire, then does, and then ends.
func TestRules(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Record, Alert, Expr string
				Labels, Annotations map[string]string
			}
		}
	}
	read(t, "prometheus/tidewaiter.rules.yaml", &rules)
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name     string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
			Recorded []struct{ Expr string } `yaml:"promql_expr_test"`
		}
	}
	read(t, "prometheus/tidewaiter.tests.yaml", &tests)
	played := map[string]string{} // by name of the rule: what each of its tests expects, moment by moment
	for _, test := range tests.Tests {
		for _, moment := range test.Alerts {
			if len(moment.Expected) > 0 {
				played[moment.Name] += "fires "
			} else {
				played[moment.Name] += "quiet "
			}
		}
		for _, moment := range test.Recorded {
			played[moment.Expr] = "recorded"
		}
	}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			for _, name := range regexp.MustCompile(`\btidewaiter_[a-z_]+\b`).FindAllString(rule.Expr, -1) {
				if !strings.Contains(string(readme), "| `"+strings.TrimSuffix(name, "_bucket")+"` |") {
					t.Errorf("%s%s asks for %s, which the README does not list", rule.Alert, rule.Record, name)
				}
			}
			if rule.Record != "" {
				if played[rule.Record] == "" {
					t.Errorf("%s has no test", rule.Record)
				}
				continue
			}
			if !strings.Contains(played[rule.Alert], "quiet fires quiet") {
				t.Errorf("no test has %s begin and end: it is %s", rule.Alert, played[rule.Alert])
			}
			if !strings.Contains(string(readme), "\n#### "+rule.Alert+"\n") || !strings.HasSuffix(rule.Annotations["runbook_url"], "#"+strings.ToLower(rule.Alert)) {
				t.Errorf("%s leads to no section of the README: %s", rule.Alert, rule.Annotations["runbook_url"])
			}
			if rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s lacks a severity, a summary or a description", rule.Alert)
			}
		}
	}
}

// TestDashboards: Grafana would take them, as far as its own types tell; each panel says what it shows and in which unit, and
// asks the data source that was chosen for what there is.
func TestDashboards(t *testing.T) {
	runtime := cog.NewRuntime() // which takes any panel and query but for these, whose options and fields it knows
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	for _, known := range []func() variants.PanelcfgConfig{stat.VariantConfig, statetimeline.VariantConfig, table.VariantConfig, timeseries.VariantConfig} {
		runtime.RegisterPanelcfgVariant(known())
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("grafana/*.json")
	if err != nil {
		t.Fatal(err)
	}
	boards := map[string]*dashboard.Dashboard{} // by uid
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		board := &dashboard.Dashboard{}
		if err := board.UnmarshalJSONStrict(text); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := board.Validate(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if !slices.Equal(board.Tags, []string{"tidewaiter"}) || !strings.Contains(string(text), `"dashboards"`) {
			t.Errorf("%s is not linked with the others, which is done by the tag tidewaiter", file)
		}
		for _, uid := range regexp.MustCompile(`"uid": "([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
			if uid[1] != *board.Uid && uid[1] != "${datasource}" {
				t.Errorf("%s names %s, which only one Grafana has", file, uid[1])
			}
		}
		if boards[*board.Uid] != nil {
			t.Errorf("%s has the uid of another one", file)
		}
		boards[*board.Uid] = board
		checkPanels(t, file, board, string(readme))
	}
	if len(boards) != 4 || boards["tidewaiter"] == nil {
		t.Errorf("there are %d dashboards, want 4, and the uid tidewaiter for the first, which bookmarks know", len(boards))
	}
	for _, board := range boards {
		for _, panel := range board.Panels {
			if panel.Panel == nil {
				continue
			}
			for _, link := range regexp.MustCompile(`/d/([a-z-]+)`).FindAllStringSubmatch(fmt.Sprint(panel.Panel.FieldConfig.Overrides), -1) {
				if boards[link[1]] == nil {
					t.Errorf("panel %q leads to %s, which is no dashboard", *panel.Panel.Title, link[1])
				}
			}
		}
	}
}

// checkPanels looks at everything that a dashboard shows.
func checkPanels(t *testing.T, file string, board *dashboard.Dashboard, readme string) {
	known := map[string]bool{"__rate_interval": true, "__range": true}
	for _, variable := range board.Templating.List {
		known[variable.Name] = true
	}
	seen := map[uint32]bool{}
	for _, either := range board.Panels {
		if either.RowPanel != nil {
			if seen[either.RowPanel.Id] || *either.RowPanel.Title == "" {
				t.Errorf("%s: row %d has no title or no number of its own", file, either.RowPanel.Id)
			}
			seen[either.RowPanel.Id] = true
			continue
		}
		p := either.Panel
		if _, unknown := p.Options.(map[string]any); unknown {
			t.Errorf("%s: panel %q is of another kind than those that are checked: %s", file, *p.Title, p.Type)
		}
		if seen[*p.Id] || *p.Title == "" || *p.Description == "" || *p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("%s: panel %d, %q, lacks a number of its own, a title, a description, a unit or a query", file, *p.Id, *p.Title)
		}
		seen[*p.Id] = true
		for _, target := range p.Targets {
			query, ok := target.(*prometheus.Dataquery)
			if !ok {
				t.Fatalf("%s: panel %q asks something else than Prometheus", file, *p.Title)
			}
			for _, name := range regexp.MustCompile(`\btidewaiter_[a-z_]+\b`).FindAllString(query.Expr, -1) {
				if !strings.Contains(readme, "| `"+strings.TrimSuffix(name, "_bucket")+"` |") {
					t.Errorf("%s: panel %q asks for %s, which the README does not list", file, *p.Title, name)
				}
			}
			for _, variable := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(query.Expr, -1) {
				if !known[variable[1]] {
					t.Errorf("%s: panel %q asks with $%s, which cannot be chosen", file, *p.Title, variable[1])
				}
			}
		}
	}
}

// TestManifests: each file that is copied for a deployment is one document of YAML.
func TestManifests(t *testing.T) {
	found := 0
	for _, root := range []string{"deploy", "grafana"} {
		err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(file) == ".yaml" {
				found++
				read(t, file, new(map[string]any))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 10 {
		t.Errorf("there are only %d", found)
	}
}

// read decodes the one document of a file.
func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		t.Fatalf("%s has more than one document: %v", file, err)
	}
}
