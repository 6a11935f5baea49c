package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
	"tidewaiter/reconcile/web"
)

func newDiff() *cobra.Command {
	var git gitFlags
	var output outputFlag
	var registries registry.Options
	var q reconcile.DiffQuery
	var mode string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare what two images promise to their users",
		Long: `diff compares what two images promise to their users, and says which upgrade mode the difference needs.

OLD and NEW are image references, or NAME@CHANNEL of the catalog that --repo names. Manifests and configs are read, no layers;
what scripts and binaries inside do is not seen.

With --mode it exits with 1 where that mode is contradicted.`,
		Example: `  tidewaiter diff redis:7 redis:8
  tidewaiter diff go-builder@1.latest acme/go-builder:next --mode compatible-fix --repo https://git.acme.dev/catalog
  tidewaiter diff redis:7 redis:8 -o markdown    # for a comment on a pull request`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if mode != "" {
				if err := q.Mode.UnmarshalText([]byte(mode)); err != nil {
					return fmt.Errorf("--mode: %w", err)
				}
			}
			for i, to := range []*release.Reference{&q.Old, &q.New} {
				var err error
				if *to, err = referenceOf(cmd, &git, args[i]); err != nil {
					return err
				}
			}
			registries.Proxy = http.ProxyFromEnvironment
			d, err := reconcile.Diff(cmd.Context(), registry.New(registries), q)
			if err != nil {
				return err
			}
			if err := writeDifference(cmd.OutOrStdout(), output.value, d); err != nil {
				return err
			}
			if q.Mode != 0 && d.Contradicted {
				return errProblems
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&mode, "mode", "", "the upgrade mode to judge: compatible-fix, compatible-feature or incompatible")
	f.StringSliceVar(&q.ContractEnv, "contract-env", nil, "environment variables that users rely on")
	f.StringSliceVar(&q.ContractLabels, "contract-labels", nil, "labels that users rely on")
	f.BoolVar(&q.PlainHTTP, "plain-http", false, "speak http to the registries; those on this machine are asked what they speak")
	f.StringVar(&registries.DockerConfig, "docker-config", "", "docker config file to take credentials from, like ~/.docker/config.json")
	f.StringVar(&registries.CAFile, "registry-ca-file", "", "PEM file of certificates to trust for registries besides the system's")
	git.add(f)
	f.Lookup("repo").Usage = "the catalog that NAME@CHANNEL is of"
	output.add(cmd, "text", "json", "markdown")
	return cmd
}

var ofCatalog = regexp.MustCompile(`^[a-z0-9-]+@[0-9a-z.]+$`) // a digest has a colon

// referenceOf is the image that an argument means.
func referenceOf(cmd *cobra.Command, git *gitFlags, text string) (reference release.Reference, err error) {
	if !ofCatalog.MatchString(text) {
		return registry.ParseReference(text)
	}
	if git.options.URL == "" {
		return reference, fmt.Errorf("%s is of a catalog: say with --repo which", text)
	}
	err = withStatuses(cmd, git, func(statuses *reconcile.Statuses) error {
		name, channel, _ := strings.Cut(text, "@")
		r, err := statuses.Resolve(name, channel)
		if none := (*web.NoAnswer)(nil); errors.As(err, &none) {
			return errors.New(none.Error()) // here it is what keeps the command from its work
		} else if err != nil {
			return err
		}
		reference, err = registry.ParseReference(r.Reference)
		return err
	})
	return reference, err
}

func writeDifference(w io.Writer, form string, d reconcile.Difference) error {
	var b strings.Builder
	switch form {
	case "json":
		return writeValue(w, "json", d)
	case "markdown":
		fmt.Fprintf(&b, "%s\n\n", sentence(d))
		fmt.Fprintf(&b, "| | image | platforms |\n|---|---|---|\n")
		for _, side := range []struct {
			name string
			reconcile.Side
		}{{"old", d.Old}, {"new", d.New}} {
			fmt.Fprintf(&b, "| %s | `%s` | %s |\n", side.name, side.Reference, platforms(side.Side)) // of fixed characters
		}
		if len(d.Findings) > 0 {
			fmt.Fprint(&b, "\n| level | needs | rule | what | platforms | advice |\n|---|---|---|---|---|---|\n")
		}
		for _, f := range d.Findings {
			what := f.Text
			if f.Subject != "" {
				what = review.Code(f.Subject) + ": " + what
			}
			if f.Old != "" || f.New != "" {
				what += ", " + review.Code(f.Old) + " → " + review.Code(f.New)
			}
			fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | %s |\n", f.Level, f.Needs, f.Rule, what, strings.Join(f.Platforms, ", "), f.Advice)
		}
		if len(d.Accept) > 0 {
			fmt.Fprintf(&b, "\nTo accept what contradicts %s, for one release:\n\n```yaml\nupgrade:\n  accept:\n", d.Mode)
			for _, line := range d.Accept {
				fmt.Fprintf(&b, "    - %s\n", line)
			}
			fmt.Fprint(&b, "```\n")
		}
	default:
		fmt.Fprintf(&b, "old  %s  (%s)\nnew  %s  (%s)\n\n", d.Old.Reference, platforms(d.Old), d.New.Reference, platforms(d.New))
		for _, f := range d.Findings {
			fmt.Fprintf(&b, "%-5s %s\n      %s\n", f.Level, f, f.Advice)
		}
		if len(d.Findings) > 0 {
			fmt.Fprintln(&b)
		}
		fmt.Fprintln(&b, sentence(d))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sentence says what the difference comes to. It claims no more than what manifests and configs can show.
func sentence(d reconcile.Difference) string {
	switch {
	case !d.Contradicted:
		return fmt.Sprintf("no contradiction to %s found in manifests and configs", d.Mode)
	case d.Right == d.Mode:
		return fmt.Sprintf("%s is contradicted, as every mode would be", d.Mode)
	case hopeless(d):
		return fmt.Sprintf("%s is contradicted; %s would be right but for what no mode allows", d.Mode, d.Right)
	}
	return fmt.Sprintf("%s is contradicted; %s would be right", d.Mode, d.Right)
}

// hopeless reports whether something was found that no mode allows.
func hopeless(d reconcile.Difference) bool {
	for _, f := range d.Findings {
		if f.Level == contract.Deny && f.Needs == contract.NoMode {
			return true
		}
	}
	return false
}

func platforms(side reconcile.Side) string {
	names := make([]string, len(side.Platforms))
	for i, p := range side.Platforms {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
}
