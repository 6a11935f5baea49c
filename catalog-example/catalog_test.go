package catalogexample

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestAlerts has promtool check the rules and play their tests.
func TestAlerts(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("TIDEWAITER_TEST_REQUIRE") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", "tidewaiter.rules.yaml"}, {"test", "rules", "tidewaiter.tests.yaml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestRulesAskForWhatThereIs: a rule about a metric or an alert that nobody knows would be silent for ever.
func TestRulesAskForWhatThereIs(t *testing.T) {
	rules, err := os.ReadFile("prometheus/tidewaiter.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\btidewaiter_[a-z_]+\b`).FindAllString(string(rules), -1) {
		if !strings.Contains(string(readme), "| `"+strings.TrimSuffix(name, "_bucket")+"` |") {
			t.Errorf("the README lists no metric %s", name)
		}
	}
	for _, alert := range regexp.MustCompile(`(?m)- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(readme), "`"+alert[1]+"`") {
			t.Errorf("the README does not say what to do about %s", alert[1])
		}
	}
}

// TestDashboard: each panel says what it shows, and asks for what there is.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("grafana/tidewaiter.json")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID                       int
			Type, Title, Description string
			Targets                  []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range dashboard.Panels {
		if seen[p.ID] || p.Title == "" || p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d, %q, lacks a number of its own, a title, a description or a query", p.ID, p.Title)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			for _, name := range regexp.MustCompile(`\btidewaiter_[a-z_]+\b`).FindAllString(target.Expr, -1) {
				if !strings.Contains(string(readme), "| `"+strings.TrimSuffix(name, "_bucket")+"` |") {
					t.Errorf("panel %q asks for %s, which the README does not list", p.Title, name)
				}
			}
		}
	}
}

// TestManifests: what is deployed is YAML, and its programs are given flags that there are.
func TestManifests(t *testing.T) {
	usage, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"deploy/compose.yaml", "deploy/tidewaiter.yaml", "deploy/prometheus.yaml", "deploy/datasource.yaml", "grafana/provisioning.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		decoder := yaml.NewDecoder(bytes.NewReader(text))
		for documents := 0; ; documents++ {
			var document map[string]any
			if err := decoder.Decode(&document); errors.Is(err, io.EOF) && documents > 0 {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		for _, flag := range regexp.MustCompile(`(?m)^ *- (--[a-z-]+)=`).FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(string(usage), "`"+flag[1]+"`") {
				t.Errorf("%s: the README has no flag %s", file, flag[1])
			}
		}
	}
}
