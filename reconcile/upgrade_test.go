package reconcile

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// build pushes an image of the name with what a test needs of it.
func (w *world) build(name, tag string, image registrytest.Image) {
	w.t.Helper()
	image.Seed = name + " " + tag
	if _, err := w.registry.Push(w.t.Context(), "acme/"+name, tag, image); err != nil {
		w.t.Fatal(err)
	}
}

// record is the release record of a version.
func (w *world) record(name, version string) schema.Record {
	w.t.Helper()
	record, err := schema.DecodeRelease(version, []byte(w.file("releases/"+name+"/"+version+".yaml")+"\n"))
	if err != nil {
		w.t.Fatal(err)
	}
	return record
}

// verdict is what the status says against the newest request of an image.
func (w *world) verdict(name string) release.Verdict {
	w.t.Helper()
	requests := w.status(name).Requests
	if len(requests) == 0 || requests[len(requests)-1].Verdict == nil {
		w.t.Fatalf("nothing speaks against %s: %+v", name, requests)
	}
	return *requests[len(requests)-1].Verdict
}

var twoPlatforms = []string{"linux/amd64", "linux/arm64"}

// droppedPlatform is a world in which go is released for two platforms, and a fix of it for one is merged.
func droppedPlatform(t *testing.T) (*world, *daemon) {
	w := newWorld(t)
	w.build("go", "1", registrytest.Image{Platforms: twoPlatforms})
	w.author.Write("images/go.yaml", w.spec("go", "1", "incompatible: The first one."))
	w.merge("Add go")
	d := w.start()
	d.settle()
	w.build("go", "2", registrytest.Image{})
	w.author.Write("images/go.yaml", w.spec("go", "2", "compatible-fix: Mends it."))
	w.merge("Fix go")
	d.settle()
	return w, d
}

func TestAFixThatDropsAPlatformIsRefused(t *testing.T) {
	w, d := droppedPlatform(t)
	w.wantReleased("go 1.0.0 = 1 (incompatible)")
	w.wantReason("go: UpgradeContradicted")
	w.golden("contradicted-image.yaml", w.file("images/go.yaml"))
	if n := testutil.ToFloat64(d.metrics.findings.WithLabelValues("platform-removed", "deny")); n != 1 {
		t.Errorf("%v findings are counted, want 1", n)
	}
	if !strings.Contains(w.log.String(), "declare incompatible") {
		t.Error("the log does not say what to do")
	}

	// It is said once, also by a daemon that comes later.
	commits := w.commits()
	d.pass()
	later := w.start()
	later.settle()
	if w.commits() != commits {
		t.Errorf("%d commits say it, want one", w.commits()-commits+1)
	}

	// The author accepts it, in the words that were offered.
	line := strings.Replace(w.verdict("go").Accept[0], "…", "nobody uses it", 1)
	w.author.Write("images/go.yaml", strings.Replace(w.spec("go", "2", "compatible-fix: Mends it."), "notes: Mends it.",
		"notes: Mends it.\n    accept: ["+line+"]", 1))
	w.merge("Accept it")
	d.settle()
	w.wantReleased("go 1.0.0 = 1 (incompatible)", "go 1.0.1 = 2 (compatible-fix)")
	w.golden("compared-release.yaml", w.file("releases/go/1.0.1.yaml"))
}

func TestAnIncompatibleUpgradeMayDropAPlatform(t *testing.T) {
	w, d := droppedPlatform(t)
	w.author.Write("images/go.yaml", w.spec("go", "2", "incompatible: Drops a platform."))
	w.merge("Call it what it is")
	d.settle()
	w.wantReleased("go 1.0.0 = 1 (incompatible)", "go 2.0.0 = 2 (incompatible)")
	if r := w.record("go", "2.0.0"); len(r.Findings) != 1 || r.Findings[0].Rule != "platform-removed" || r.Findings[0].Level.String() != "info" {
		t.Errorf("the record says %+v", r.Findings)
	}
}

func TestAnImageThatIsPushedAgainIsComparedAgain(t *testing.T) {
	w, d := droppedPlatform(t)
	w.build("go", "2", registrytest.Image{Platforms: twoPlatforms})
	d.looks.Hurry("")
	d.looks.AskAgain()
	d.settle()
	w.wantReleased("go 1.0.0 = 1 (incompatible)", "go 1.0.1 = 2 (compatible-fix)")
	if r := w.record("go", "1.0.1"); len(r.Findings) != 0 || r.Baseline == nil || r.Baseline.Version != release.First {
		t.Errorf("the record says %+v, compared with %+v", r.Findings, r.Baseline)
	}
}

func TestALaterVerdictReplacesTheOneWritten(t *testing.T) {
	w, d := droppedPlatform(t)
	w.build("go", "2", registrytest.Image{Platforms: twoPlatforms, Config: registrytest.Config{Entrypoint: []string{"/other"}}})
	d.looks.Hurry("")
	d.looks.AskAgain()
	d.settle()
	w.wantReason("go: UpgradeContradicted")
	if v := w.verdict("go"); len(v.Findings) != 1 || !strings.HasPrefix(v.Findings[0], "entrypoint-changed on linux/amd64, linux/arm64: ") {
		t.Errorf("the status says %q", v.Findings)
	}
}

