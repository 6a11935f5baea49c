package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidewaiter/reconcile/gitrepo"
)

// gitFlags say where the catalog is and how to get in.
type gitFlags struct {
	options              gitrepo.Options
	branch, statusBranch string
}

func (g *gitFlags) add(f *pflag.FlagSet) {
	f.StringVar(&g.options.URL, "repo", "", "the catalog's repository: https://, ssh://, user@host:path, file:// or a path (required)")
	f.StringVar(&g.branch, "branch", "main", "the branch whose first-parent commits are the approvals")
	f.StringVar(&g.statusBranch, "status-branch", "status", "the branch that statuses and release records are on; may be the same")
	f.StringVar(&g.options.Username, "git-username", "", "user for https (default: the URL's, or \"git\")")
	f.StringVar(&g.options.PasswordFile, "git-password-file", "", "file with the password or token for https, read at every use")
	f.StringVar(&g.options.SSHKeyFile, "git-ssh-key-file", "", "file with the private key for ssh")
	f.StringVar(&g.options.KnownHostsFile, "git-known-hosts-file", "", "file with the host keys that are trusted for ssh, as known_hosts")
	f.StringVar(&g.options.CAFile, "git-ca-file", "", "PEM file of certificates to trust for https besides the system's")
	f.StringVar(&g.options.Dir, "cache-dir", "", "where the disposable object cache lies (default: the system's temporary directory)")
}

func (g *gitFlags) open() (*gitrepo.Repo, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	return gitrepo.Open(g.options)
}

func (g *gitFlags) check() error {
	if g.options.URL == "" {
		return errors.New("--repo is missing: say where the catalog is")
	}
	return nil
}

// outputFlag is -o with the forms that a command knows; the first is the default.
type outputFlag struct {
	value string
	forms []string
}

func (o *outputFlag) add(cmd *cobra.Command, forms ...string) {
	o.value, o.forms = forms[0], forms
	cmd.Flags().VarP(o, "output", "o", "how to write it: "+strings.Join(forms, ", "))
	err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag was defined in the line above
	}
}

func (o *outputFlag) String() string { return o.value }
func (o *outputFlag) Type() string   { return "form" }
func (o *outputFlag) Set(s string) error {
	for _, form := range o.forms {
		if s == form {
			o.value = s
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(o.forms, ", "))
}

// logFlags say how to log.
type logFlags struct{ level, format string }

func (l *logFlags) add(f *pflag.FlagSet) {
	f.StringVar(&l.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&l.format, "log-format", "text", "text or json")
}

func (l *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", l.level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch l.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", l.format)
}
