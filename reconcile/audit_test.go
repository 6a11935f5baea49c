package reconcile

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

const auditInterval = 6 * time.Hour

// audited is a world with go released for two platforms, and a daemon that audits it.
func audited(t *testing.T) (*world, *daemon) {
	w := newWorld(t)
	w.build("go", "1", registrytest.Image{Platforms: twoPlatforms})
	w.author.Write("images/go.yaml", w.spec("go", "1", "incompatible: a"))
	w.merge("Add go")
	d := w.start(func(c *Config) { c.AuditInterval = auditInterval })
	d.settle()
	w.registry.Requests()
	return w, d
}

// auditRound lets time go by, audits what is due and takes in the answers, as the passes of Run do.
func (d *daemon) auditRound(w *world, by time.Duration) {
	d.t.Helper()
	round := func() {
		if err := d.audit(d.ctx); err != nil {
			d.t.Fatal(err)
		}
		d.looks.Wait()
	}
	round() // knows what is served
	w.clock.advance(by)
	round() // asks
	round() // takes in the answers
	d.pass()
}

// conditions are the types and reasons of what is written of an image besides Ready.
func (w *world) conditions(name string) string {
	w.t.Helper()
	var list []string
	for _, c := range w.status(name).Conditions[1:] {
		list = append(list, c.Type+" "+string(c.Reason))
	}
	return strings.Join(list, ", ")
}

func (w *world) wantConditions(name, want string) {
	w.t.Helper()
	if got := w.conditions(name); got != want {
		w.t.Fatalf("%s has %q, want %q", name, got, want)
	}
}

// moveTag lets the tag name another image.
func (w *world) moveTag(name, tag, seed string) {
	w.t.Helper()
	if _, err := w.registry.Push(w.t.Context(), "acme/"+name, tag, registrytest.Image{Seed: seed, Platforms: twoPlatforms}); err != nil {
		w.t.Fatal(err)
	}
}

// without lets the registry answer 404 for what has part in its path.
func (w *world) without(part string) {
	w.registry.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, part) {
				rw.WriteHeader(http.StatusNotFound)
				return
			}
			next.ServeHTTP(rw, r)
		})
	})
}

func TestAnAuditOfWhatIsAsItWasCostsTwoHEADs(t *testing.T) {
	w, d := audited(t)
	commits := w.commits()
	for range 3 {
		d.auditRound(w, auditInterval*11/10)
		requests := w.registry.Requests()
		if len(requests) != 2 || requests[0].Method != http.MethodHead || requests[1].Method != http.MethodHead {
			t.Fatalf("an audit asked %v, want two HEADs", requests)
		}
		d.auditRound(w, time.Minute)
		if early := w.registry.Requests(); len(early) > 0 {
			t.Fatalf("within the interval it was asked %v", early)
		}
	}
	if w.commits() != commits {
		t.Error("an audit that found nothing was written")
	}
	if n := testutil.ToFloat64(d.metrics.audits.WithLabelValues("nothing")); n != 3 {
		t.Errorf("%v audits are counted", n)
	}
}

func TestATagThatMovedIsSaidOnceItHasLasted(t *testing.T) {
	w, d := audited(t)
	channels, commits := w.channels("go"), w.commits()
	w.moveTag("go", "1", "somebody else")
	d.auditRound(w, auditInterval*11/10)
	if w.commits() != commits {
		t.Fatal("what was seen once is written")
	}
	if n := testutil.ToFloat64(d.metrics.drifts.WithLabelValues("ContentMoved")); n != 1 {
		t.Errorf("the metric says %v", n)
	}
	d.auditRound(w, 16*time.Minute)
	w.wantConditions("go", "TagMoved ContentMoved")
	w.golden("drifted-image.yaml", w.file("images/go.yaml"))
	if w.channels("go") != channels {
		t.Errorf("channels moved by themselves: %s", w.channels("go"))
	}
	if n := strings.Count(w.log.String(), `"msg":"a released image drifted"`); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	if !strings.Contains(w.file("README.md"), "ContentMoved") {
		t.Error("the README of the status branch does not say it")
	}

	// It is said once: neither another move, nor a move back, nor a restart makes a commit.
	commits = w.commits()
	w.moveTag("go", "1", "somebody else again")
	d.auditRound(w, auditInterval*11/10)
	w.build("go", "1", registrytest.Image{Platforms: twoPlatforms})
	d.auditRound(w, auditInterval*11/10)
	d.auditRound(w, 16*time.Minute)
	later := w.start(func(c *Config) { c.AuditInterval = auditInterval })
	later.settle()
	later.auditRound(w, auditInterval*11/10)
	later.auditRound(w, 16*time.Minute)
	if w.commits() != commits {
		t.Errorf("%d more commits were made", w.commits()-commits)
	}
	w.wantConditions("go", "TagMoved ContentMoved")

	// The next release is another one.
	w.publish("go", "2", "incompatible: b")
	later.settle()
	w.wantConditions("go", "TagMoved ContentMoved") // 1.latest serves it still
	w.author.Write("images/go.yaml", w.spec("go", "2", "incompatible: b", "withdrawn:", "  - {version: 1.0.0, reason: old}"))
	w.merge("Withdraw 1.0.0")
	later.settle()
	w.wantConditions("go", "")
}