// What a release promised is in its record: nobody is asked for an image that may be gone.
func TestTheReleaseThatIsUpgradedIsNotAskedFor(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "incompatible: a")
	w.start().settle()
	w.build("go", "2", registrytest.Image{Config: registrytest.Config{User: "app"}})
	w.author.Write("images/go.yaml", w.spec("go", "2", "compatible-feature: b"))
	w.merge("b")
	old := w.record("go", "1.0.0")
	w.registry.Requests()
	d := w.start()
	d.settle()
	w.wantReason("go: UpgradeContradicted")
	for _, r := range w.registry.Requests() {
		if strings.Contains(r.Path, string(old.Digest)) || strings.HasSuffix(r.Path, "/1") {
			t.Errorf("the release before was asked for: %s %s", r.Method, r.Path)
		}
	}
}

// Two upgrades are merged between two polls: the second is compared with the first, which no record has yet.
func TestAReleaseIsComparedWithOneMadeAMomentAgo(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "incompatible: a")
	d := w.start()
	d.settle()
	env := func(value string) registrytest.Image {
		return registrytest.Image{Config: registrytest.Config{Env: []string{"GOFLAGS=" + value}}}
	}
	w.build("go", "2", env("-a"))
	w.author.Write("images/go.yaml", w.spec("go", "2", "compatible-feature: b", "contractEnv: [GOFLAGS]"))
	w.merge("b")
	w.build("go", "3", env("-b"))
	w.author.Write("images/go.yaml", w.spec("go", "3", "compatible-fix: c")) // that nobody relies on it now helps nobody
	w.merge("c")
	d.settle()
	w.wantReleased("go 1.0.0 = 1 (incompatible)", "go 1.1.0 = 2 (compatible-feature)")
	v := w.verdict("go")
	if v.Baseline.String() != "1.1.0" || v.Right != release.Incompatible || !slices.Equal(v.Accept, []string{`{rule: env-changed, subject: "GOFLAGS", reason: …}`}) {
		t.Errorf("the status says %+v", v)
	}
	if all := w.file("images/go.yaml") + w.file("releases/go/1.1.0.yaml") + w.log.String(); strings.Contains(all, "-a\"") || strings.Contains(all, "GOFLAGS=") {
		t.Error("a value of the environment is written")
	}
}

func TestThePolicyChangesLevels(t *testing.T) {
	w, d := droppedPlatform(t)
	w.policy("upgradeChecks: {platform-removed: warn}")
	w.merge("Allow it")
	d.settle()
	w.wantReleased("go 1.0.0 = 1 (incompatible)", "go 1.0.1 = 2 (compatible-fix)")
	if r := w.record("go", "1.0.1"); len(r.Findings) != 1 || r.Findings[0].Level.String() != "warn" {
		t.Errorf("the record says %+v", r.Findings)
	}
}

// A record that says nothing of what its image promised was not written by this daemon, and an image that cannot be compared
// with it is never taken for a compatible one.
func TestWhatCannotBeComparedIsUnknown(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "incompatible: a")
	w.start().settle()
	file := "releases/go/1.0.0.yaml"
	text := w.file(file)
	people := gittest.NewAuthor(t, w.git.Repo(catalogRepo))
	people.Git("checkout", "--quiet", "status")
	people.Write(file, text[:strings.Index(text, "contract:")]+"contract: {}\n")
	people.Commit("Restore from a backup")
	people.Git("push", "--quiet", "origin", "status")

	w.publish("go", "2", "compatible-fix: b")
	d := w.start()
	d.settle()
	w.wantReason("go: UpgradeUnknown")
	w.wantReleased("go 1.0.0 = 1 (incompatible)")
	w.policy("unknownUpgrade: allow")
	w.merge("Go on all the same")
	d.settle()
	w.wantReleased("go 1.0.0 = 1 (incompatible)", "go 1.0.1 = 2 (compatible-fix)")
	if !strings.Contains(w.log.String(), "could not be compared") {
		t.Error("the log does not say that it was not compared")
	}
}

// The first release is held to what its own documents say, and accepting that is said of one release only.
func TestAnImageMustBeForThePlatformItSays(t *testing.T) {
	w := newWorld(t)
	built := registrytest.Image{Seed: "go 1", Platforms: []string{"linux/amd64", "linux/arm64"}}.Build()
	index := built.Root
	var entries registrytest.Index
	if err := json.Unmarshal(built.Documents[index.Digest].Body, &entries); err != nil {
		t.Fatal(err)
	}
	entries.Manifests[0].Platform, entries.Manifests[1].Platform = entries.Manifests[1].Platform, entries.Manifests[0].Platform
	built.Root = built.Add(index.MediaType, entries)
	if err := w.registry.Put(t.Context(), "acme/go", "1", built); err != nil {
		t.Fatal(err)
	}
	w.author.Write("images/go.yaml", w.spec("go", "1", "incompatible: a"))
	w.merge("a")
	d := w.start()
	d.settle()
	w.wantReason("go: UpgradeContradicted")
	if v := w.verdict("go"); !v.Baseline.IsZero() || len(v.Findings) != 2 || v.Right != release.Incompatible {
		t.Errorf("the status says %+v", v)
	}
}

// A registry that fails for a moment says nothing against a mode.
func TestWhatIsNotReadIsNotContradicted(t *testing.T) {
	w, d := droppedPlatform(t)
	w.registry.Wrap(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	})
	w.author.Write("images/go.yaml", w.spec("go", "3", "compatible-fix: c"))
	w.merge("c")
	d.settle()
	if reason := d.images["go"].state.Reason(""); reason != release.RegistryUnavailable {
		t.Errorf("go is %s, want RegistryUnavailable", reason)
	}
}
