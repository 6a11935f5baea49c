package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	catalogexample "tidewaiter/catalog-example"
	"tidewaiter/reconcile"
	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/githttp"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
	"tidewaiter/reconcile/web"
	"tidewaiter/schema"
)

const (
	demoInterval = 2 * time.Second
	demoPatience = 15 * time.Second // for one event of the story
)

// world is everything that the demo runs: a Git server, a registry for each host that the example names, a daemon, and the
// clone of somebody who merges.
type world struct {
	dir        string // temporary; removed by close
	clone      string
	repoURL    string
	pageURL    string
	repo       *gitrepo.Repo // to look at what the daemon wrote
	daemon     *reconcile.Daemon
	registries map[string]*registrytest.Registry // by the host that the example names
	example    []string                          // names of the example's images
	closers    []func() error
}

func newWorld(ctx context.Context, log *slog.Logger) (w *world, err error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, fmt.Errorf("the demo needs the git program: %w", err)
	}
	w = &world{registries: map[string]*registrytest.Registry{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "tidewaiter-demo-"); err != nil {
		return w, err
	}
	w.closers = append(w.closers, func() error { return os.RemoveAll(w.dir) })
	if err := w.serveGit(ctx); err != nil {
		return w, err
	}
	return w, w.startDaemon(ctx, log)
}

func (w *world) close() error {
	var errs []error
	for _, c := range slices.Backward(w.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// serveGit starts the Git server with an empty repository, and clones it.
func (w *world) serveGit(ctx context.Context) error {
	root := filepath.Join(w.dir, "git")
	w.clone = filepath.Join(w.dir, "clone")
	if err := os.MkdirAll(root, 0o777); err != nil {
		return err
	}
	everybody := func(string, string, bool) bool { return true }
	handler, err := githttp.Handler(root, everybody)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(listener) //nolint:errcheck // it ends with Close, which returns what matters
	w.closers = append(w.closers, server.Close)
	w.repoURL = "http://" + listener.Addr().String() + "/catalog.git"
	if err := w.git(ctx, root, "init", "--quiet", "--bare", "--initial-branch=main", "catalog.git"); err != nil {
		return err
	}
	if err := w.git(ctx, w.dir, "init", "--quiet", "--initial-branch=main", w.clone); err != nil {
		return err
	}
	return w.git(ctx, w.clone, "remote", "add", "origin", w.repoURL)
}

func (w *world) startDaemon(ctx context.Context, log *slog.Logger) (err error) {
	if w.repo, err = gitrepo.Open(gitrepo.Options{URL: w.repoURL}); err != nil {
		return err
	}
	w.closers = append(w.closers, w.repo.Close)
	credentials := filepath.Join(w.dir, "credentials")
	w.daemon, err = reconcile.New(ctx, reconcile.Config{
		Git: gitrepo.Options{URL: w.repoURL}, Branch: "main", StatusBranch: "status",
		Registry: registry.Options{CredentialsDir: credentials},
		Interval: demoInterval, Settle: 15 * time.Minute,
		Author:  gitrepo.Person{Name: "tidewaiter", Email: "tidewaiter@localhost"},
		Version: buildVersion(), Log: log, Now: time.Now, MetricsPerImage: true,
		Reviews: reconcile.ReviewConfig{Refs: []string{"refs/pull/*/head"}, Most: 10, Age: 24 * time.Hour, Interval: time.Minute},
	})
	if err != nil {
		return err
	}
	w.closers = append(w.closers, w.daemon.Close)
	server, err := web.Listen("127.0.0.1:0", web.Options{
		Ready: w.daemon.Ready, Metrics: w.daemon.Metrics(), Store: w.daemon.Store, Reviews: w.daemon.Reviews,
		Version: buildVersion(), Log: log,
	})
	if err != nil {
		return err
	}
	w.closers = append(w.closers, server.Close)
	w.pageURL = server.URL()
	return nil
}

// run lets the daemon go.
func (w *world) run(ctx context.Context) {
	ended := make(chan error, 1)
	go func() { ended <- w.daemon.Run(ctx) }()
	w.closers = append(w.closers, func() error { return <-ended })
}

// demoUser is who may pull from the registries that the example needs a credential for.
const demoUser, demoPassword = "tidewaiter", "only for the demo"

// publishExample merges the example catalog. Its images are pushed to registries of this process, one for each host it names,
// and the specs are made to name those; nothing else of them is changed.
func (w *world) publishExample(ctx context.Context, t *teller) error {
	files := map[string]string{}
	err := fs.WalkDir(catalogexample.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(catalogexample.Files, name)
		files[name] = string(data)
		return err
	})
	if err != nil {
		return err
	}
	policy, problems := schema.DecodeCatalog("catalog.yaml", []byte(files["catalog.yaml"]))
	if len(problems) > 0 {
		return fmt.Errorf("the example's policy: %s", problems[0])
	}
	if err := w.startRegistries(policy.Policy); err != nil {
		return err
	}
	for name, text := range files {
		switch {
		case name == "catalog.yaml":
			files[name] = w.moveHosts(text, "host")
		case path.Ext(name) == ".yaml" && strings.HasPrefix(name, "images/"):
			_, spec, problems := schema.DecodeImage(name, []byte(text))
			if len(problems) > 0 {
				return fmt.Errorf("the example's spec: %s", problems[0])
			}
			digest, err := w.pushFor(ctx, policy.Policy, spec)
			if err != nil {
				return err
			}
			files[name] = w.moveSpec(text, spec, digest)
			w.example = append(w.example, spec.Name)
		}
	}
	slices.Sort(w.example)
	if err := w.merge(ctx, t, "Add the example catalog", files); err != nil {
		return err
	}
	w.run(ctx)
	return nil
}

// startRegistries starts one registry for each host of the policy, with a user where the policy has a credential for it.
func (w *world) startRegistries(policy release.Policy) error {
	for _, entry := range policy.Registries {
		if w.registries[entry.Host] != nil {
			continue
		}
		var options registrytest.Options
		if entry.Credentials != "" {
			options = registrytest.Options{User: demoUser, Password: demoPassword}
			dir := filepath.Join(w.dir, "credentials", entry.Credentials)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			for file, text := range map[string]string{"username": demoUser, "password": demoPassword} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					return err
				}
			}
		}
		r, err := registrytest.Start(options)
		if err != nil {
			return err
		}
		w.closers = append(w.closers, r.Close)
		w.registries[entry.Host] = r
	}
	return nil
}

