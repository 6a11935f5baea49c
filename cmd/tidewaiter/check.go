package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
	"tidewaiter/reconcile/web"
	"tidewaiter/schema"
)

func newCheck() *cobra.Command {
	var git gitFlags
	var registries registry.Options
	var output outputFlag
	var pull bool
	var base string
	cmd := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Validate a checkout of a catalog",
		Long: `check validates the catalog in a directory (default: here) without asking anybody.

Every problem is shown with its file, line and column, and what to do. It exits with 1 where there are any.

With --pull it also shows what merging would do: each image is pulled as the daemon would, the version it would become is worked
out from what the daemon wrote to the repository of --repo (default: the checkout's origin), and the declared mode is held to
what the image shows. What would not be released counts as a problem; without the daemon's statuses no version is known, and
the exit code is 2.

With --base only what differs from there is shown, judged by the policy of the base: registries that it does not list are not
contacted, and credentials are used only where it says reviewWithCredentials.`,
		Example: `  tidewaiter check
  tidewaiter check ./my-catalog -o github    # annotations on a pull request
  tidewaiter check --pull                    # what would be released, and as which version?
  tidewaiter check --base origin/main        # what would merging this branch do?`,
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
			var unknown error
			if pull || base != "" {
				registries.Proxy = http.ProxyFromEnvironment
				downloaded, stop := progress(cmd.ErrOrStderr())
				registries.Downloaded = downloaded
				unknown, err = predict(cmd, &git, dir, base, registry.New(registries), &report)
				if stop(); err != nil {
					return err
				}
			}
			if err := writeReport(cmd.OutOrStdout(), output.value, report); err != nil {
				return err
			}
			if unknown != nil {
				return unknown
			}
			return verdictOf(report)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&pull, "pull", false, "pull each image and show what merging would release")
	f.StringVar(&base, "base", "", "judge the change against this branch or commit of the clone, as one that is not trusted yet; implies --pull")
	f.StringVar(&registries.CredentialsDir, "credentials-dir", "", "directory with a credential in each sub-directory: username and password, or .dockerconfigjson")
	f.StringVar(&registries.DockerConfig, "docker-config", "", "docker config file to take credentials from for images that name none, like ~/.docker/config.json")
	f.StringVar(&registries.CAFile, "registry-ca-file", "", "PEM file of certificates to trust for registries besides the system's")
	git.add(f)
	f.Lookup("repo").Usage = "the catalog's repository, where the daemon writes (default: the origin of the checkout)"
	output.add(cmd, "text", "json", "github", "markdown", "junit")
	return cmd
}

// predict adds to a report what merging would do. Where nobody knows what was released so far, what can be said is said all the
// same, and unknown is why.
func predict(cmd *cobra.Command, git *gitFlags, dir, base string, client *registry.Client, report *reconcile.Report) (unknown, err error) {
	predictor := reconcile.Predictor{Registry: client, Now: time.Now()}
	checkout, notCloned := gitrepo.OpenCheckout(dir)
	if git.options.URL == "" && notCloned == nil {
		git.options.URL = checkout.Origin()
	}
	if base != "" {
		if notCloned != nil {
			return nil, notCloned
		}
		tip, fork, commits, err := checkout.Fork(base, reconcile.MaxCommits)
		if err != nil {
			return nil, err
		}
		if predictor.Change, err = reconcile.ReadChange(checkout, tip, fork, commits, *report); err != nil {
			return nil, err
		}
	}
	if git.options.URL == "" {
		unknown = errors.New("version unknown: say with --repo where the daemon writes, the checkout has no origin")
		return unknown, predictor.Predict(cmd.Context(), report)
	}
	err = withStatuses(cmd, git, func(statuses *reconcile.Statuses) error {
		predictor.Statuses = statuses
		return predictor.Predict(cmd.Context(), report)
	})
	if err != nil && predictor.Statuses == nil {
		unknown = fmt.Errorf("version unknown: %w", err)
		return unknown, predictor.Predict(cmd.Context(), report)
	}
	return nil, err
}

