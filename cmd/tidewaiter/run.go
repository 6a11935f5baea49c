package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/web"
)

func newRun() *cobra.Command {
	var git gitFlags
	var logs logFlags
	var cfg reconcile.Config
	var registries registry.Options
	var listen, hookSecret string
	var once, dryRun bool
	cmd := &cobra.Command{
		Use:   "run --repo URL",
		Short: "Watch a catalog and release what is merged",
		Long: `run watches a catalog and releases what is merged.

It polls the repository, verifies each image whose spec asks for a release, and writes release records and statuses to
the status branch. It needs no database: stop it, start it elsewhere, run two of them.

SIGTERM finishes the write in hand and stops. SIGHUP looks at once, also at every image that was refused.`,
		Example: `  tidewaiter run --repo https://git.acme.dev/catalog --git-password-file /run/secrets/git-token
  tidewaiter run --repo https://git.acme.dev/catalog --once --dry-run    # what would be released now?`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := git.check(); err != nil {
				return err
			}
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if cfg.Interval <= 0 {
				return fmt.Errorf("--interval %s: want more than 0", cfg.Interval)
			}
			registries.Proxy = http.ProxyFromEnvironment
			cfg.Git, cfg.Branch, cfg.StatusBranch, cfg.Registry = git.options, git.branch, git.statusBranch, registries
			cfg.Log, cfg.Now, cfg.Version = log, time.Now, buildVersion()
			if dryRun {
				cfg.DryRun, once = cmd.OutOrStdout(), true
			}
			return run(cmd.Context(), cfg, listen, hookSecret, once)
		},
	}
	f := cmd.Flags()
	git.add(f)
	logs.add(f)
	f.DurationVar(&cfg.Interval, "interval", 30*time.Second, "pause between two looks at the repository")
	f.DurationVar(&cfg.Settle, "settle", 15*time.Minute, "how long a transient reason, or what an audit found, must last before it is written to the status branch")
	f.DurationVar(&cfg.AuditInterval, "audit-interval", 6*time.Hour, "how often every release that a channel serves is looked at again; 0 for never")
	f.StringVar(&cfg.AcceptRewrite, "accept-rewrite", "", "after a rewrite of the branch: the commit to go on from")
	f.StringVar(&cfg.AcceptDelisting, "accept-delisting", "", "the commit that deletes more than half of the specs, where that is meant")
	f.StringVar(&cfg.CommitSuffix, "commit-message-suffix", "", "added to the subject of every commit, like [skip ci]")
	f.StringVar(&cfg.Author.Name, "author-name", "tidewaiter", "who the commits are by")
	f.StringVar(&cfg.Author.Email, "author-email", "tidewaiter@localhost", "the address in the commits")
	f.StringVar(&registries.CredentialsDir, "credentials-dir", "", "directory with a credential in each sub-directory: username and password, or .dockerconfigjson")
	f.StringVar(&registries.CAFile, "registry-ca-file", "", "PEM file of certificates to trust for registries besides the system's")
	f.Float64Var(&registries.Rate, "registry-rate", 50, "requests a second to one registry with one credential at most; 0 for no bound")
	f.BoolVar(&cfg.MetricsPerImage, "metrics-per-image", false, "also have metrics of each image, of the first 1,000 by name")
	f.StringVar(&listen, "listen", ":8080", "address of the page, metrics and health checks")
	f.StringVar(&hookSecret, "hook-secret-file", "", "file with the secret of /hooks/push and /hooks/recheck, read at every use; without it there are none")
	f.BoolVar(&once, "once", false, "release what there is to release, then exit")
	f.BoolVar(&dryRun, "dry-run", false, "print what would be written instead of writing it; implies --once")
	return cmd
}

// run runs a daemon until the context ends, or once.
func run(ctx context.Context, cfg reconcile.Config, listen, hookSecret string, once bool) error {
	if os.Getenv("GOGC") == "" {
		// Most of what the daemon keeps is a large catalog that hardly changes; a pass is seldom. Memory counts, not the
		// time of the collector.
		debug.SetGCPercent(40)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	daemon, err := reconcile.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		cancel() // ends the looks that Close waits for
		if err := daemon.Close(); err != nil {
			cfg.Log.Warn("closing the object cache", "error", err)
		}
	}()
	if once {
		return daemon.Once(ctx)
	}
	options := web.Options{Ready: daemon.Ready, Metrics: daemon.Metrics(), Store: daemon.Store, Version: cfg.Version, Log: cfg.Log}
	if hookSecret != "" {
		options.Hooks = &web.Hooks{SecretFile: hookSecret, Pushed: daemon.Hurry, Recheck: daemon.Recheck}
	}
	server, err := web.Listen(listen, options)
	if err != nil {
		return err
	}
	defer server.Close()
	cfg.Log.Info("tidewaiter is running", "version", cfg.Version, "repo", daemon.String(), "branch", cfg.Branch, "page", server.URL())

	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	go func() {
		for {
			select {
			case <-hup:
				daemon.Hurry()
			case <-ctx.Done():
				return
			}
		}
	}()
	return daemon.Run(ctx)
}
