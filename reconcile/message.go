package reconcile

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"tidewaiter/reconcile/release"
)

// Bounds of what people read.
const (
	maxTransitions = 1000 // lines in the body of a commit message
	maxRows        = 20   // rows of a table in the README of the status branch
	maxLine        = 200  // runes of a name or an error
)

// versionTrailer marks the commits of a daemon.
const versionTrailer = "Tidewaiter-Version: "

// ownCommit reports whether a message is that of a daemon's commit.
func ownCommit(message string) bool { return strings.Contains(message, "\n"+versionTrailer) }

// message is the commit message of a plan. It holds names, versions, references and reasons, all of fixed character sets, and
// no text that a stranger chose.
func (d *Daemon) message(p plan) string {
	var releases, lines []string
	for _, n := range p.images {
		for _, r := range n.made {
			releases = append(releases, fmt.Sprintf("%s %s", n.next.Name, r.Version))
			lines = append(lines, fmt.Sprintf("release %s %s (%s): %s", n.next.Name, r.Version, r.Mode, r.Reference()))
		}
		if text := transition(n.written.Conditions, n.status.Conditions); text != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", n.next.Name, text))
		}
	}
	if text := transition(d.written.Conditions, p.catalog.Conditions); text != "" {
		lines = append(lines, "catalog: "+text)
	}
	subject := "observe " + p.catalog.Observed
	switch {
	case len(releases) > 0:
		subject = "release " + andMore(releases)
	case len(lines) > 0:
		subject = andMore(lines)
	}
	if d.cfg.CommitSuffix != "" {
		subject += " " + d.cfg.CommitSuffix
	}
	if more := len(lines) - maxTransitions; more > 0 {
		lines = append(lines[:maxTransitions], fmt.Sprintf("and %d more", more))
	}
	body := strings.Join(lines, "\n")
	if body != "" {
		body += "\n\n"
	}
	return fmt.Sprintf("%s\n\n%sCatalog-Commit: %s\n%s%s\n", subject, body, p.catalog.Observed, versionTrailer, d.cfg.Version)
}

func andMore(items []string) string {
	if len(items) == 1 {
		return items[0]
	}
	return fmt.Sprintf("%s and %d more", items[0], len(items)-1)
}

// transition words how the Ready condition changed; empty where it did not.
func transition(before, after []release.Condition) string {
	was, is := readyReason(before), readyReason(after)
	switch {
	case was == is:
		return ""
	case was == "":
		return string(is)
	}
	return fmt.Sprintf("%s, was %s", is, was)
}

func readyReason(conditions []release.Condition) release.Reason {
	for _, c := range conditions {
		if c.Type == "Ready" {
			return c.Reason
		}
	}
	return ""
}

// readme is what a person sees first in the forge: what fails and why, and the newest releases.
func (d *Daemon) readme(p plan) []byte {
	statuses := make(map[string]release.ImageStatus, len(d.images))
	for name, i := range d.images {
		statuses[name] = i.written
	}
	for _, n := range p.images {
		statuses[n.next.Name] = n.status
	}
	type row struct {
		name      string
		condition release.Condition
		latest    release.Channel
	}
	var failing, drifted, released []row
	for _, name := range slices.Sorted(maps.Keys(statuses)) {
		s := statuses[name]
		for _, c := range s.Conditions {
			switch {
			case c.Type == "Ready" && c.Status != release.True:
				failing = append(failing, row{name: name, condition: c})
			case c.IsDrift():
				drifted = append(drifted, row{name: name, condition: c})
			}
		}
		if len(s.Channels) > 0 {
			newest := slices.MaxFunc(s.Channels, func(a, b release.Channel) int { return a.Released.Compare(b.Released) })
			released = append(released, row{name: name, latest: newest})
		}
	}
	slices.SortStableFunc(released, func(a, b row) int { return cmp.Compare(b.latest.Released.Unix(), a.latest.Released.Unix()) })

	var b strings.Builder
	fmt.Fprintf(&b, "# Status of the catalog\n\nWritten by tidewaiter; changes made here by hand are not kept.\n")
	for _, c := range p.catalog.Conditions[:1] {
		fmt.Fprintf(&b, "\n**%s**: %s\n", c.Reason, c.Message)
	}
	table := func(title, head string, rows []string) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s", title, head)
		for _, r := range rows[:min(len(rows), maxRows)] {
			b.WriteString(r)
		}
		if more := len(rows) - maxRows; more > 0 {
			fmt.Fprintf(&b, "\nand %d more\n", more)
		}
	}
	var rows []string
	for _, problem := range p.catalog.Problems {
		rows = append(rows, fmt.Sprintf("- %s: `%s`\n", problem.Reason, strings.ReplaceAll(Plain(problem.Message), "`", "'")))
	}
	table("Files that cannot be used", "", rows)
	rows = nil
	for _, f := range failing {
		rows = append(rows, fmt.Sprintf("| [%s](images/%s.yaml) | %s | %s |\n", f.name, f.name, f.condition.Reason, f.condition.Message))
	}
	table("Not released", "| image | reason | what to do |\n|---|---|---|\n", rows)
	rows = nil
	for _, f := range drifted {
		rows = append(rows, fmt.Sprintf("| [%s](images/%s.yaml) | %s | %s |\n", f.name, f.name, f.condition.Reason, f.condition.Message))
	}
	table("Not as they were released", "| image | finding | what it means |\n|---|---|---|\n", rows)
	rows = nil
	for _, r := range released {
		rows = append(rows, fmt.Sprintf("| [%s](images/%s.yaml) | [%s](releases/%s/%s.yaml) | `%s` |\n",
			r.name, r.name, r.latest.Version, r.name, r.latest.Version, r.latest.Reference))
	}
	table("Newest releases", "| image | version | reference |\n|---|---|---|\n", rows)
	return []byte(b.String())
}

// print tells what would be written, once all of it is known. Nothing of it is taken for done.
func (d *Daemon) print(p plan) error {
	if p.asks() || !d.looks.Idle() {
		return nil
	}
	files, err := d.files(p)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "would commit to branch %s:\n\n%s\n\n", d.cfg.StatusBranch, indent(d.message(p)))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		change := "write"
		if files[name] == nil {
			change = "delete"
		}
		fmt.Fprintf(&b, "    %s %s\n", change, name)
	}
	_, err = io.WriteString(d.cfg.DryRun, b.String())
	return err
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// Plain makes free text fit to be shown: one line, no control characters, no marks that change the direction of what
// follows, and not endless.
func Plain(text string) string {
	shown := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(shown); len(runes) > maxLine {
		shown = string(runes[:maxLine]) + "…"
	}
	return strings.TrimSpace(shown)
}
