package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/registry"
)

func newDoctor() *cobra.Command {
	var git gitFlags
	var registries registry.Options
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "doctor --repo URL",
		Short: "Try everything that a daemon needs",
		Long: `doctor tries everything that tidewaiter run needs with the same flags: the repository, the push, the clock, the policy, the
specs, what was written, and each registry of the policy with its credential. It changes nothing.

It exits with 1 where something is not as it must be, and says what to do.`,
		Example: "  tidewaiter doctor --repo https://git.acme.dev/catalog --git-password-file /run/secrets/git-token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := git.check(); err != nil {
				return err
			}
			registries.Proxy = http.ProxyFromEnvironment
			cfg := reconcile.Config{Git: git.options, Branch: git.branch, StatusBranch: git.statusBranch, Registry: registries, Now: time.Now}
			t := newTeller(cmd.OutOrStdout())
			all := []reconcile.Examination{}
			ill := false
			err := reconcile.Examine(cmd.Context(), cfg, func(e reconcile.Examination) {
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
	f := cmd.Flags()
	git.add(f)
	f.StringVar(&registries.CredentialsDir, "credentials-dir", "", "directory with a credential in each sub-directory: username and password, or .dockerconfigjson")
	f.StringVar(&registries.CAFile, "registry-ca-file", "", "PEM file of certificates to trust for registries besides the system's")
	output.add(cmd, "text", "json")
	f.AddFlagSet(newRun().Flags()) // the flags that nothing of it depends on are taken all the same
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
