package reconcile

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

// story merges one event of each kind, each followed by what step does.
func (w *world) story(step func()) {
	for _, event := range []func(){
		func() { w.publish("go", "1.25", "compatible-fix: first") },
		func() { w.publish("go", "1.26", "compatible-feature: next") },
		func() { w.publish("c", "14", "compatible-fix: first") },
		func() { w.author.Write("images/c.yaml", w.broken("c")); w.merge("break c") },
		func() {
			w.author.Remove("images/c.yaml")
			w.author.Write("images/lang/c.yaml", w.spec("c", "15", "incompatible: moved"))
			w.merge("move c")
		},
		func() { w.author.Remove("images/go.yaml"); w.merge("remove go") },
		func() { w.image("c", "15"); w.publish("go", "1.27", "compatible-feature: back again") },
	} {
		event()
		step()
	}
}

func TestInvariant1PeoplesFilesAreNeverWritten(t *testing.T) {
	t.Run("branch of its own", func(t *testing.T) {
		w := newWorld(t)
		d := w.start()
		w.story(func() {
			merged := w.author.Head()
			d.settle()
			if tip := w.tip("main"); tip != merged {
				t.Fatalf("main is at %s, the daemon was given %s", tip, merged)
			}
		})
	})
	t.Run("one branch for both", func(t *testing.T) {
		w := newWorld(t)
		w.branch = "main"
		d := w.start()
		people := func(commit string) string {
			return gittest.Git(t, w.git.Dir(catalogRepo), "ls-tree", "-r", commit, "--", "images", "catalog.yaml")
		}
		w.story(func() {
			before := people(w.author.Head())
			d.settle()
			if after := people("main"); after != before {
				t.Fatalf("files of people:\n%s\nbefore:\n%s", after, before)
			}
			w.author.Git("pull", "--quiet", "--rebase", "origin", "main")
		})
	})
}

func TestInvariant2OneCommitExactlyOnWhatWasReadOrNothing(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.image(name, "1")
		w.author.Write("images/"+name+".yaml", w.spec(name, "1", "compatible-fix: first"))
	}
	w.merge("three images")
	d := w.start()
	d.settle()
	if n := w.commits(); n != 1 {
		t.Fatalf("three images merged at once are recorded in %d commits, want 1", n)
	}

	read := w.tip("status")
	w.publish("a", "2", "compatible-fix: second")
	d.pass() // asks the registry
	<-d.looks.came
	dir := w.git.Dir(catalogRepo)
	var other string
	w.git.Fail("/git-receive-pack", func(rw http.ResponseWriter, r *http.Request, server http.Handler) {
		if r.Method == http.MethodPost { // somebody else is faster
			w.git.Heal()
			other = gittest.Git(t, dir, "commit-tree", "-p", read, "-m", "another", read+"^{tree}")
			gittest.Git(t, dir, "update-ref", "refs/heads/status", other)
		}
		server.ServeHTTP(rw, r)
	})
	if err := d.Pass(d.ctx); !errors.Is(err, gitrepo.ErrMoved) {
		t.Fatalf("the pass ended with %v, want %v", err, gitrepo.ErrMoved)
	}
	if tip := w.tip("status"); tip != other {
		t.Fatalf("status is at %s, want %s, that of whoever was first", tip, other)
	}
	w.wantReleased("a 1.0.0 = 1 (compatible-fix)", "b 1.0.0 = 1 (compatible-fix)", "c 1.0.0 = 1 (compatible-fix)")
	w.git.Requests()
	d.settle()
	w.wantReleased("a 1.0.0 = 1 (compatible-fix)", "a 1.0.1 = 2 (compatible-fix)", "b 1.0.0 = 1 (compatible-fix)", "c 1.0.0 = 1 (compatible-fix)")
	if parent := gittest.Git(t, dir, "log", "-1", "--format=%P", "status"); parent != other {
		t.Fatalf("the commit is on %s, want %s", parent, other)
	}
}

