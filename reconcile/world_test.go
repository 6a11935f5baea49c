package reconcile

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

const (
	catalogRepo = "catalog.git"
	daemonName  = "tidewaiter"
)

// world is a Git server with one catalog, somebody who merges, and a registry. When the test ends, what holds for every
// catalog whatever happened is checked: see audit.
type world struct {
	t        testing.TB
	git      *gittest.Server
	author   *gittest.Author
	registry *registrytest.Registry
	clock    *clock
	log      *buffer
	branch   string // where statuses are written
	reader   *gitrepo.Repo
}

// newWorld is a world with a policy that lists the registry, not pushed yet, and no specs.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := emptyWorld(t, startRegistry(t, registrytest.Options{}))
	w.author = gittest.NewAuthor(t, w.git.Repo(catalogRepo))
	w.policy()
	return w
}

// emptyWorld is a world whose catalog has no commit, and no author.
func emptyWorld(t testing.TB, r *registrytest.Registry) *world {
	t.Helper()
	w := &world{
		t: t, git: gittest.NewServer(t), registry: r, branch: "status", log: &buffer{},
		clock: &clock{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)},
	}
	w.git.Create(catalogRepo)
	var err error
	if w.reader, err = gitrepo.Open(gitrepo.Options{URL: w.git.Dir(catalogRepo), Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.audit()
		w.reader.Close()
		if t.Failed() {
			t.Logf("the log:\n%s", w.log)
		}
	})
	return w
}

