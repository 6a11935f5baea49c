package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// Examination is one thing that a daemon needs, and whether it is there.
type Examination struct {
	Subject string `json:"subject"` // git, push, clock, policy, specs, status, registry
	OK      bool   `json:"ok"`
	Text    string `json:"text"`           // what was found
	Help    string `json:"help,omitempty"` // what to do, where it is not there
}

// Bounds on an examination.
const (
	examineAtMost = 20 * time.Second // of one thing
	maxSkew       = time.Minute      // of the clock
)

// Examine tries everything that a daemon with this configuration needs, changes nothing, and tells of one thing after the other.
// What is not there keeps nothing else from being tried, but for what hangs on it.
func Examine(ctx context.Context, cfg Config, tell func(Examination)) error {
	repo, err := gitrepo.Open(cfg.Git)
	if err != nil {
		return err
	}
	defer repo.Close()
	e := &examiner{cfg: cfg, repo: repo, client: registry.New(cfg.Registry), tell: tell}
	e.try(ctx, "git", "check --repo, --branch and the credentials for Git", e.branch)
	if e.tip.IsZero() {
		return nil // all else is read from there
	}
	e.try(ctx, "push", "let the daemon's user push to the status branch, or choose another with --status-branch", e.push)
	e.try(ctx, "clock", "set this machine's clock, for example with an NTP service", e.clock)
	e.try(ctx, "policy", "correct catalog.yaml at the places named and merge", e.policy)
	e.try(ctx, "specs", "correct them at the places named; tidewaiter check shows the same before a merge", e.specs)
	e.try(ctx, "status", "restore the status branch from a clone, or read what to do about its reason in the README", e.status)
	for _, r := range e.registries {
		e.try(ctx, "registry", r.help(), func(ctx context.Context) (string, error) { return r.ping(ctx, e.client) })
	}
	return nil
}

type examiner struct {
	cfg        Config
	repo       *gitrepo.Repo
	client     *registry.Client
	tell       func(Examination)
	found      gitrepo.Refs
	tip        gitrepo.Hash
	registries []listed
}

func (e *examiner) try(ctx context.Context, subject, help string, do func(context.Context) (string, error)) {
	ctx, cancel := context.WithTimeout(ctx, examineAtMost)
	defer cancel()
	text, err := do(ctx)
	if err != nil {
		e.tell(Examination{subject, false, err.Error(), help})
		return
	}
	e.tell(Examination{subject, true, text, ""})
}

func (e *examiner) branch(ctx context.Context) (string, error) {
	var err error
	if e.found, err = e.repo.Refs(ctx, e.cfg.Branch, e.cfg.StatusBranch); err != nil {
		return "", err
	}
	tip := e.found.Branch(e.cfg.Branch)
	if tip.IsZero() {
		return "", fmt.Errorf("branch %q is not in %s", e.cfg.Branch, e.repo)
	}
	if _, err := e.repo.Chain(ctx, e.cfg.Branch, tip, gitrepo.Hash{}); err != nil {
		return "", err
	}
	e.tip = tip
	return fmt.Sprintf("%s: branch %s at %.8s can be read", e.repo, e.cfg.Branch, tip), nil
}

func (e *examiner) push(ctx context.Context) (string, error) {
	if err := e.repo.MayPush(ctx); err != nil {
		return "", err
	}
	return "the server takes pushes of this user; what its rules and hooks say of a branch is only seen by pushing", nil
}

func (e *examiner) clock(context.Context) (string, error) {
	skew, known := e.repo.Skew()
	switch {
	case !known:
		return "there is nothing to compare it with; only Git over http tells the time", nil
	case skew.Abs() > maxSkew:
		return "", fmt.Errorf("this machine's clock is %s off that of the Git server", skew.Abs().Round(time.Second))
	}
	return "this machine's clock agrees with that of the Git server", nil
}

func (e *examiner) policy(context.Context) (string, error) {
	entry, found, err := e.repo.Lookup(e.tip, catalogFile)
	switch {
	case err != nil:
		return "", err
	case !found:
		return "there is no " + catalogFile + ": specs may name any public registry, and no credential", nil
	case entry.Kind != gitrepo.File && entry.Kind != gitrepo.Executable:
		return "", errors.New(catalogFile + " is no regular file")
	}
	data, err := e.repo.Blob(entry.Hash, schema.MaxFileSize)
	if err != nil {
		return "", err
	}
	catalog, problems := schema.DecodeCatalog(catalogFile, data)
	if len(problems) > 0 {
		return "", fmt.Errorf("%s%s", problems[0], andOthers(len(problems)))
	}
	for _, r := range catalog.Policy.Registries {
		e.registries = append(e.registries, listed{r})
	}
	return fmt.Sprintf("%s is valid; registries listed: %d", catalogFile, len(catalog.Policy.Registries)), nil
}

func (e *examiner) specs(context.Context) (string, error) {
	entries, err := e.repo.Files(e.tip, specDir)
	if err != nil {
		return "", err
	}
	var problems []string
	for _, entry := range entries {
		f, err := readFile(e.repo, entry)
		if err != nil {
			return "", err
		}
		problems = append(problems, f.problems...)
	}
	if len(problems) > 0 {
		return "", fmt.Errorf("%s%s", problems[0], andOthers(len(problems)))
	}
	return fmt.Sprintf("all can be read: %d", len(entries)), nil
}

func (e *examiner) status(ctx context.Context) (string, error) {
	tip := e.found.Branch(e.cfg.StatusBranch)
	if tip.IsZero() {
		return fmt.Sprintf("branch %s is not there yet; the first pass makes it", e.cfg.StatusBranch), nil
	}
	if _, err := e.repo.Chain(ctx, e.cfg.StatusBranch, tip, gitrepo.Hash{}); err != nil {
		return "", err
	}
	statuses := &Statuses{e.repo, tip, statusDir(e.cfg.Branch, e.cfg.StatusBranch)}
	if root, err := statuses.root(); err != nil || root.IsZero() {
		return "nothing is written yet; the first pass writes it", err
	}
	written, err := statuses.Catalog()
	if err != nil {
		return "", err
	}
	if reason := readyReason(written.Conditions); reason != release.Ready {
		return "", fmt.Errorf("%s: %s", reason, reason.Message())
	}
	if written.Observed == "" {
		return "no commit is observed yet", nil
	}
	observed, err := gitrepo.ParseHash(written.Observed)
	if err != nil {
		return "", err
	}
	if _, err := e.repo.Chain(ctx, e.cfg.Branch, e.tip, observed); err != nil {
		return "", err
	}
	return fmt.Sprintf("it can be read, and commit %.8s, observed last, is on the branch", observed), nil
}

// andOthers says how many there are besides the first.
func andOthers(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(", and %d more", n-1)
}

// listed is a registry of the policy.
type listed struct{ release.Registry }

func (l listed) help() string {
	if l.Credentials == "" {
		return "check its host in catalog.yaml, and that this machine can reach it"
	}
	return fmt.Sprintf("check its host in catalog.yaml, and the credential %s under --credentials-dir", l.Credentials)
}

func (l listed) ping(ctx context.Context, client *registry.Client) (string, error) {
	who := "without a credential"
	if l.Credentials != "" {
		who = "with credential " + l.Credentials
	}
	if err := client.Ping(ctx, registry.Query{
		Image: release.Image{Reference: release.Reference{Registry: l.Host}}, Registry: l.Registry, Listed: true,
	}); err != nil {
		return "", fmt.Errorf("%s %s: %w", l.Host, who, err)
	}
	return fmt.Sprintf("%s answers %s", l.Host, who), nil
}
