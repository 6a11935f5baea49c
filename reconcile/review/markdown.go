package review

import (
	"fmt"
	"strings"
)

// maxMarkdown bounds a report for a comment, in bytes; forges take 64 KiB.
const maxMarkdown = 60_000

// Markdown is a report as a comment on a pull request. What a stranger wrote is in code spans, to the letter.
func (r Report) Markdown() string {
	var b strings.Builder
	add := func(text string) bool {
		if b.Len()+len(text) > maxMarkdown {
			return false
		}
		b.WriteString(text)
		return true
	}
	whole := true
	for _, p := range r.Problems {
		whole = whole && add(fmt.Sprintf("- ✗ %s\n", Code(p.String())))
	}
	for _, p := range r.Warnings {
		whole = whole && add(fmt.Sprintf("- ⚠ %s\n", Code(p.String())))
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	for _, p := range r.Predictions {
		if p.Silent() {
			continue
		}
		text := fmt.Sprintf("#### %s %s\n\n%s at line %d\n\n", p.Mark(), Code(p.Outcome()), Code(p.Path), p.Line)
		for _, line := range p.Details() {
			text += fmt.Sprintf("- %s\n", Code(line))
		}
		if p.ProjectLink != "" && p.Candidate != nil {
			text += fmt.Sprintf("- [try it in %s](<%s>)\n", p.Project, p.ProjectLink)
		}
		whole = whole && add(text+"\n")
	}
	switch {
	case !whole:
		b.WriteString("\nand more: run tidewaiter check to see all\n")
	case b.Len() == 0:
		b.WriteString("Nothing is released by this, and no channel moves.\n")
	}
	return b.String()
}

// Code is a text as Markdown shows it to the letter, also in a cell of a table: no text ends the cell or the code.
func Code(text string) string {
	if text == "" {
		return "–"
	}
	return "<code>" + Escape(text) + "</code>"
}

// Escape is a text without what GitHub, GitLab and Gitea would read as HTML, as a table, as emphasis, as a link or as a mention.
func Escape(text string) string { return escaper.Replace(text) }

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "&#124;", "`", "&#96;", "*", "&#42;", "_", "&#95;",
	"[", "&#91;", "]", "&#93;", "\\", "&#92;", "@", "&#64;", "#", "&#35;", "~", "&#126;", ":", "&#58;", "\n", " ", "\r", " ")

// Comment is a review as a comment on its pull request, with a link to the page that shows it, where there is one.
func (r Review) Comment(link string) string {
	var b strings.Builder
	marks := map[State]string{Success: "✔", Failure: "✗", Pending: "…", Error: "?"}
	fmt.Fprintf(&b, "### %s %s\n\n", marks[r.State], Escape(r.Summary))
	for _, made := range r.Released {
		mark := "✔"
		if made.Changed() {
			mark = "⚠"
		}
		fmt.Fprintf(&b, "- %s %s\n", mark, Code(made.String()))
	}
	if len(r.Released) > 0 {
		b.WriteString("\n")
	}
	b.WriteString(r.Markdown())
	fmt.Fprintf(&b, "\n<sub>tidewaiter looked at %.12s", r.Head)
	if link != "" {
		fmt.Fprintf(&b, ", [full report](<%s>)", link)
	}
	b.WriteString("</sub>\n")
	return b.String()
}
