package reconcile

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/web"
	"tidewaiter/schema"
)

// Examination is one thing that a daemon needs, and whether it is there.
type Examination struct {
	Subject string `json:"subject"` // git, push, policy, specs, status, registry, clock, reviews, forge, hooks or projects
	OK      bool   `json:"ok"`
	Text    string `json:"text"`           // what was found
	Help    string `json:"help,omitempty"` // what to do, where it is not there
}

// Secrets are files that let others in at the page of a daemon; an empty name is none.
type Secrets struct {
	Hooks    string // the file of web.Hooks
	Projects string // the directory of debug projects, web.Options
}

// Bounds on an examination.
const (
	examineAtMost     = 20 * time.Second // of one thing
	examinedTogether  = 8                // registries
	maxSkew           = time.Minute      // of the clock
	helpForRegistries = "check its host in catalog.yaml, and that this machine can reach it"
)

// Examine tries everything that a daemon with this configuration needs, changes nothing, and tells of one thing after the other.
// What is not there keeps nothing else from being tried, but for what hangs on it.
func Examine(ctx context.Context, cfg Config, secrets Secrets, tell func(Examination)) error {
	repo, err := gitrepo.Open(cfg.Git)
	switch {
	case errors.Is(err, gitrepo.ErrCAFile):
		tell(Examination{"git", false, err.Error(), helpForCA("--git-ca-file")})
	case err != nil:
		return err
	default:
		defer repo.Close()
		e := &examiner{cfg: cfg, repo: repo, tell: tell}
		e.catalog(ctx)
	}
	if forge := cfg.Reviews.Forge; forge != nil {
		tell(examine(ctx, "forge", "check --forge, --forge-api and the token, and what it may do", func(ctx context.Context) (string, error) {
			_, err := forge.Open(ctx, cfg.Branch, 1)
			return "it takes the token and lists pull requests; whether it lets it comment is only seen by commenting", trusting(err, "--forge-ca-file")
		}))
	}
	if secrets.Hooks != "" {
		tell(examine(ctx, "hooks", "write the secret that the forge signs with to the file of --hook-secret-file", func(context.Context) (string, error) {
			_, err := web.Hooks{SecretFile: secrets.Hooks}.Secret()
			return "there is a secret", err
		}))
	}
	if secrets.Projects != "" {
		tell(examine(ctx, "projects", "write the token of each debug project to PROJECT/token in --projects-dir", func(context.Context) (string, error) {
			n, err := web.ProjectTokens(secrets.Projects)
			if err == nil && n == 0 {
				err = fmt.Errorf("no debug project is in %s", secrets.Projects)
			}
			return fmt.Sprintf("debug projects that have a token: %d", n), err
		}))
	}
	return nil
}

// examine tries one thing. The help is what to do where it is not there, and its error does not know better.
func examine(ctx context.Context, subject, help string, do func(context.Context) (string, error)) Examination {
	ctx, cancel := context.WithTimeout(ctx, examineAtMost)
	defer cancel()
	text, err := do(ctx)
	if err == nil {
		return Examination{subject, true, text, ""}
	}
	var known advised
	if errors.As(err, &known) {
		help = known.help
	}
	return Examination{subject, false, err.Error(), help}
}

// advised is an error with what to do about it.
type advised struct {
	error
	help string
}

func (a advised) Unwrap() error { return a.error }

func helpForCA(flag string) string {
	return "name a file of certificates in PEM with " + flag + ", or leave it out"
}

// trusting says of an error about a certificate what to do about it.
func trusting(err error, flag string) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return advised{err, "where that is the right server, add the certificate that signed its own to the file of " + flag}
	}
	return err
}

// examiner looks at what is in the repository, or named there.
type examiner struct {
	cfg        Config
	repo       *gitrepo.Repo
	tell       func(Examination)
	found      gitrepo.Refs
	tip        gitrepo.Commit
	registries []release.Registry
	clocks     []otherClock // of registries
}

// otherClock is one to compare ours with.
type otherClock struct {
	whose string
	skew  time.Duration // how far ours is ahead
}

func (e *examiner) catalog(ctx context.Context) {
	try := func(subject, help string, do func(context.Context) (string, error)) {
		e.tell(examine(ctx, subject, help, do))
	}
	try("git", "check --repo, --branch and the credentials for Git", e.branch)
	if e.tip.Hash.IsZero() {
		return // all else is read from there
	}
	try("push", "let the daemon's user push to the status branch, or choose another with --status-branch", e.push)
	try("policy", "correct catalog.yaml at the places named and merge", e.policy)
	try("specs", "correct them at the places named; tidewaiter check shows the same before a merge", e.specs)
	try("status", "restore the status branch from a clone, or read what to do about its reason in the README", e.status)
	e.ask(ctx)
	try("clock", "set the clock that is wrong, for example with an NTP service", e.clock)
	if len(e.cfg.Reviews.Refs) > 0 {
		try("reviews", "correct --review-refs, or leave it empty for no reviews", e.reviews)
	}
}

func (e *examiner) branch(ctx context.Context) (string, error) {
	var err error
	if e.found, err = e.repo.Refs(ctx, append([]string{e.cfg.Branch, e.cfg.StatusBranch}, e.cfg.Reviews.Refs...)...); err != nil {
		return "", trusting(err, "--git-ca-file")
	}
	tip := e.found.Branch(e.cfg.Branch)
	if tip.IsZero() {
		return "", fmt.Errorf("branch %q is not in %s", e.cfg.Branch, e.repo)
	}
	chain, err := e.repo.Chain(ctx, e.cfg.Branch, tip, gitrepo.Hash{})
	if err != nil {
		return "", err
	}
	e.tip = chain[0]
	return fmt.Sprintf("%s: branch %s at %.8s can be read", e.repo, e.cfg.Branch, tip), nil
}

