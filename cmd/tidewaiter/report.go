package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"tidewaiter/reconcile"
)

// Forms of a report for forges and for CI servers that show test results.

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
		text := strings.Join(p.Details(), "\n")
		c := testCase{Class: p.Path, Name: p.Name, Output: strings.TrimSpace(p.Outcome() + "\n" + text)}
		if p.Mark() == "✗" {
			c.Output, c.Failure = "", &testFailure{p.Outcome(), text}
		}
		if !p.Silent() {
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
