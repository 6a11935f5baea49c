package reconcile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/release"
)

// wantStalled compares what the metrics say the catalog is stalled by, empty for nothing.
func (d *daemon) wantStalled(want release.Reason) {
	d.t.Helper()
	for _, reason := range stalls {
		if got := testutil.ToFloat64(d.metrics.stalled.WithLabelValues(string(reason))) == 1; got != (reason == want) {
			d.t.Errorf("the metrics say stalled by %s: %t, want the catalog stalled by %q", reason, got, want)
		}
	}
}

// restarted is a new daemon in place of another.
func (w *world) restarted(d *daemon, change ...func(*Config)) *daemon {
	w.t.Helper()
	d.end()
	return w.start(change...)
}

func TestRewrittenHistory(t *testing.T) {
	// rewrite replaces the newest commit of main, which released go 1.1.0, by another one that nobody has seen.
	rewrite := func(t *testing.T) (w *world, d *daemon, observed, rewritten string) {
		w = newWorld(t)
		w.publish("c", "14", "compatible-fix: c")
		w.publish("go", "1.25", "compatible-fix: a")
		d = w.start()
		d.settle()
		observed = w.publish("go", "1.26", "compatible-feature: b")
		d.settle()
		w.author.Git("reset", "--quiet", "--hard", "HEAD~1")
		w.image("go", "1.27")
		w.author.Write("images/go.yaml", w.spec("go", "1.27", "compatible-feature: another"))
		rewritten = w.author.Commit("another history")
		w.author.Git("push", "--quiet", "--force", "origin", "HEAD")
		return w, d, observed, rewritten
	}
	before := []string{"c 1.0.0 = 14 (compatible-fix)", "go 1.0.0 = 1.25 (compatible-fix)", "go 1.1.0 = 1.26 (compatible-feature)"}
	after := append(before[:3:3], "go 1.2.0 = 1.27 (compatible-feature)")

	t.Run("nothing is released, through restarts too", func(t *testing.T) {
		w, d, observed, _ := rewrite(t)
		for range 2 {
			d.settle()
			w.wantCatalog(release.HistoryRewritten)
			w.wantReason("c: Released", "go: Released")
			w.wantReleased(before...)
			d.wantStalled(release.HistoryRewritten)
			if got := w.catalogStatus().Observed; got != observed {
				t.Errorf("observed is %s, want %s still", got, observed)
			}
			w.publish("c", "15", "compatible-fix: not seen yet")
			d.settle()
			w.wantReleased(before...)
			d = w.restarted(d)
		}
		d.settle()
		w.quiet(d)
	})
	t.Run("the branch is put back", func(t *testing.T) {
		w, d, observed, _ := rewrite(t)
		d.settle()
		w.author.Git("push", "--quiet", "--force", "origin", observed+":refs/heads/main")
		d.settle()
		w.wantCatalog(release.Ready)
		w.wantReleased(before...)
		d.wantStalled("")
	})
	t.Run("the tip is accepted", func(t *testing.T) {
		w, d, _, rewritten := rewrite(t)
		d.settle()
		d = w.restarted(d, func(c *Config) { c.AcceptRewrite = rewritten })
		d.settle()
		w.wantCatalog(release.Ready)
		w.wantReleased(after...)
		if r := w.records()["go"][2]; r.Request.ID != rewritten {
			t.Errorf("1.2.0 was asked for by %s, want %s, the commit accepted", r.Request.ID, rewritten)
		}
		w.quiet(d) // the flag is still there, and does nothing any more
	})
	t.Run("a commit before the tip is accepted", func(t *testing.T) {
		w, d, _, rewritten := rewrite(t)
		d.settle()
		w.publish("go", "1.28", "compatible-fix: on top")
		d = w.restarted(d, func(c *Config) { c.AcceptRewrite = rewritten })
		d.settle()
		w.wantReleased(append(after[:4:4], "go 1.2.1 = 1.28 (compatible-fix)")...)
	})
	t.Run("what is accepted is not on the branch", func(t *testing.T) {
		w, d, observed, _ := rewrite(t)
		d = w.restarted(d, func(c *Config) { c.AcceptRewrite = strings.Repeat("1", 40) })
		d.settle()
		w.wantCatalog(release.HistoryRewritten)
		d = w.restarted(d, func(c *Config) { c.AcceptRewrite = observed })
		d.settle()
		w.wantCatalog(release.HistoryRewritten)
		w.wantReleased(before...)
	})
	t.Run("a merge made by git pull", func(t *testing.T) {
		w := newWorld(t)
		w.publish("go", "1.25", "compatible-fix: a")
		d := w.start()
		w.author.Branch("mine")
		w.author.Write("images/go.yaml", w.spec("go", "1.25", "compatible-fix: a", "labels: [mine]"))
		w.author.Commit("mine")
		w.author.Git("checkout", "--quiet", "main")
		w.publish("go", "1.26", "compatible-feature: b")
		d.settle()
		w.author.Git("checkout", "--quiet", "mine")
		w.author.Git("merge", "--quiet", "--strategy=ours", "--message", "Merge branch 'main'", "main") // main is the second parent now
		w.author.Git("push", "--quiet", "origin", "mine:main")
		d.settle()
		w.wantCatalog(release.HistoryRewritten)
	})
}

