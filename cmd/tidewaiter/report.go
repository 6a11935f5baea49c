package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/release"
)

// Forms of a report for forges and for CI servers that show test results.

// maxMarkdown bounds a report for a comment, in bytes; forges take 64 KiB.
const maxMarkdown = 60_000

// writeMarkdown writes a report as a comment on a pull request. What a stranger wrote is in code spans, to the letter.
func writeMarkdown(w io.Writer, report reconcile.Report) error {
	var b strings.Builder
	for _, p := range report.Problems {
		fmt.Fprintf(&b, "- ✗ %s\n", code(p.String()))
	}
	for _, p := range report.Warnings {
		fmt.Fprintf(&b, "- ⚠ %s\n", code(p.String()))
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	shown := 0
	for _, p := range report.Predictions {
		if p.Reason == "" && len(p.Channels) == 0 {
			continue
		}
		text := fmt.Sprintf("#### %s %s\n\n%s at line %d\n\n", mark(p), code(outcome(p)), code(p.Path), p.Line)
		for _, line := range details(p) {
			text += fmt.Sprintf("- %s\n", code(line))
		}
		if b.Len()+len(text) > maxMarkdown {
			fmt.Fprintf(&b, "\nand more: run tidewaiter check to see all\n")
			break
		}
		b.WriteString(text + "\n")
		shown++
	}
	if b.Len() == 0 {
		b.WriteString("Nothing is released by this, and no channel moves.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mark is a prediction at a glance.
func mark(p reconcile.Prediction) string {
	switch kind := p.Reason.Kind(); {
	case kind == release.Waits || kind == release.Retried:
		return "✗"
	case kind != 0 || p.PullUnknown:
		return "?"
	}
	return "✔"
}

// The form of JUnit, as far as CI servers agree on it.
type (
	testSuite struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Cases    []testCase `xml:"testcase"`
	}
	testCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Failure *testFailure `xml:"failure"`
		Output  string       `xml:"system-out,omitempty"`
	}
	testFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes each problem and each prediction as a test.
func writeJUnit(w io.Writer, report reconcile.Report) error {
	suite := testSuite{Name: "tidewaiter check"}
	for _, p := range report.Problems {
		suite.Cases = append(suite.Cases, testCase{Class: p.Path, Name: fmt.Sprintf("%s:%d:%d", p.Path, p.Line, p.Column), Failure: &testFailure{p.Message, p.String()}})
	}
	for _, p := range report.Predictions {
		text := strings.Join(details(p), "\n")
		c := testCase{Class: p.Path, Name: p.Name, Output: strings.TrimSpace(outcome(p) + "\n" + text)}
		if mark(p) == "✗" {
			c.Output, c.Failure = "", &testFailure{outcome(p), text}
		}
		if p.Reason != "" || len(p.Channels) > 0 {
			suite.Cases = append(suite.Cases, c)
		}
	}
	if len(suite.Cases) == 0 {
		suite.Cases = []testCase{{Class: "catalog", Name: "valid"}}
	}
	for _, c := range suite.Cases {
		if c.Failure != nil {
			suite.Failures++
		}
	}
	suite.Tests = len(suite.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
