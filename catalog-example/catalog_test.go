package catalogexample

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
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