func TestHeldDelisting(t *testing.T) {
	// deleted is a catalog of eight images of which one commit deleted six.
	deleted := func(t *testing.T) (w *world, d *daemon, commit string) {
		w = newWorld(t)
		for i := range 8 {
			name := fmt.Sprintf("image-%d", i)
			w.image(name, "1")
			w.author.Write("images/"+name+".yaml", w.spec(name, "1", "compatible-fix: a"))
		}
		w.merge("eight images")
		d = w.start()
		d.settle()
		for i := range 6 {
			w.author.Remove(fmt.Sprintf("images/image-%d.yaml", i))
		}
		return w, d, w.merge("delete six of eight")
	}
	reasons := func(delisted int) (list []string) {
		for i := range 8 {
			reason := release.Released
			if i < delisted {
				reason = release.Delisted
			}
			list = append(list, fmt.Sprintf("image-%d: %s", i, reason))
		}
		return list
	}

	t.Run("waits, through restarts too, while others go on", func(t *testing.T) {
		w, d, commit := deleted(t)
		for i := range 2 {
			d.settle()
			w.wantCatalog(release.DelistingHeld)
			w.wantReason(reasons(0)...)
			d.wantStalled(release.DelistingHeld)
			if got := w.catalogStatus().Held; got != commit {
				t.Errorf("held is %s, want %s", got, commit)
			}
			version := fmt.Sprintf("image-7 1.0.%d", i+1)
			w.publish("image-7", version[8:], "compatible-fix: "+version)
			d.settle()
			if got := strings.Join(w.released(), "\n"); !strings.Contains(got, version) {
				t.Errorf("an image that was not deleted is held too; released:\n%s", got)
			}
			d = w.restarted(d)
		}
	})
	t.Run("is accepted", func(t *testing.T) {
		w, d, commit := deleted(t)
		d.settle()
		d = w.restarted(d, func(c *Config) { c.AcceptDelisting = commit })
		d.settle()
		w.wantCatalog(release.Ready)
		w.wantReason(reasons(6)...)
		d.wantStalled("")
		w.quiet(d)
	})
	t.Run("is accepted after others came", func(t *testing.T) {
		w, d, commit := deleted(t)
		d.settle()
		w.publish("image-7", "2", "compatible-fix: b")
		d.settle()
		d = w.restarted(d, func(c *Config) { c.AcceptDelisting = commit })
		w.publish("image-7", "3", "compatible-fix: c")
		d.settle()
		w.wantCatalog(release.Ready)
		w.wantReason(reasons(6)...)
	})
	t.Run("is accepted before it is seen", func(t *testing.T) {
		w, d, commit := deleted(t)
		d = w.restarted(d, func(c *Config) { c.AcceptDelisting = commit })
		d.settle()
		w.wantCatalog(release.Ready)
		w.wantReason(reasons(6)...)
	})
	t.Run("is not accepted by another commit", func(t *testing.T) {
		w, d, _ := deleted(t)
		d = w.restarted(d, func(c *Config) { c.AcceptDelisting = strings.Repeat("1", 40) })
		d.settle()
		w.wantCatalog(release.DelistingHeld)
		w.wantReason(reasons(0)...)
	})
	t.Run("is reverted", func(t *testing.T) {
		w, d, _ := deleted(t)
		d.settle()
		released := w.released()
		w.author.Git("revert", "--no-edit", "HEAD")
		w.author.Push()
		d.settle()
		w.wantCatalog(release.Ready)
		w.wantReason(reasons(0)...)
		w.wantReleased(released...) // the specs are what they were: nothing is asked for
		d = w.restarted(d)
		d.settle()
		w.wantCatalog(release.Ready)
	})
	t.Run("is reverted while the daemon is away", func(t *testing.T) {
		w, d, _ := deleted(t)
		d.settle()
		w.author.Git("revert", "--no-edit", "HEAD")
		w.author.Push()
		d = w.restarted(d)
		d.settle()
		w.wantCatalog(release.Ready)
		w.wantReason(reasons(0)...)
	})
	t.Run("specs return one by one", func(t *testing.T) {
		w, d, _ := deleted(t)
		d.settle()
		for i := range 6 {
			name := fmt.Sprintf("image-%d", i)
			w.author.Write("images/"+name+".yaml", w.spec(name, "1", "compatible-fix: a"))
			w.merge("bring back " + name)
			d = w.restarted(d)
			d.settle()
			want := release.DelistingHeld
			if i == 5 {
				want = release.Ready
			}
			w.wantCatalog(want)
		}
		w.wantReason(reasons(0)...)
	})
	t.Run("half of the specs is not held", func(t *testing.T) {
		w, d, _ := deleted(t)
		d.settle()
		w.author.Git("revert", "--no-edit", "HEAD")
		for i := range 4 {
			w.author.Remove(fmt.Sprintf("images/image-%d.yaml", i))
		}
		w.merge("delete four of eight")
		d.settle()
		w.wantCatalog(release.Ready)
		w.wantReason(reasons(4)...)
	})
}

