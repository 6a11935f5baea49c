package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
	"tidewaiter/schema"
)

func newCheck() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Validate a checkout of a catalog",
		Long: `check validates the catalog in a directory (default: here) without asking anybody.

Every problem is shown with its file, line and column, and what to do. It exits with 1 where there are any.`,
		Example: `  tidewaiter check
  tidewaiter check ./my-catalog -o github    # annotations on a pull request`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			report, err := reconcile.Check(dir)
			if err != nil {
				return err
			}
			if err := writeReport(cmd.OutOrStdout(), output.value, report); err != nil {
				return err
			}
			if len(report.Problems) > 0 {
				return errProblems
			}
			return nil
		},
	}
	output.add(cmd, "text", "json", "github")
	return cmd
}

func writeReport(w io.Writer, form string, report reconcile.Report) error {
	switch form {
	case "json":
		if report.Problems == nil {
			report.Problems = []schema.Problem{}
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	case "github":
		for _, p := range report.Problems {
			if _, err := fmt.Fprintln(w, annotation(p)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range report.Problems {
		if _, err := fmt.Fprintln(w, p); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s, %s\n", count(report.Specs, "valid spec"), count(len(report.Problems), "problem"))
	return err
}

// annotation is a workflow command of GitHub Actions, escaped as its toolkit does.
func annotation(p schema.Problem) string {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	text := p.Message
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	return fmt.Sprintf("::error file=%s,line=%d,col=%d::%s", property.Replace(p.Path), p.Line, p.Column, data.Replace(text))
}

func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
