package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/web"
	"tidewaiter/schema"
)

func newShow() *cobra.Command {
	var from source
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "show NAME --repo URL",
		Short:   "Show one image: its channels, what waits or fails and why, its versions",
		Example: "  tidewaiter show go-builder --repo https://git.acme.dev/catalog",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			shown, err := from.image(cmd, args[0])
			if err != nil {
				return err
			}
			if output.value != "table" {
				return writeValue(cmd.OutOrStdout(), output.value, shown)
			}
			return writeImage(cmd.OutOrStdout(), shown.Name, shown.ImageStatus, shown.Releases, time.Now())
		},
	}
	from.add(cmd)
	output.add(cmd, "table", "json", "yaml")
	return cmd
}

// imageOf is the status of an image that must be there.
func imageOf(statuses *reconcile.Statuses, name string) (release.ImageStatus, error) {
	status, found, err := statuses.Image(name)
	if err != nil {
		return release.ImageStatus{}, err
	}
	if !found {
		return release.ImageStatus{}, problem{fmt.Errorf("the catalog has no image %q; tidewaiter list shows all of them", name)}
	}
	return status, nil
}

func writeImage(w io.Writer, name string, s release.ImageStatus, records []schema.Record, now time.Time) error {
	r := web.RowOf(web.Image{Name: name, Status: s})
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "%s\tready: %s\t%s\n", name, r.Ready, r.Reason)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s\n", r.Message)
	for _, c := range s.Conditions {
		if c.IsDrift() {
			fmt.Fprintf(w, "%s: %s\n", c.Reason, c.Message)
		}
	}
	for _, problem := range s.Problems {
		fmt.Fprintf(w, "  %s\n", reconcile.Plain(problem))
	}
	if len(s.Channels) > 0 {
		fmt.Fprintln(t, "\nCHANNEL\tVERSION\tREFERENCE")
		for _, c := range s.Channels {
			fmt.Fprintf(t, "%s\t%s\t%s\n", c.Name, c.Version, c.Reference)
		}
	}
	if len(s.Requests) > 0 {
		fmt.Fprintln(t, "\nREQUEST\tMODE\tIMAGE\tREASON")
		for _, q := range s.Requests {
			reason := q.Reason
			if reason == "" {
				reason = release.Verifying
			}
			fmt.Fprintf(t, "%.8s\t%s\t%s\t%s\n", q.ID, q.Applied(), q.Image.Reference, reason)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, q := range s.Requests {
			writeVerdict(w, q)
		}
	}
	if len(records) > 0 {
		fmt.Fprintln(t, "\nVERSION\tMODE\tCOMMIT\tAPPROVED BY\tAGE\t")
		for _, record := range slices.Backward(records) {
			made := record.Release()
			note := ""
			if s.Spec != nil && slices.ContainsFunc(s.Spec.Withdrawn, func(w release.Withdrawal) bool { return w.Version == made.Version }) {
				note = "withdrawn"
			}
			fmt.Fprintf(t, "%s\t%s\t%.8s\t%s\t%s\t%s\n", made.Version, made.Mode, made.Request.ID, reconcile.Plain(made.Request.Committer), age(now.Sub(made.Time)), note)
		}
	}
	return t.Flush()
}

// writeVerdict shows what speaks against the mode of a request, and what would help.
func writeVerdict(w io.Writer, q release.Request) {
	if q.Verdict == nil {
		return
	}
	against := "by itself"
	if !q.Verdict.Baseline.IsZero() {
		against = "compared with " + q.Verdict.Baseline.String()
	}
	fmt.Fprintf(w, "\n%.8s is not %s, %s:\n", q.ID, q.Applied(), against)
	for _, finding := range q.Verdict.Findings {
		fmt.Fprintf(w, "  %s\n", finding)
	}
	if len(q.Verdict.Accept) == 0 {
		return
	}
	fmt.Fprintln(w)
	if q.Verdict.Right != q.Applied() {
		fmt.Fprintf(w, "  mode: %s    # would be right, or accept what was found:\n", q.Verdict.Right)
	}
	fmt.Fprintln(w, "  accept:")
	for _, line := range q.Verdict.Accept {
		fmt.Fprintf(w, "    - %s\n", line)
	}
}