func (e *examiner) push(ctx context.Context) (string, error) {
	if err := e.repo.MayPush(ctx); err != nil {
		return "", err
	}
	return "the server takes pushes of this user; what its rules and hooks say of a branch is only seen by pushing", nil
}

func (e *examiner) policy(context.Context) (string, error) {
	entry, found, err := e.repo.Lookup(e.tip.Hash, catalogFile)
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
	e.registries = catalog.Policy.Registries
	return fmt.Sprintf("%s is valid; registries listed: %d", catalogFile, len(e.registries)), nil
}

func (e *examiner) specs(context.Context) (string, error) {
	entries, err := e.repo.Files(e.tip.Hash, specDir)
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
	if _, err := e.repo.Chain(ctx, e.cfg.Branch, e.tip.Hash, observed); err != nil {
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

// ask asks the registries of the policy, several at a time, and tells in its order.
func (e *examiner) ask(ctx context.Context) {
	if _, err := e.cfg.Registry.Trusted(); err != nil {
		e.tell(Examination{"registry", false, err.Error(), helpForCA("--registry-ca-file")})
		return // none can be asked
	}
	client := registry.New(e.cfg.Registry)
	found := make([]Examination, len(e.registries))
	greetings := make([]registry.Greeting, len(e.registries))
	var asked errgroup.Group
	asked.SetLimit(examinedTogether)
	for i, r := range e.registries {
		asked.Go(func() error {
			found[i] = examine(ctx, "registry", helpForRegistries, func(ctx context.Context) (text string, err error) {
				text, greetings[i], err = greet(ctx, client, r)
				return text, err
			})
			return nil
		})
	}
	_ = asked.Wait() // what went wrong is told
	for i, r := range e.registries {
		e.tell(found[i])
		if skew := greetings[i].Skew; skew != nil {
			e.clocks = append(e.clocks, otherClock{"registry " + r.Host, *skew})
		}
	}
}

// greet asks one registry of the policy, with the credential that is bound to it.
func greet(ctx context.Context, client *registry.Client, r release.Registry) (string, registry.Greeting, error) {
	who := "without a credential"
	if r.Credentials != "" {
		who = "with credential " + r.Credentials
	}
	greeting, err := client.Ping(ctx, registry.Query{
		Image: release.Image{Reference: release.Reference{Registry: r.Host}}, Registry: r, Listed: true,
	})
	switch {
	case err != nil:
		return "", greeting, fmt.Errorf("%s %s: %w", r.Host, who, advise(registry.AsRefusal(err), r.Credentials))
	case r.Credentials == "" && greeting.Asks:
		return r.Host + " answers, and asks for a credential; none is bound, so only what is public can be pulled", greeting, nil
	case r.Credentials != "" && !greeting.Asks:
		return fmt.Sprintf("%s answers, and asked for no credential, so %s was not tried", r.Host, r.Credentials), greeting, nil
	}
	return fmt.Sprintf("%s answers %s", r.Host, who), greeting, nil
}

// advise says what to do about a registry that refuses, or that we cannot ask.
func advise(refusal *registry.Refusal, credential string) error {
	switch {
	case refusal.Reason == release.AccessDenied && credential == "":
		return advised{refusal, "bind a credential to it in catalog.yaml, or ask who runs it what it forbids"}
	case (refusal.Reason == release.AccessDenied || refusal.Reason == release.InternalError) && credential != "":
		return advised{refusal, fmt.Sprintf("check its host in catalog.yaml, and the credential %s under --credentials-dir", credential)}
	}
	return trusting(refusal, "--registry-ca-file")
}

// clock compares ours with the first that somebody shows.
func (e *examiner) clock(context.Context) (string, error) {
	clocks := e.clocks
	if skew, known := e.repo.Skew(); known {
		clocks = append([]otherClock{{"the Git server", skew}}, clocks...)
	}
	if len(clocks) == 0 {
		const nobody = "no server tells the time (Git does so over http only), so this machine's clock was not compared"
		if ahead := e.tip.Time.Sub(e.cfg.Now()); ahead > maxSkew {
			return "", fmt.Errorf("%s; but the newest commit of %s is %s in the future", nobody, e.cfg.Branch, ahead.Round(time.Second))
		}
		return nobody + "; the newest commit is not in the future", nil
	}
	if c := clocks[0]; c.skew.Abs() > maxSkew {
		return "", fmt.Errorf("this machine's clock is %s off that of %s", c.skew.Abs().Round(time.Second), c.whose)
	}
	return "this machine's clock agrees with that of " + clocks[0].whose, nil
}

func (e *examiner) reviews(context.Context) (string, error) {
	if err := e.cfg.Reviews.check(); err != nil {
		return "", err
	}
	n := 0
	for ref := range e.found {
		if _, ok := e.cfg.Reviews.number(ref); ok {
			n++
		}
	}
	if n == 0 {
		return "there is no head of a pull request yet; where one is open, --review-refs has to say where the server keeps it", nil
	}
	return fmt.Sprintf("heads of pull requests on the server: %d", n), nil
}
