package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/pflag"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/review"
)

// daemonFlags are all that a daemon is told: tidewaiter run does it, and tidewaiter doctor tries whether it can be done.
type daemonFlags struct {
	git          gitFlags
	logs         logFlags
	cfg          reconcile.Config
	serve        serving
	forge        review.ForgeOptions
	once, dryRun bool
}

// serving is what a daemon serves over http.
type serving struct {
	listen     string // address
	hookSecret string // file; empty for no hooks
	projects   string // directory; empty for no debug projects
}

func (d *daemonFlags) add(f *pflag.FlagSet) {
	d.git.add(f)
	d.logs.add(f)
	f.DurationVar(&d.cfg.Interval, "interval", 30*time.Second, "pause between two looks at the repository")
	f.DurationVar(&d.cfg.Settle, "settle", 15*time.Minute, "how long a transient reason, or what an audit found, must last before it is written to the status branch")
	f.DurationVar(&d.cfg.AuditInterval, "audit-interval", 6*time.Hour, "how often every release that a channel serves is looked at again; 0 for never")
	f.StringVar(&d.cfg.AcceptRewrite, "accept-rewrite", "", "after a rewrite of the branch: the commit to go on from")
	f.StringVar(&d.cfg.AcceptDelisting, "accept-delisting", "", "the commit that deletes more than half of the specs, where that is meant")
	f.StringVar(&d.cfg.CommitSuffix, "commit-message-suffix", "", "added to the subject of every commit, like [skip ci]")
	f.StringVar(&d.cfg.Author.Name, "author-name", "tidewaiter", "who the commits are by")
	f.StringVar(&d.cfg.Author.Email, "author-email", "tidewaiter@localhost", "the address in the commits")
	f.StringVar(&d.cfg.Registry.CredentialsDir, "credentials-dir", "", "directory with a credential in each sub-directory: username and password, or .dockerconfigjson")
	f.StringVar(&d.cfg.Registry.CAFile, "registry-ca-file", "", "PEM file of certificates to trust for registries besides the system's")
	f.Float64Var(&d.cfg.Registry.Rate, "registry-rate", 50, "requests a second to one registry with one credential at most; 0 for no bound")
	f.StringSliceVar(&d.cfg.Reviews.Refs, "review-refs", []string{"refs/pull/*/head", "refs/merge-requests/*/head"}, "where the server keeps the heads of pull requests, to say before the merge what it would do; empty for none")
	f.IntVar(&d.cfg.Reviews.Most, "review-most", 100, "how many open pull requests are reviewed at most, the newest first")
	f.DurationVar(&d.cfg.Reviews.Age, "review-age", 60*24*time.Hour, "pull requests whose newest commit is older are not reviewed")
	f.DurationVar(&d.cfg.Reviews.Interval, "review-interval", 5*time.Minute, "how often the images of open pull requests are looked at again")
	f.StringVar(&d.cfg.Reviews.Page, "page-url", "", "the URL that people reach the page by, for links in comments and statuses")
	f.StringVar(&d.forge.Kind, "forge", "", "github, gitlab or gitea (as Forgejo is): tell it what reviews find (default: by the host of --repo, once it has a token)")
	f.StringVar(&d.forge.API, "forge-api", "", "the URL of the forge's API (default: that of the host of --repo)")
	f.StringVar(&d.forge.TokenFile, "forge-token-file", "", "file with the forge's token, read at every use; without one the forge is told nothing")
	f.Int64Var(&d.forge.AppID, "forge-app-id", 0, "the number of a GitHub App, in place of a token")
	f.StringVar(&d.forge.AppKeyFile, "forge-app-key-file", "", "file with the private key of the GitHub App")
	f.StringVar(&d.forge.CAFile, "forge-ca-file", "", "PEM file of certificates to trust for the forge besides the system's")
	f.StringVar(&d.serve.projects, "projects-dir", "", "directory with a directory for each debug project: PROJECT/token lets it try what pull requests would release")
	f.BoolVar(&d.cfg.MetricsPerImage, "metrics-per-image", false, "also have metrics of each image, of the first 1,000 by name")
	f.StringVar(&d.serve.listen, "listen", ":8080", "address of the page, metrics and health checks")
	f.StringVar(&d.serve.hookSecret, "hook-secret-file", "", "file with the secret of /hooks/push and /hooks/recheck, read at every use; without it there are none")
	f.BoolVar(&d.once, "once", false, "release what there is to release, then exit")
	f.BoolVar(&d.dryRun, "dry-run", false, "print what would be written instead of writing it; implies --once")
}

// config is what the flags say, of a daemon that logs to w. It asks nobody; the error is about a flag.
func (d *daemonFlags) config(w io.Writer) (reconcile.Config, error) {
	if err := d.git.check(); err != nil {
		return reconcile.Config{}, err
	}
	log, err := d.logs.logger(w)
	if err != nil {
		return reconcile.Config{}, err
	}
	cfg := d.cfg
	if cfg.Interval <= 0 {
		return reconcile.Config{}, fmt.Errorf("--interval %s: want more than 0", cfg.Interval)
	}
	cfg.Git, cfg.Branch, cfg.StatusBranch = d.git.options, d.git.branch, d.git.statusBranch
	cfg.Registry.Proxy = http.ProxyFromEnvironment
	cfg.Log, cfg.Now, cfg.Version = log, time.Now, buildVersion()
	err = reviewing(&cfg, d.forge)
	return cfg, err
}

// reviewing checks what the flags say of reviews and, where the forge is to be told of them, prepares for that.
func reviewing(cfg *reconcile.Config, forge review.ForgeOptions) (err error) {
	if page := cfg.Reviews.Page; page != "" {
		if u, err := url.Parse(page); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("--page-url %q: want a URL like https://tidewaiter.acme.dev", page)
		}
	}
	switch r := cfg.Reviews; {
	case len(r.Refs) > 0 && (r.Most <= 0 || r.Age <= 0 || r.Interval <= 0):
		return errors.New("--review-most, --review-age and --review-interval want more than 0; --review-refs= turns reviews off")
	case forge.TokenFile == "" && forge.AppID == 0 && (forge.Kind != "" || forge.API != "" || forge.AppKeyFile != ""):
		return errors.New("--forge-token-file or --forge-app-id is missing: the forge tells who may say something")
	case forge.TokenFile == "" && forge.AppID == 0:
		return nil
	}
	forge.Repository, forge.Branch = cfg.Git.URL, cfg.Branch
	if cfg.Reviews.Forge, err = review.NewForge(forge); err != nil {
		return fmt.Errorf("--forge: %w", err)
	}
	return nil
}
