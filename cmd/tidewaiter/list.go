package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/web"
)

// withStatuses opens the repository of a command and gives what was written there to do.
func withStatuses(cmd *cobra.Command, git *gitFlags, do func(*reconcile.Statuses) error) (err error) {
	repo, err := git.open()
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, repo.Close()) }()
	statuses, err := reconcile.ReadStatuses(cmd.Context(), repo, git.branch, git.statusBranch)
	if err != nil {
		return err
	}
	return do(statuses)
}

func newList() *cobra.Command {
	var from source
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "list --repo URL",
		Short:   "List the images of a catalog and where each stands",
		Example: "  tidewaiter list --repo https://git.acme.dev/catalog",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows, err := from.rows(cmd)
			if err != nil {
				return err
			}
			if output.value != "table" {
				return writeValue(cmd.OutOrStdout(), output.value, rows)
			}
			return writeRows(cmd.OutOrStdout(), rows, time.Now())
		},
	}
	from.add(cmd)
	output.add(cmd, "table", "json", "yaml")
	return cmd
}

func writeRows(w io.Writer, rows []web.Row, now time.Time) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "the catalog has no images yet")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "NAME\tLATEST\tREADY\tREASON\tAGE")
	for _, r := range rows {
		latest := "-"
		if r.Latest != nil {
			latest = r.Latest.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Name, latest, r.Ready, r.Reason, age(now.Sub(r.Since)))
	}
	return t.Flush()
}

// age words a duration as kubectl does: the greatest unit that fits.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// writeValue writes a value as indented JSON, or as the YAML that says the same. Characters that a terminal might act upon are
// escaped in both.
func writeValue(w io.Writer, form string, value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	if form == "yaml" {
		var node yaml.Node // JSON is YAML; decoding it keeps the order of keys
		if err := yaml.Unmarshal(text.Bytes(), &node); err != nil {
			return err
		}
		blockStyle(&node)
		text.Reset()
		encoder := yaml.NewEncoder(&text)
		encoder.SetIndent(2)
		if err := errors.Join(encoder.Encode(&node), encoder.Close()); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, web.Visible(text.String()))
	return err
}

func blockStyle(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && web.Visible(n.Value) != n.Value {
		n.Style = yaml.DoubleQuotedStyle // the one that knows escapes
	}
	for _, child := range n.Content {
		blockStyle(child)
	}
}