// host is where the registry of this process is that stands for one the example names.
func (w *world) host(named string) string { return w.registries[named].Host }

var hostLine = regexp.MustCompile(`(?m)^(\s*(?:- )?(?:host|registry): *)("?)([^\s"#]+)("?)`)

// moveHosts replaces the hosts in the lines of one key.
func (w *world) moveHosts(text, key string) string {
	return hostLine.ReplaceAllStringFunc(text, func(line string) string {
		m := hostLine.FindStringSubmatch(line)
		if r := w.registries[m[3]]; r != nil && strings.HasSuffix(strings.TrimRight(m[1], " "), key+":") {
			return m[1] + r.Host
		}
		return line
	})
}

var (
	repositoryLine = regexp.MustCompile(`(?m)^( *)repository:`)
	registryLine   = regexp.MustCompile(`(?m)^ *registry:.*\n`)
	digestLine     = regexp.MustCompile(`(?m)^( *digest: *).*$`)
)

// moveSpec makes a spec name the registry of this process, and the digest that its image has there.
func (w *world) moveSpec(text string, spec *schema.Image, digest release.Digest) string {
	text = registryLine.ReplaceAllString(text, "")
	text = repositoryLine.ReplaceAllString(text, "${1}registry: "+w.host(spec.Image.Registry)+"\n${1}repository:")
	if repository := spec.Image.Repository; spec.Image.Registry == release.DockerHub && strings.HasPrefix(repository, "library/") {
		text = regexp.MustCompile(`(?m)^( *repository: *)\S+`).ReplaceAllString(text, "${1}"+repository)
	}
	return digestLine.ReplaceAllString(text, "${1}"+string(digest))
}

