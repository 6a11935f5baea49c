package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/web"
)

func newRun() *cobra.Command {
	var flags daemonFlags
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
			cfg, err := flags.config(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if flags.dryRun {
				cfg.DryRun = cmd.OutOrStdout()
			}
			return run(cmd.Context(), cfg, flags.serve, flags.once || flags.dryRun)
		},
	}
	flags.add(cmd.Flags())
	return cmd
}

// run runs a daemon until the context ends, or once.
func run(ctx context.Context, cfg reconcile.Config, serve serving, once bool) error {
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
	if len(cfg.Reviews.Refs) > 0 {
		options.Reviews, options.Projects = daemon.Reviews, serve.projects
	}
	if serve.hookSecret != "" {
		options.Hooks = &web.Hooks{SecretFile: serve.hookSecret, Pushed: daemon.Hurry, Recheck: daemon.Recheck}
	}
	server, err := web.Listen(serve.listen, options)
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