// verdictOf is what a report comes to: nothing, problems, or that it could not be told.
func verdictOf(report reconcile.Report) error {
	switch report.State() {
	case review.Failure:
		return errProblems
	case review.Error:
		return fmt.Errorf("nothing can be said of %s", strings.Join(report.Unknown(), ", "))
	}
	return nil
}

// writeReport writes a report in one of its forms. What paths and texts of strangers hold, a terminal is given no code of its own.
func writeReport(w io.Writer, form string, report reconcile.Report) error {
	var b strings.Builder
	if err := formatReport(&b, form, report); err != nil {
		return err
	}
	_, err := io.WriteString(w, web.Visible(b.String()))
	return err
}

func formatReport(w io.Writer, form string, report reconcile.Report) error {
	switch form {
	case "markdown":
		_, err := io.WriteString(w, report.Markdown())
		return err
	case "junit":
		return writeJUnit(w, report)
	case "json":
		if report.Problems == nil {
			report.Problems = []schema.Problem{}
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(report)
	case "github":
		for _, p := range report.Problems {
			if _, err := fmt.Fprintln(w, annotation("error", p)); err != nil {
				return err
			}
		}
		for _, p := range report.Warnings {
			if _, err := fmt.Fprintln(w, annotation("warning", p)); err != nil {
				return err
			}
		}
		for _, p := range report.Predictions {
			if _, err := io.WriteString(w, annotations(p)); err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	for _, p := range report.Problems {
		fmt.Fprintln(&b, p)
	}
	for _, p := range report.Warnings {
		fmt.Fprintf(&b, "%s (warning)\n", p)
	}
	unchanged := 0
	for _, p := range report.Predictions {
		if p.Silent() {
			unchanged++
			continue
		}
		b.WriteString(prediction(p))
	}
	fmt.Fprintf(&b, "%s, %s", review.Count(report.Specs, "valid spec"), review.Count(len(report.Problems), "problem"))
	if unchanged > 0 {
		fmt.Fprintf(&b, ", %d unchanged", unchanged)
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}

func prediction(p review.Prediction) string {
	text := fmt.Sprintf("%s:%d:%d: %s\n", schema.ShownPath(p.Path), p.Line, p.Column, p.Outcome())
	for _, line := range p.Details() {
		text += "    " + line + "\n"
	}
	return text
}

// annotations put a prediction on the line of the mode, and each finding that matters beside it.
func annotations(p review.Prediction) string {
	at := schema.Problem{Path: p.Path, Line: p.Line, Column: p.Column}
	var lines []string
	add := func(level, text string) {
		at.Message = text
		lines = append(lines, annotation(level, at)+"\n")
	}
	switch kind := p.Reason.Kind(); {
	case p.Silent():
		return ""
	case kind == 0:
		add("notice", p.Outcome())
	case kind == release.Transient || kind == release.Ours:
		add("warning", strings.Join(append([]string{p.Outcome()}, p.Details()...), "\n"))
	default:
		add("error", strings.Join(append([]string{p.Outcome()}, p.Details()...), "\n"))
		return strings.Join(lines, "")
	}
	for _, f := range p.Findings {
		if f.Level != contract.Info {
			add("warning", fmt.Sprintf("%s; %s", f, f.Advice))
		}
	}
	for _, a := range p.Unused {
		add("warning", review.UnusedAccept(a))
	}
	return strings.Join(lines, "")
}

// annotation is a workflow command of GitHub Actions, escaped as its toolkit does.
func annotation(level string, p schema.Problem) string {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	text := p.Message
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	return fmt.Sprintf("::%s file=%s,line=%d,col=%d::%s", level, property.Replace(p.Path), p.Line, p.Column, data.Replace(text))
}