func TestAnIndexThatNamesTheSameImagesIsSaidSo(t *testing.T) {
	w, d := audited(t)
	built := registrytest.Image{Seed: "go 1", Platforms: twoPlatforms, Annotations: map[string]string{"built": "again"}}.Build()
	if err := w.registry.Put(t.Context(), "acme/go", "1", built); err != nil {
		t.Fatal(err)
	}
	d.auditRound(w, auditInterval*11/10)
	d.auditRound(w, 16*time.Minute)
	w.wantConditions("go", "TagMoved IndexMoved")
}

func TestWhatIsGoneIsSaidUntilItIsBack(t *testing.T) {
	w, d := audited(t)
	digest := string(w.record("go", "1.0.0").Digest)
	for _, test := range []struct{ part, want string }{
		{"/manifests/1", "TagGone TagGone"},
		{"/manifests/" + digest, "TagMoved ContentMoved, DigestMissing DigestMissing"},
	} {
		w, d := w, d
		if strings.HasSuffix(test.want, "DigestMissing") {
			w, d = audited(t)
			w.moveTag("go", "1", "somebody else")
		}
		channels := w.channels("go")
		w.without(test.part)
		d.auditRound(w, auditInterval*11/10)
		d.auditRound(w, 16*time.Minute)
		w.wantConditions("go", test.want)
		if w.channels("go") != channels {
			t.Errorf("channels moved by themselves: %s", w.channels("go"))
		}
		w.registry.Wrap(nil)
		d.auditRound(w, auditInterval*11/10)
		w.wantConditions("go", test.want) // it may be a moment only
		d.auditRound(w, 16*time.Minute)
		left, _, _ := strings.Cut(test.want, ", ")
		if left == "TagGone TagGone" {
			left = ""
		}
		w.wantConditions("go", left)
	}
}

// A registry that does not answer says nothing of what is in it, good or bad.
func TestAnAuditWithoutAnAnswerFindsNothing(t *testing.T) {
	w, d := audited(t)
	w.without("/manifests/1")
	d.auditRound(w, auditInterval*11/10)
	d.auditRound(w, 16*time.Minute)
	w.wantConditions("go", "TagGone TagGone")
	commits := w.commits()
	for _, part := range []string{"/", "/manifests/sha256:", "/manifests/1"} {
		w.registry.Wrap(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, part) {
					rw.WriteHeader(http.StatusBadGateway)
					return
				}
				next.ServeHTTP(rw, r)
			})
		})
		d.auditRound(w, auditInterval*11/10)
		d.auditRound(w, 16*time.Minute)
	}
	w.wantConditions("go", "TagGone TagGone")
	if w.commits() != commits {
		t.Error("it is written that nobody answered")
	}
	if n := testutil.ToFloat64(d.metrics.audits.WithLabelValues("unknown")); n != 3 {
		t.Errorf("%v audits without an answer are counted", n)
	}
}

// What the policy no longer lets is not asked.
func TestAnAuditKeepsToThePolicy(t *testing.T) {
	w, d := audited(t)
	w.author.Write("catalog.yaml", policyOf([]string{"registry.example:5000"}))
	w.merge("Move to another registry")
	d.settle()
	w.registry.Requests()
	d.auditRound(w, auditInterval*11/10)
	if requests := w.registry.Requests(); len(requests) > 0 {
		t.Errorf("it was asked %v", requests)
	}
}

// Audits are spread over the interval, so that many images are no burst.
func TestAuditsAreSpread(t *testing.T) {
	w, d := audited(t)
	var due []time.Duration
	for range 200 {
		d.audits.watches = map[auditKey]*watch{}
		d.watch(w.clock.Now())
		for _, watch := range d.audits.watches {
			due = append(due, watch.due.Sub(w.clock.Now()))
		}
	}
	slices.Sort(due)
	if len(due) != 200 || due[0] < 0 || due[199] > auditInterval || due[50] > auditInterval/2 || due[150] < auditInterval/2 {
		t.Errorf("%d audits are due from %s to %s, half of them within %s", len(due), due[0], due[len(due)-1], due[len(due)/2])
	}
}

// Run audits by itself.
func TestRunAudits(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "incompatible: a")
	d := w.start(func(c *Config) {
		c.AuditInterval, c.Settle, c.Interval, c.Now = time.Millisecond, 0, 10*time.Millisecond, time.Now
	})
	stop := d.run()
	eventually(t, "it is released", func() bool { return w.tip("status") != "" && len(w.released()) == 1 })
	w.moveTag("go", "1", "somebody else")
	eventually(t, "the tag is said to have moved", func() bool { return w.conditions("go") == "TagMoved ContentMoved" })
	stop()
	if w.status("go").Drifts[0].Finding != release.ContentMoved {
		t.Errorf("the status says %+v", w.status("go").Drifts)
	}
}