func TestMissingStatus(t *testing.T) {
	t.Run("the branch vanishes while the daemon runs", func(t *testing.T) {
		w := newWorld(t)
		w.publish("go", "1.25", "compatible-fix: a")
		d := w.start()
		d.settle()
		dir := w.git.Dir(catalogRepo)
		was := w.tip("status")
		gittest.Git(t, dir, "update-ref", "-d", "refs/heads/status")
		w.publish("go", "1.26", "compatible-feature: b")
		for range 2 {
			d.stalls(release.StatusMissing)
		}
		d.wantStalled(release.StatusMissing)
		if w.tip("status") != "" {
			t.Fatal("the daemon made another status branch")
		}
		gittest.Git(t, dir, "update-ref", "refs/heads/status", was)
		d.settle()
		d.wantStalled("")
		w.wantReleased("go 1.0.0 = 1.25 (compatible-fix)", "go 1.1.0 = 1.26 (compatible-feature)")
	})
	t.Run("a branch without catalog.yaml", func(t *testing.T) {
		w := newWorld(t)
		w.publish("go", "1.25", "compatible-fix: a")
		w.author.Git("push", "--quiet", "origin", "main:status")
		d := w.start()
		w.author.Git("rm", "--quiet", "catalog.yaml")
		w.author.Git("commit", "--quiet", "--message", "not a status branch")
		w.author.Git("push", "--quiet", "origin", "HEAD:status")
		was := w.tip("status")
		for range 2 {
			d.stalls(release.StatusMissing)
		}
		d.wantStalled(release.StatusMissing)
		if w.tip("status") != was {
			t.Error("the daemon wrote to a branch that is not its own")
		}
	})
	t.Run("catalog.yaml is deleted", func(t *testing.T) {
		w := newWorld(t)
		w.publish("go", "1.25", "compatible-fix: a")
		d := w.start()
		d.settle()
		w.author.Git("fetch", "--quiet", "origin", "status")
		w.author.Git("checkout", "--quiet", "FETCH_HEAD")
		w.author.Git("rm", "--quiet", "catalog.yaml")
		w.author.Git("commit", "--quiet", "--message", "tidy up")
		w.author.Git("push", "--quiet", "origin", "HEAD:status")
		d.stalls(release.StatusMissing)
		d.wantStalled(release.StatusMissing)
		d = w.restarted(d)
		d.stalls(release.StatusMissing)
		w.author.Git("revert", "--no-edit", "HEAD")
		w.author.Git("push", "--quiet", "origin", "HEAD:status")
		d.settle()
		w.wantReleased("go 1.0.0 = 1.25 (compatible-fix)")
	})
}

