// Command tidewaiter releases container images through Git. See README.md, and tidewaiter --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidewaiter/reconcile/web"
)

// Exit codes.
const (
	exitProblems = 1 // the catalog has problems
	exitFailed   = 2 // it could not be done: usage, network
)

// errProblems says that the command did its work and found problems, which it has shown already.
var errProblems = errors.New("the catalog has problems")

// problem is an answer of the catalog that is not the one hoped for.
type problem struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd, environ) }
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errProblems):
		return exitProblems
	}
	fmt.Fprintln(stderr, "tidewaiter:", err)
	if none := (*web.NoAnswer)(nil); errors.As(err, &none) || errors.As(err, new(problem)) {
		return exitProblems
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tidewaiter",
		Short: "Release container images through Git",
		Long: `tidewaiter releases container images through Git.

Teams keep a catalog: a Git repository of YAML files, one for each image. A pull request adds or upgrades an image and declares
how it differs from the last release; merging it approves the release. tidewaiter watches the repository, works out the
version, proves that the image can be pulled, records the release as a commit, and tells what 1.latest is today.

Every flag can also be given as TIDEWAITER_<FLAG>, like TIDEWAITER_REPO for --repo.

Exit codes: 0 fine, 1 the catalog has problems, 2 it could not be done.`,
		Example: `  tidewaiter demo                                       # see it work, nothing to set up
  tidewaiter check ./my-catalog                         # validate a checkout
  tidewaiter run --repo https://git.acme.dev/catalog    # the daemon
  tidewaiter resolve go-builder@1.latest --repo https://git.acme.dev/catalog`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(newRun(), newCheck(), newAdd(), newUpgrade(), newList(), newShow(), newResolve(), newDiff(), newDoctor(), newRecheck(), newSchema(), newVersion(), newDemo())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	return root
}

const envPrefix = "TIDEWAITER_"

// fromEnvironment sets the flags of a command that the command line does not. A variable that is no flag of any command is
// refused: it is one that was misspelled and would be missed.
func fromEnvironment(cmd *cobra.Command, environ []string) error {
	known := map[string]bool{}
	for _, c := range cmd.Root().Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) { known[envName(f.Name)] = true })
	}
	var unknown []string
	values := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, envPrefix+"TEST_") {
			continue
		}
		values[name] = value
		if !known[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("unknown environment variable %s: it names no flag of any command; see %s --help", strings.Join(unknown, ", "), cmd.Root().Name())
	}
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		value, ok := values[envName(f.Name)]
		if !ok || f.Changed || failed != nil {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			failed = fmt.Errorf("environment variable %s: %w", envName(f.Name), err)
		}
	})
	return failed
}

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