func TestInvariant3APassWithoutOutsideChangeIsSilent(t *testing.T) {
	w := newWorld(t)
	w.image("here", "1")
	w.author.Write("images/here.yaml", w.spec("here", "1", "compatible-fix: first"))
	w.author.Write("images/gone.yaml", w.spec("gone", "1", "compatible-fix: never pushed"))
	w.author.Write("images/broken.yaml", w.broken("broken"))
	w.merge("one that works, one that waits, one with a mistake")
	d := w.start()
	d.settle()
	w.wantReason("broken: InvalidSpec", "gone: ImageNotFound", "here: Released")
	w.quiet(d)
	restarted := w.start()
	restarted.settle()
	w.quiet(restarted)
}

// quiet checks that passes ask Git for refs, once each, and nobody for anything else.
func (w *world) quiet(d *daemon) {
	w.t.Helper()
	tip := w.tip(w.branch)
	w.git.Requests()
	w.registry.Requests()
	for range 3 {
		d.pass()
	}
	want := slices.Repeat([]string{"POST /" + catalogRepo + "/git-upload-pack"}, 3)
	if got := w.git.Requests(); !slices.Equal(got, want) {
		w.t.Errorf("three quiet passes ask Git:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if got := w.registry.Requests(); len(got) > 0 {
		w.t.Errorf("quiet passes ask the registry: %v", got)
	}
	if after := w.tip(w.branch); after != tip {
		w.t.Errorf("a quiet pass made a commit:\n%s", w.message())
	}
}

func TestInvariant4AReleaseRecordNeverChanges(t *testing.T) {
	w := newWorld(t)
	d := w.start()
	records := map[string]string{} // blobs by path
	w.story(func() {
		pushImage(t, w.registry, "go", "1.25", "another image under the tag of the first release")
		d.settle()
		listed := gittest.Git(t, w.git.Dir(catalogRepo), "ls-tree", "-r", "status", "--", "releases")
		now := map[string]string{}
		for line := range strings.Lines(listed) {
			blob, path, _ := strings.Cut(strings.TrimSpace(line), "\t")
			now[path] = blob
		}
		for path, blob := range records {
			if now[path] != blob {
				t.Errorf("%s is %q after %q, was %q", path, now[path], w.author.Git("log", "-1", "--format=%s"), blob)
			}
		}
		records = now
		d.end()
		d = w.start() // without any memory of what it wrote
	})
	if len(records) != 5 {
		t.Errorf("the story made %d records, want 5: %v", len(records), records)
	}
}

func TestInvariant5VersionsGrowAndChannelsGoBackOnlyByWithdrawalOrDelisting(t *testing.T) {
	w := newWorld(t)
	d := w.start()
	withdrawn := []string{"withdrawn:", "  - {version: 2.0.0, reason: broken}"}
	for _, step := range []struct{ tag, upgrade, version, channels string }{
		{"1", "compatible-fix: a", "1.0.0", "latest=1.0.0 1.latest=1.0.0 1.0.latest=1.0.0"},
		{"2", "compatible-feature: b", "1.1.0", "latest=1.1.0 1.latest=1.1.0 1.1.latest=1.1.0 1.0.latest=1.0.0"},
		{"3", "incompatible: c", "2.0.0", "latest=2.0.0 2.latest=2.0.0 2.0.latest=2.0.0 1.latest=1.1.0 1.1.latest=1.1.0 1.0.latest=1.0.0"},
		{"4", "compatible-fix from 1.1.0: d", "1.1.1", "latest=2.0.0 2.latest=2.0.0 2.0.latest=2.0.0 1.latest=1.1.1 1.1.latest=1.1.1 1.0.latest=1.0.0"},
	} {
		w.publish("go", step.tag, step.upgrade)
		d.settle()
		if got := w.channels("go"); got != step.channels {
			t.Errorf("after %s: %s\nwant %s", step.version, got, step.channels)
		}
	}
	w.author.Write("images/go.yaml", w.spec("go", "4", "compatible-fix from 1.1.0: d", withdrawn...))
	w.merge("withdraw 2.0.0")
	d.settle()
	if got, want := w.channels("go"), "latest=1.1.1 1.latest=1.1.1 1.1.latest=1.1.1 1.0.latest=1.0.0"; got != want {
		t.Errorf("with 2.0.0 withdrawn: %s\nwant %s", got, want)
	}
	w.publish("go", "5", "incompatible: e", withdrawn...)
	d.settle()
	if got, want := w.channels("go"), "latest=3.0.0 3.latest=3.0.0 3.0.latest=3.0.0 1.latest=1.1.1 1.1.latest=1.1.1 1.0.latest=1.0.0"; got != want {
		t.Errorf("the number of a withdrawn version is used up: %s\nwant %s", got, want)
	}
	w.author.Remove("images/go.yaml")
	w.merge("delist")
	d.settle()
	if got := w.channels("go"); got != "" {
		t.Errorf("a delisted image has channels: %s", got)
	}
	w.publish("go", "6", "compatible-fix: f")
	d.settle()
	if got, want := w.channels("go"), "latest=3.0.1 3.latest=3.0.1 3.0.latest=3.0.1 2.latest=2.0.0 2.0.latest=2.0.0 1.latest=1.1.1 1.1.latest=1.1.1 1.0.latest=1.0.0"; got != want {
		t.Errorf("listed again, without the withdrawal: %s\nwant %s", got, want)
	}
	w.wantReleased("go 1.0.0 = 1 (compatible-fix)", "go 1.1.0 = 2 (compatible-feature)", "go 1.1.1 = 4 (compatible-fix)",
		"go 2.0.0 = 3 (incompatible)", "go 3.0.0 = 5 (incompatible)", "go 3.0.1 = 6 (compatible-fix)")
}

// The author's mistake is said at once and waits for a commit; the world's answer is said and asked for again; an answer that
// is none is said when it lasts; our own error is never said in Git.
func TestInvariant7MistakesAnswersAndOurErrorsAreThreeKinds(t *testing.T) {
	w := newWorld(t)
	flaky, private := startRegistry(t, registrytest.Options{}), startRegistry(t, registrytest.Options{})
	flaky.Wrap(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, "injected", http.StatusInternalServerError)
		})
	})
	w.author.Write("catalog.yaml", policyOf([]string{w.registry.Host, flaky.Host})+
		"    - host: \""+private.Host+"\"\n      credentials: pull\n")
	w.author.Write("images/mistake.yaml", w.broken("mistake"))
	w.author.Write("images/denied.yaml", specAt("127.0.0.1:1", "denied", "1", "compatible-fix: not listed"))
	w.author.Write("images/missing.yaml", w.spec("missing", "1", "compatible-fix: never pushed"))
	w.author.Write("images/unanswered.yaml", specAt(flaky.Host, "unanswered", "1", "compatible-fix: the registry is ill"))
	w.author.Write("images/ours.yaml", strings.Replace(specAt(private.Host, "ours", "1", "compatible-fix: we lack the credential"),
		"    tag:", "    credentials: pull\n    tag:", 1))
	w.merge("one of each kind")
	d := w.start(func(c *Config) { c.Registry.CredentialsDir = t.TempDir() }) // with nothing in it
	d.settle()
	w.wantReason("denied: RegistryNotAllowed", "missing: ImageNotFound", "mistake: InvalidSpec", "ours: Verifying", "unanswered: Verifying")
	conditions := func(name string) string {
		var list []string
		for _, c := range w.status(name).Conditions {
			list = append(list, c.Type+"="+string(c.Status))
		}
		return strings.Join(list, " ")
	}
	for name, want := range map[string]string{
		"mistake": "Ready=False Stalled=True", "denied": "Ready=False Stalled=True", "missing": "Ready=False Reconciling=True",
		"unanswered": "Ready=Unknown Reconciling=True", "ours": "Ready=Unknown Reconciling=True",
	} {
		if got := conditions(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	w.clock.advance(d.cfg.Settle)
	d.settle()
	w.wantReason("denied: RegistryNotAllowed", "missing: ImageNotFound", "mistake: InvalidSpec", "ours: Verifying", "unanswered: RegistryUnavailable")
	if log := gittest.Git(t, w.git.Dir(catalogRepo), "log", "-p", "--all"); strings.Contains(log, string(release.InternalError)) {
		t.Error("our own error is in Git")
	}
	for reason, want := range map[release.Reason]float64{
		release.InternalError: 1, release.RegistryUnavailable: 1, release.ImageNotFound: 1, release.InvalidSpec: 1, release.RegistryNotAllowed: 1,
	} {
		if got := testutil.ToFloat64(d.metrics.refusals.WithLabelValues(string(reason))); got != want {
			t.Errorf("the metrics count %v images refused as %s, want %v", got, reason, want)
		}
	}
}