func startRegistry(t testing.TB, o registrytest.Options) *registrytest.Registry {
	t.Helper()
	r, err := registrytest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// audit checks what must hold in every catalog: objects are whole, the daemon's history is linear, no release record was ever
// changed or deleted, and no commit of a daemon touches a file of people.
func (w *world) audit() {
	dir := w.git.Dir(catalogRepo)
	gittest.Fsck(w.t, dir)
	if w.tip(w.branch) == "" {
		return
	}
	if merges := gittest.Git(w.t, dir, "log", "--merges", "--committer="+daemonName, "--format=%h %s", w.branch); merges != "" {
		w.t.Errorf("the daemon merged:\n%s", merges)
	}
	records := filepath.ToSlash(filepath.Join(statusDir("main", w.branch), releasesDir))
	if changed := gittest.Git(w.t, dir, "log", "--first-parent", "--no-renames", "--diff-filter=a", "--name-status",
		"--committer="+daemonName, "--format=%h %s", w.branch, "--", records); changed != "" {
		w.t.Errorf("release records were changed after they were written:\n%s", changed)
	}
	if w.branch != "main" {
		if own := gittest.Git(w.t, dir, "log", "--committer="+daemonName, "--format=%h %s", "main"); own != "" {
			w.t.Errorf("the daemon wrote to the branch of people:\n%s", own)
		}
	} else if touched := gittest.Git(w.t, dir, "log", "--committer="+daemonName, "--name-only", "--format=", "main", "--", ":!status"); touched != "" {
		w.t.Errorf("the daemon wrote files of people: %s", touched)
	}
}

// policy writes a catalog.yaml that lists the registry, with more lines under its spec.
func (w *world) policy(more ...string) {
	w.author.Write("catalog.yaml", policyOf([]string{w.registry.Host}, more...))
}

func policyOf(hosts []string, more ...string) string {
	text := "apiVersion: tidewaiter/v1\nkind: Catalog\nmetadata:\n  name: acme\nspec:\n  registries:\n"
	for _, host := range hosts {
		text += "    - host: \"" + host + "\"\n"
	}
	return text + lines("  ", more)
}

func lines(indent string, more []string) string {
	var b strings.Builder
	for _, line := range more {
		b.WriteString(indent + line + "\n")
	}
	return b.String()
}

// spec is a spec for acme/NAME:TAG in the world's registry, whose upgrade is written "mode: notes" or "mode from 1.4.2: notes",
// with more lines under its spec.
func (w *world) spec(name, tag, upgrade string, more ...string) string {
	return specAt(w.registry.Host, name, tag, upgrade, more...)
}

func specAt(host, name, tag, upgrade string, more ...string) string {
	mode, notes, _ := strings.Cut(upgrade, ": ")
	mode, from, adopted := strings.Cut(mode, " from ")
	if adopted {
		mode += "\n    from: " + from
	}
	return fmt.Sprintf(`apiVersion: tidewaiter/v1
kind: Image
metadata:
  name: %s
spec:
  summary: An image of the tests
  image:
    registry: "%s"
    repository: acme/%s
    tag: "%s"
  upgrade:
    mode: %s
    notes: %s
`, name, host, name, tag, mode, notes) + lines("  ", more)
}

// broken is a spec of a name that has one mistake.
func (w *world) broken(name string) string {
	return strings.Replace(w.spec(name, "1", "compatible-fix: broken"), "mode: compatible-fix", "mode: compatible-fixx", 1)
}

// image pushes an image for a name, another one for each tag.
func (w *world) image(name string, tags ...string) {
	w.t.Helper()
	for _, tag := range tags {
		pushImage(w.t, w.registry, name, tag, name+" "+tag)
	}
}

func pushImage(t testing.TB, r *registrytest.Registry, name, tag, seed string) release.Digest {
	t.Helper()
	digest, err := r.Push(context.Background(), "acme/"+name, tag, registrytest.Image{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// merge commits the work tree to main and pushes it.
func (w *world) merge(subject string) string {
	w.t.Helper()
	w.author.Commit(subject)
	return w.author.Push()
}

// publish pushes an image and merges the spec that releases it.
func (w *world) publish(name, tag, upgrade string, more ...string) string {
	w.t.Helper()
	w.image(name, tag)
	w.author.Write("images/"+name+".yaml", w.spec(name, tag, upgrade, more...))
	return w.merge(name + " " + upgrade)
}

// daemon is a daemon that a test can kill.
type daemon struct {
	*Daemon
	t   testing.TB
	ctx context.Context
	end func()
}

// start makes a daemon on the world's catalog. It is killed when the test ends.
func (w *world) start(change ...func(*Config)) *daemon {
	w.t.Helper()
	cfg := Config{
		Git: gitrepo.Options{URL: w.git.Repo(catalogRepo), Dir: w.t.TempDir()}, Branch: "main", StatusBranch: w.branch,
		Registry: registry.Options{Timeout: 5 * time.Second},
		Interval: time.Minute, Settle: 15 * time.Minute,
		Author:  gitrepo.Person{Name: daemonName, Email: "tidewaiter@localhost"},
		Version: "v0.0.0-test", Now: w.clock.Now,
		Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d, err := New(ctx, cfg)
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		cancel()
		if err := d.Close(); err != nil {
			w.t.Errorf("closing the daemon: %v", err)
		}
	})
	w.t.Cleanup(end)
	return &daemon{Daemon: d, t: w.t, ctx: ctx, end: end}
}

// settle passes until every question that the catalog raises is answered.
func (d *daemon) settle() {
	d.t.Helper()
	if err := d.Once(d.ctx); err != nil {
		d.t.Fatal(err)
	}
}

// pass passes once.
func (d *daemon) pass() {
	d.t.Helper()
	if err := d.Pass(d.ctx); err != nil {
		d.t.Fatal(err)
	}
}

// stalls passes and expects the whole catalog to be held up by what is on the status branch.
func (d *daemon) stalls(reason release.Reason) {
	d.t.Helper()
	var stalled *Stalled
	if err := d.Pass(d.ctx); !errors.As(err, &stalled) || stalled.Reason != reason {
		d.t.Fatalf("the pass ended with %v, want %s", err, reason)
	}
}

// run starts Run, and returns what ends it and checks that it ended well.
func (d *daemon) run() (stop func()) {
	ctx, cancel := context.WithCancel(d.ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			d.t.Errorf("Run ended with %v", err)
		}
	})
	d.t.Cleanup(stop)
	return stop
}

// tip is the commit of a branch on the server, empty where there is none.
func (w *world) tip(branch string) string {
	w.t.Helper()
	return gittest.Git(w.t, w.git.Dir(catalogRepo), "for-each-ref", "--format=%(objectname)", "refs/heads/"+branch)
}

// commits counts the daemon's commits.
func (w *world) commits() int {
	w.t.Helper()
	if w.tip(w.branch) == "" {
		return 0
	}
	log := gittest.Git(w.t, w.git.Dir(catalogRepo), "log", "--committer="+daemonName, "--format=%h", w.branch)
	return len(strings.Fields(log))
}

// message is the message of the newest commit of the daemon.
func (w *world) message() string {
	w.t.Helper()
	return gittest.Git(w.t, w.git.Dir(catalogRepo), "log", "-1", "--format=%B", w.branch)
}

// file is a file on the status branch.
func (w *world) file(name string) string {
	w.t.Helper()
	return gittest.Git(w.t, w.git.Dir(catalogRepo), "show", w.branch+":"+filepath.ToSlash(filepath.Join(statusDir("main", w.branch), name)))
}

// written is what the status branch holds now.
func (w *world) written() *Statuses {
	w.t.Helper()
	s, err := ReadStatuses(context.Background(), w.reader, "main", w.branch)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// records are all releases, by name and version.
func (w *world) records() map[string][]release.Release {
	w.t.Helper()
	statuses := w.written()
	entries, err := statuses.entries(releasesDir)
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string][]release.Release{}
	for _, entry := range entries {
		name := filepath.Base(filepath.Dir(entry.Path))
		if _, seen := all[name]; seen {
			continue
		}
		records, err := statuses.Records(name)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range records {
			all[name] = append(all[name], r.Release())
		}
	}
	return all
}

// released lists all releases as "go 1.0.0 = 1.26 (compatible-fix)", by name and version.
func (w *world) released() []string {
	w.t.Helper()
	list := []string{}
	for name, releases := range w.records() {
		for _, r := range releases {
			list = append(list, fmt.Sprintf("%s %s = %s (%s)", name, r.Version, r.Image.Tag, r.Mode))
		}
	}
	slices.Sort(list)
	return list
}

// status is what is written about an image.
func (w *world) status(name string) release.ImageStatus {
	w.t.Helper()
	status, found, err := w.written().Image(name)
	if err != nil || !found {
		w.t.Fatalf("status of %s: found %t, error %v", name, found, err)
	}
	return status
}

// catalogStatus is what is written about the catalog.
func (w *world) catalogStatus() release.CatalogStatus {
	w.t.Helper()
	status, err := w.written().Catalog()
	if err != nil {
		w.t.Fatal(err)
	}
	return status
}

// wantReleased compares all releases, written as released does.
func (w *world) wantReleased(want ...string) {
	w.t.Helper()
	if got := w.released(); !slices.Equal(got, want) {
		w.t.Fatalf("released:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// wantReason compares the reasons of images as they are written, "go: Released".
func (w *world) wantReason(want ...string) {
	w.t.Helper()
	names, err := w.written().Names()
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for _, name := range names {
		got = append(got, fmt.Sprintf("%s: %s", name, readyReason(w.status(name).Conditions)))
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("statuses:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// wantCatalog compares the catalog's reason as it is written.
func (w *world) wantCatalog(want release.Reason) {
	w.t.Helper()
	if got := readyReason(w.catalogStatus().Conditions); got != want {
		w.t.Fatalf("the catalog is %s, want %s", got, want)
	}
}

// channels lists what an image's channels serve, "latest=1.0.0 1.latest=1.0.0".
func (w *world) channels(name string) string {
	w.t.Helper()
	var list []string
	for _, c := range w.status(name).Channels {
		list = append(list, fmt.Sprintf("%s=%s", c.Name, c.Version))
	}
	return strings.Join(list, " ")
}

// clock is a time that stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}

// buffer collects what is written to it from anywhere.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// golden compares text with a file of testdata, or writes it there.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it", err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run the test with -update if that is meant\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

// patience is how long something may take that happens in the background; less where tests are expected to fail.
func patience() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("TIDEWAITER_TEST_PATIENCE")); err == nil {
		return d
	}
	return 20 * time.Second
}

// eventually waits for what another goroutine brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience()); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
