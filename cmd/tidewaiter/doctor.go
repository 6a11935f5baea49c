package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
)

func newDoctor() *cobra.Command {
	var flags daemonFlags
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "doctor --repo URL",
		Short: "Try everything that a daemon needs",
		Long: `doctor tries everything that tidewaiter run needs with the same flags: the repository, the push, the policy, the specs, what was
written, each registry of the policy with its credential, the clock, the heads of pull requests, the forge, and the secrets of hooks and
debug projects. It changes nothing and shows no secret.

It exits with 1 where something is not as it must be, and says what to do.`,
		Example: "  tidewaiter doctor --repo https://git.acme.dev/catalog --git-password-file /run/secrets/git-token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.config(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			t := newTeller(cmd.OutOrStdout())
			all := []reconcile.Examination{}
			ill := false
			secrets := reconcile.Secrets{Hooks: flags.serve.hookSecret, Projects: flags.serve.projects}
			err = reconcile.Examine(cmd.Context(), cfg, secrets, func(e reconcile.Examination) {
				all, ill = append(all, e), ill || !e.OK
				if output.value == "text" {
					writeExamination(t, e)
				}
			})
			if err != nil {
				return err
			}
			if output.value == "json" {
				if err := writeValue(cmd.OutOrStdout(), "json", all); err != nil {
					return err
				}
			}
			if ill {
				return errProblems
			}
			return nil
		},
	}
	flags.add(cmd.Flags())
	output.add(cmd, "text", "json")
	return cmd
}

func writeExamination(t *teller, e reconcile.Examination) {
	mark := t.paint("32", "✔")
	if !e.OK {
		mark = t.paint("31", "✗")
	}
	t.say("%s %-9s %s", mark, e.Subject, e.Text)
	if e.Help != "" {
		fmt.Fprintf(t.w, "            %s\n", t.paint("2", "→ "+e.Help))
	}
}