func TestTamperedStatus(t *testing.T) {
	w := newWorld(t)
	w.branch = "main"
	w.publish("go", "1.25", "compatible-fix: a")
	d := w.start()
	d.settle()
	w.author.Git("pull", "--quiet", "--rebase", "origin", "main")
	w.author.Write("images/go.yaml", w.spec("go", "1.25", "compatible-fix: a", "title: merged beside"))
	w.merge("a commit that leaves status/ alone")
	d.settle()
	w.wantCatalog(release.Ready)

	w.author.Write("status/releases/go/1.0.0.yaml", "tampered\n")
	tampered := w.merge("tamper with a record")
	w.publish("go", "1.26", "compatible-feature: b")
	for range 2 {
		d.stalls(release.StatusTampered)
		d.wantStalled(release.StatusTampered)
		d = w.restarted(d)
	}
	w.author.Git("revert", "--no-edit", tampered)
	w.author.Push()
	d.settle()
	w.wantCatalog(release.Ready)
	w.wantReleased("go 1.0.0 = 1.25 (compatible-fix)", "go 1.1.0 = 1.26 (compatible-feature)")
}

func TestInvalidPolicy(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1.25", "compatible-fix: a")
	d := w.start()
	d.settle()
	w.author.Write("catalog.yaml", "kind: [")
	w.image("go", "1.26")
	w.author.Write("images/go.yaml", w.spec("go", "1.26", "compatible-feature: b"))
	w.author.Write("images/broken.yaml", w.broken("broken"))
	w.merge("a policy that cannot be read, an upgrade and a spec with a mistake")
	d.settle()
	w.wantCatalog(release.InvalidPolicy)
	d.wantStalled(release.InvalidPolicy)
	w.wantReason("broken: InvalidSpec", "go: Released") // what else there is to say is said
	w.wantReleased("go 1.0.0 = 1.25 (compatible-fix)")
	if p := w.catalogStatus().Problems; len(p) != 2 || p[0].Path != "images/broken.yaml" || !strings.HasPrefix(p[1].Message, "catalog.yaml:1:") {
		t.Errorf("the catalog's problems are %v, want one of images/broken.yaml and one of catalog.yaml", p)
	}

	w.author.Remove("catalog.yaml")
	w.merge("delete the policy")
	for range 2 {
		d.settle()
		w.wantCatalog(release.InvalidPolicy)
		w.wantReleased("go 1.0.0 = 1.25 (compatible-fix)")
		d = w.restarted(d)
	}
	w.clock.advance(d.cfg.Settle)
	d.settle()
	w.clock.advance(d.cfg.Settle)
	d.settle()
	w.wantReason("broken: InvalidSpec", "go: InvalidPolicy")

	w.policy()
	w.merge("restore the policy")
	d.settle()
	w.wantReason("broken: InvalidSpec", "go: Released")
	w.wantCatalog(release.SpecsInvalid)
	w.wantReleased("go 1.0.0 = 1.25 (compatible-fix)", "go 1.1.0 = 1.26 (compatible-feature)")
	d.wantStalled("")
}

func TestSuspendedPolicy(t *testing.T) {
	w := newWorld(t)
	w.policy("suspend: true")
	w.publish("go", "1.25", "compatible-fix: a")
	w.publish("go", "1.26", "compatible-feature: b")
	d := w.start()
	d.settle()
	w.wantCatalog(release.Suspended)
	d.wantStalled(release.Suspended)
	w.wantReason("go: Suspended")
	w.publish("go", "1.27", "compatible-feature: c")
	d.settle()
	if got := w.registry.Requests(); len(got) > 0 {
		t.Errorf("the registry is asked while releases are suspended: %v", got)
	}
	d = w.restarted(d)
	w.policy()
	w.merge("go on")
	d.settle()
	w.wantCatalog(release.Ready)
	w.wantReleased("go 1.0.0 = 1.26 (compatible-feature)", "go 1.1.0 = 1.27 (compatible-feature)") // the order is kept
}