// pushFor pushes an image such as a spec asks for.
func (w *world) pushFor(ctx context.Context, policy release.Policy, spec *schema.Image) (release.Digest, error) {
	image := registrytest.Image{Seed: spec.Name}
	for _, p := range policy.Required(spec.Image) {
		image.Platforms = append(image.Platforms, string(p))
	}
	if w.registries[spec.Image.Registry] == nil {
		return "", fmt.Errorf("%s names %s, which the example's policy does not list", spec.Path, spec.Image.Registry)
	}
	tag := spec.Image.Tag
	if tag == "" {
		tag = "pinned"
	}
	return w.push(ctx, spec.Image.Registry, spec.Image.Repository, tag, image)
}

func (w *world) push(ctx context.Context, host, repository, tag string, image registrytest.Image) (release.Digest, error) {
	return w.registries[host].Push(ctx, repository, tag, image)
}

// merge writes files on a branch, merges it with a merge commit, as a forge does, and pushes.
func (w *world) merge(ctx context.Context, t *teller, subject string, files map[string]string) error {
	branch := fmt.Sprintf("change-%d", t.steps)
	commands := [][]string{
		{"checkout", "--quiet", "-B", branch},
		{"add", "--all"},
		{"commit", "--quiet", "--message", subject},
		{"checkout", "--quiet", "main"},
		{"merge", "--quiet", "--no-ff", "--message", "Merge " + branch + ": " + subject, branch},
		{"push", "--quiet", "origin", "main"},
	}
	if _, err := os.Stat(filepath.Join(w.clone, "catalog.yaml")); errors.Is(err, fs.ErrNotExist) {
		commands = [][]string{ // the first commit of all has nothing to be merged into
			{"add", "--all"}, {"commit", "--quiet", "--message", subject}, {"push", "--quiet", "origin", "main"},
		}
	}
	for i, command := range commands {
		if command[0] == "add" {
			if err := w.write(files); err != nil {
				return err
			}
		}
		if err := w.git(ctx, w.clone, command...); err != nil {
			return err
		}
		if i == len(commands)-1 {
			t.command("git merge %s && git push    # %s", branch, subject)
		}
	}
	w.daemon.Hurry()
	return nil
}

// propose writes files on a branch and pushes it as the head of a pull request, as a forge does, and waits for the verdict.
func (w *world) propose(ctx context.Context, t *teller, number int, subject string, files map[string]string) (review.Review, error) {
	ref := fmt.Sprintf("refs/pull/%d/head", number)
	for _, command := range [][]string{
		{"checkout", "--quiet", "-B", fmt.Sprintf("change-%d", number), "main"},
		{"add", "--all"},
		{"commit", "--quiet", "--message", subject},
		{"push", "--quiet", "--force", "origin", "HEAD:" + ref},
		{"checkout", "--quiet", "main"},
	} {
		if command[0] == "add" {
			if err := w.write(files); err != nil {
				return review.Review{}, err
			}
		}
		if err := w.git(ctx, w.clone, command...); err != nil {
			return review.Review{}, err
		}
	}
	t.command("git push origin HEAD:%s    # %s", ref, subject)
	w.daemon.Hurry()
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for {
		for _, r := range w.daemon.Reviews() {
			if r.Number == number && r.Subject == subject && r.State != review.Pending {
				return r, nil
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return review.Review{}, fmt.Errorf("pull request %d has no verdict after %s", number, demoPatience)
		}
	}
}

func (w *world) write(files map[string]string) error {
	for name, text := range files {
		file := filepath.Join(w.clone, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// git runs the git program, untouched by the configuration of whoever runs the demo.
func (w *world) git(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GIT_") }),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=A reviewer", "GIT_AUTHOR_EMAIL=reviewer@localhost",
		"GIT_COMMITTER_NAME=A reviewer", "GIT_COMMITTER_EMAIL=reviewer@localhost")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, reconcile.Plain(string(out)))
	}
	return nil
}

// await reads what the daemon wrote of an image until it is as wanted.
func (w *world) await(ctx context.Context, name string, wanted func(release.ImageStatus) bool) (release.ImageStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	var last release.ImageStatus
	for {
		if statuses, err := reconcile.ReadStatuses(ctx, w.repo, "main", "status"); err == nil {
			status, found, err := statuses.Image(name)
			if err == nil && found {
				if last = status; wanted(status) {
					return status, nil
				}
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return last, fmt.Errorf("%s is %s after %s", name, ready(last), demoPatience)
		}
	}
}
