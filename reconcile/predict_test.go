package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
	"tidewaiter/schema"
)

// review makes one round over the pull requests and returns what is said of one.
func (d *daemon) review(number int) review.Review {
	d.t.Helper()
	d.pass()
	if _, err := d.reviews.round(d.ctx); err != nil {
		d.t.Fatal(err)
	}
	i := slices.IndexFunc(d.Reviews(), func(r review.Review) bool { return r.Number == number })
	if i < 0 {
		d.t.Fatalf("pull request %d is not reviewed", number)
	}
	return d.Reviews()[i]
}

// changes is a pull request of somebody who may do anything, right or wrong, to one of two images.
func (w *world) changes(r *rand.Rand, step int) (name string) {
	name = []string{"go", "rust"}[r.IntN(2)]
	file := "images/" + name + ".yaml"
	tag := fmt.Sprint(1 + r.IntN(9)) // 6 starts another program, those after it are not there
	mode := []string{"compatible-fix", "compatible-feature", "incompatible"}[r.IntN(3)]
	notes := fmt.Sprintf("step %d", step)
	if r.IntN(5) == 0 {
		notes = "again" // a declaration that may be used up
	}
	var more []string
	switch r.IntN(10) {
	case 0:
		w.author.Remove(file)
		w.author.Write("README.md", notes)
		return name
	case 1:
		w.author.Write(file, w.broken(name)+"# "+notes+"\n")
		return name
	case 2:
		more = []string{"withdrawn:", "  - {version: 1.0.0, reason: \"" + notes + "\"}"}
	case 3:
		mode += " from 1.0.0"
	case 4:
		mode += " from 9.9.9"
	case 5:
		more = []string{"suspend: true", "title: \"" + notes + "\""}
	}
	w.author.Write(file, w.spec(name, tag, mode+": "+notes, more...))
	return name
}

// TestWhatIsPredictedIsWhatHappens: where nothing else is merged in between, a merge does what was said before it: the same version
// and digest, the same channels, or the same reason why not. Whatever the catalog has been through.
func TestWhatIsPredictedIsWhatHappens(t *testing.T) {
	t.Parallel()
	outcomes := map[string]int{}
	for _, number := range seeds() {
		w := newWorld(t)
		for _, name := range []string{"go", "rust"} {
			w.image(name, "1", "2", "3", "4", "5")
			w.build(name, "6", registrytest.Image{Seed: name, Config: registrytest.Config{Entrypoint: []string{"/other"}}})
		}
		w.merge("an empty catalog")
		d := w.start(reviewing, func(c *Config) { c.Now = w.clock.Now; c.Settle = 0; c.Reviews.Age = 1 << 62 })
		d.settle()
		r := rand.New(rand.NewPCG(number, 5))
		for step := 1; step <= 20; step++ {
			w.author.Git("checkout", "--quiet", "-b", fmt.Sprintf("pr-%d", step))
			name := w.changes(r, step)
			if w.author.Git("status", "--porcelain", "--", "images") == "" {
				w.author.Git("checkout", "--quiet", "--force", "main")
				w.author.Git("clean", "--quiet", "--force", "-d")
				continue
			}
			w.propose(step, "change "+name)
			said := d.review(step)
			before := w.written()
			channels := channelsOf(t, before, name)

			w.author.Git("merge", "--quiet", "--no-ff", "--message", "merge", fmt.Sprintf("pr-%d", step))
			merged := w.author.Push()
			w.clock.advance(time.Minute)
			d.settle()
			d.settle() // and what is written once it has lasted
			after := w.written()
			has, err := after.Records(name)
			if err != nil {
				t.Fatal(err)
			}
			status, _, err := after.Image(name)
			if err != nil {
				t.Fatal(err)
			}
			fail := func(format string, args ...any) {
				t.Helper()
				t.Fatalf("seed %d, step %d, %s: %s\nsaid %+v", number, step, name, fmt.Sprintf(format, args...), said.Report)
			}
			made := slices.IndexFunc(has, func(r schema.Record) bool { return r.Request.Commit == merged }) // others may have waited for this
			if len(said.Problems) > 0 {
				outcomes["problem"]++
				if made >= 0 {
					fail("released although it has problems")
				}
				continue
			}
			if len(said.Predictions) != 1 {
				fail("%d predictions", len(said.Predictions))
			}
			p := said.Predictions[0]
			outcomes[string(p.Reason)]++
			reason := readyReason(status.Conditions)
			i := slices.IndexFunc(status.Requests, func(r release.Request) bool { return r.ID == merged })
			switch { // what another request waits for may be what the image is said to wait for
			case i < 0 && p.Reason == release.AlreadyReleased:
				reason = p.Reason
			case i >= 0 && status.Requests[i].Reason != "":
				reason = status.Requests[i].Reason
			}
			switch {
			case p.Version == nil && made >= 0:
				fail("released as %s", has[made].Version)
			case p.Version != nil && made < 0:
				fail("not released")
			case p.Version != nil:
				if r := has[made]; r.Version != *p.Version || r.Digest != p.Candidate.Digest || r.Mode.Applied != p.Mode {
					fail("released as %s with %s as %s", r.Version, r.Digest, r.Mode.Applied)
				}
			case p.Reason == release.Delisted && reason == "" && len(has) == 0: // nothing is written of what never was released
			case p.Reason != "" && reason != p.Reason:
				fail("the reason is %s", reason)
			}
			for _, m := range p.Channels {
				delete(channels, m.Channel)
				if m.To != nil {
					channels[m.Channel] = *m.To
				}
			}
			if got := channelsOf(t, after, name); fmt.Sprint(got) != fmt.Sprint(channels) {
				fail("the channels are %v, want %v", got, channels)
			}
		}
	}
	if testing.Short() || *seed != 0 {
		return // of one history that nobody chose, nothing is known
	}
	for _, wanted := range []release.Reason{release.Released, release.ImageNotFound, release.UpgradeContradicted, release.Delisted, release.UnknownBase} {
		if outcomes[string(wanted)] == 0 {
			t.Errorf("%s was never said, so nothing is shown of it: %v", wanted, outcomes)
		}
	}
}

func channelsOf(t *testing.T, s *Statuses, name string) map[string]release.Version {
	t.Helper()
	status, _, err := s.Image(name)
	if err != nil {
		t.Fatal(err)
	}
	channels := map[string]release.Version{}
	for _, c := range status.Channels {
		channels[c.Name] = c.Version
	}
	return channels
}
