package reconcile

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
)

// meet lets the first two pushes of daemons go on to the server only when both are there.
func meet() gittest.Fault {
	var arrived atomic.Int32
	both := make(chan struct{})
	return func(rw http.ResponseWriter, r *http.Request, server http.Handler) {
		if r.UserAgent() != "git/tidewaiter" {
			server.ServeHTTP(rw, r)
			return
		}
		if arrived.Add(1) == 2 {
			close(both)
		}
		select {
		case <-both:
			server.ServeHTTP(rw, r)
		case <-r.Context().Done():
		}
	}
}

func TestTwoDaemonsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.merge("an empty catalog")
	first := w.start()
	first.settle()
	// What two daemons of one version do in one second is one and the same commit: no conflict. These are not so alike.
	second := w.start(func(c *Config) { c.Version = "v0.0.1-test" })
	second.settle()
	w.git.Fail("/git-receive-pack", meet())
	stop := []func(){first.run(), second.run()}
	var want []string
	for i := range 6 {
		tag := strconv.Itoa(i)
		w.publish("go", tag, "compatible-fix: change "+tag)
		want = append(want, "go 1.0."+tag+" = "+tag+" (compatible-fix)")
		first.Hurry()
		second.Hurry()
		eventually(t, "1.0."+tag+" is recorded", func() bool { return slices.Contains(w.released(), want[i]) })
	}
	for _, s := range stop {
		s()
	}
	w.wantReleased(want...)
	if n := testutil.ToFloat64(first.metrics.writeConflicts) + testutil.ToFloat64(second.metrics.writeConflicts); n == 0 {
		t.Error("two daemons pushed at the same time and none counted a conflict")
	}
	if made := testutil.ToFloat64(first.metrics.releases.WithLabelValues("compatible-fix")) +
		testutil.ToFloat64(second.metrics.releases.WithLabelValues("compatible-fix")); made != 6 {
		t.Errorf("the daemons count %v releases, want 6", made)
	}
	releases := gittest.Git(t, w.git.Dir(catalogRepo), "log", "--reverse", "--format=%s", "--grep=^release", "status")
	if got := strings.Split(releases, "\n"); len(got) != 6 || got[0] != "release go 1.0.0" || got[5] != "release go 1.0.5" {
		t.Errorf("the releases are in the commits\n%s", releases)
	}
}

// A registry that hangs delays its own images and no other's: the healthy one is recorded while the other is still being asked.
func TestARegistryThatHangsDelaysNoOther(t *testing.T) {
	w := newWorld(t)
	hanging := startRegistry(t, registrytest.Options{})
	letGo := make(chan struct{})
	asked := make(chan struct{})
	once := sync.OnceFunc(func() { close(asked) })
	hanging.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			once()
			<-letGo
			next.ServeHTTP(rw, r)
		})
	})
	w.author.Write("catalog.yaml", policyOf([]string{w.registry.Host, hanging.Host}))
	for i := range 2 * looksPerHost { // more than are asked for at a time
		name := "slow-" + strconv.Itoa(i)
		pushImage(t, hanging, name, "1", name)
		w.author.Write("images/"+name+".yaml", specAt(hanging.Host, name, "1", "compatible-fix: a"))
	}
	w.merge("images of a registry that hangs")
	d := w.start(func(c *Config) { c.Registry.Timeout = time.Minute })
	stop := d.run()
	<-asked
	w.publish("quick", "1", "compatible-fix: a")
	d.Hurry()
	eventually(t, "the healthy registry's image is recorded", func() bool {
		return w.tip("status") != "" && slices.Contains(w.released(), "quick 1.0.0 = 1 (compatible-fix)")
	})
	if n := d.looks.Pending(); n != 2*looksPerHost {
		t.Errorf("%d looks are on their way, want the %d of the registry that hangs", n, 2*looksPerHost)
	}
	close(letGo)
	eventually(t, "the other registry's images are recorded", func() bool { return len(w.released()) == 2*looksPerHost+1 })
	stop()
}
