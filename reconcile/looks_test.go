package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

// lookAt is a question about an image on a host, and what it is asked with.
func lookAt(host, name, commit string) (release.Look, registry.Query) {
	image := release.Image{Reference: release.Reference{Registry: host, Repository: "acme/" + name, Tag: "1"}}
	return release.Look{Name: name, Commit: commit, Image: image}, registry.Query{Name: name, Image: image}
}

// answers makes looks whose questions are answered by what reply returns, nil for an image that is there.
func answers(t *testing.T, reply func(q registry.Query) *registry.Refusal) *looks {
	ctx, cancel := context.WithCancel(context.Background())
	ls := newLooks(ctx, func(_ context.Context, q registry.Query) (registry.Image, error) {
		if refusal := reply(q); refusal != nil {
			return registry.Image{}, refusal
		}
		return registry.Image{Digest: "sha256:there"}, nil
	}, time.Now)
	t.Cleanup(func() {
		cancel()
		ls.Wait()
	})
	return ls
}

func refusal(reason release.Reason, retryAfter time.Duration) *registry.Refusal {
	return &registry.Refusal{Reason: reason, RetryAfter: retryAfter, Err: errors.New("injected")}
}

// asked sleeps through looks that are due, as Run does, until there were so many, and returns the pauses between them.
func asked(ls *looks, times *[]time.Time, n int) []time.Duration {
	for len(*times) < n {
		next := ls.AskAgain()
		synctest.Wait()
		if !next.IsZero() {
			time.Sleep(time.Until(next))
		}
	}
	var pauses []time.Duration
	for i := range n - 1 {
		pauses = append(pauses, (*times)[i+1].Sub((*times)[i]))
	}
	return pauses
}

func TestARefusedImageIsLookedAtAgainWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		ls := answers(t, func(registry.Query) *registry.Refusal {
			times = append(times, time.Now())
			return refusal(release.ImageNotFound, 0)
		})
		ls.Ask(lookAt("r", "go", "1"))
		synctest.Wait()
		pauses := asked(ls, &times, 41)
		exact := 0
		for i, p := range pauses {
			want := time.Hour
			if i < 8 {
				want = min(15*time.Second<<i, time.Hour)
			}
			if p < want*8/10 || p > want*12/10 {
				t.Errorf("pause %d is %s, want %s, a fifth more or less", i+1, p, want)
			}
			if p == want {
				exact++
			}
		}
		if exact == len(pauses) {
			t.Error("the pauses have no jitter: images refused together are asked for together for ever")
		}
		ls.Hurry("")
		n := len(times)
		start := time.Now()
		if asked(ls, &times, n+1); !times[n].Equal(start) {
			t.Errorf("hurried, it is looked at %s later", times[n].Sub(start))
		}
		if p := asked(ls, &times, n+2)[n]; p > firstPause*12/10 {
			t.Errorf("after a hurried look the next one is %s later, want about %s", p, firstPause)
		}
	})
}

func TestARegistryIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		ls := answers(t, func(registry.Query) *registry.Refusal {
			times = append(times, time.Now())
			return refusal(release.RateLimited, 40*time.Minute)
		})
		ls.Ask(lookAt("r", "go", "1"))
		synctest.Wait()
		for i, p := range asked(ls, &times, 4) {
			if p < 40*time.Minute {
				t.Errorf("pause %d is %s although the registry asked for 40 minutes", i+1, p)
			}
		}
	})
}

func TestWhatCannotChangeIsNotLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			reason release.Reason
			pinned bool
			again  bool
		}{
			{release.PlatformMissing, true, false},
			{release.PlatformMissing, false, true},
			{release.ManifestInvalid, true, false},
			{release.ImageTooLarge, true, false},
			{release.ImageNotFound, true, true},
			{release.LayerMissing, true, true},
			{release.RegistryUnavailable, true, true},
			{release.InternalError, true, true},
			{release.RegistryNotAllowed, false, false},
		} {
			ls := answers(t, func(registry.Query) *registry.Refusal { return refusal(test.reason, 0) })
			look, query := lookAt("r", "go", "1")
			if test.pinned {
				look.Image.Digest, query.Image.Digest = "sha256:pinned", "sha256:pinned"
			}
			ls.Ask(look, query)
			synctest.Wait()
			if next := ls.AskAgain(); next.IsZero() == test.again {
				t.Errorf("%s, pinned %t: looked at again %t, want %t", test.reason, test.pinned, !next.IsZero(), test.again)
			}
		}
	})
}

func TestLooksAreIdleOnceAPlanHasSeenEveryAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ls := answers(t, func(registry.Query) *registry.Refusal {
			time.Sleep(time.Second)
			return nil
		})
		steps := []struct {
			what string
			do   func()
			idle bool
		}{
			{"nothing was asked", func() {}, true},
			{"a question is on its way", func() { ls.Ask(lookAt("r", "go", "1")) }, false},
			{"a plan was made without its answer", ls.Seen, false},
			{"the answer came", func() { time.Sleep(2 * time.Second) }, false},
			{"a plan was made with it", ls.Seen, true},
		}
		for _, step := range steps {
			step.do()
			if ls.Idle() != step.idle {
				t.Errorf("idle %t when %s", !step.idle, step.what)
			}
		}
	})
}

func TestAnAnsweredQuestionIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		ls := answers(t, func(registry.Query) *registry.Refusal { n++; return nil })
		look, query := lookAt("r", "go", "1")
		for range 3 {
			ls.Ask(look, query)
			synctest.Wait()
			ls.Hurry("")
			if next := ls.AskAgain(); !next.IsZero() {
				t.Errorf("an image that is there is looked at again in %s", time.Until(next))
			}
		}
		if answer, known := ls.Answer(look); n != 1 || !known || answer.Digest != "sha256:there" {
			t.Errorf("asked %d times, answered %v, known %t", n, answer, known)
		}
		ls.Ask(lookAt("r", "go", "2"))
		synctest.Wait()
		if n != 2 {
			t.Error("a new request for the same image got the answer to the one before")
		}
	})
}

func TestALaneThatHangsBlocksNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, atATime := make(chan struct{}), atomic.Int32{}
		ls := answers(t, func(q registry.Query) *registry.Refusal {
			if q.Image.Registry == "dead" {
				atATime.Add(1)
				<-release
			}
			return nil
		})
		for i := range looksPerHost + 5 {
			ls.Ask(lookAt("dead", fmt.Sprint("image-", i), "1"))
		}
		quick, query := lookAt("alive", "quick", "1")
		ls.Ask(quick, query)
		synctest.Wait()
		if _, known := ls.Answer(quick); !known {
			t.Error("the image of another registry has no answer")
		}
		if n := atATime.Load(); n != looksPerHost || ls.Pending() != looksPerHost+5 {
			t.Errorf("%d looks at a time and %d in all, want %d and %d", n, ls.Pending(), looksPerHost, looksPerHost+5)
		}
		close(release)
		synctest.Wait()
		if n := atATime.Load(); n != looksPerHost+5 || ls.Pending() != 0 {
			t.Errorf("%d looks were made and %d are on their way, want %d and none", n, ls.Pending(), looksPerHost+5)
		}
	})
}

func TestAForgottenLookSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letGo := make(chan struct{})
		ls := answers(t, func(q registry.Query) *registry.Refusal {
			if q.Content { // as the policy was before
				<-letGo
				return refusal(release.AccessDenied, 0)
			}
			return nil
		})
		look, query := lookAt("r", "go", "1")
		before := query
		before.Content = true
		ls.Ask(look, before)
		synctest.Wait()
		ls.Keep(func(string, string) bool { return false }) // the policy is another now
		if _, known := ls.Answer(look); known {
			t.Error("a look on its way has an answer")
		}
		ls.Ask(look, query)
		synctest.Wait()
		close(letGo)
		synctest.Wait()
		if answer, known := ls.Answer(look); !known || answer.Digest != "sha256:there" || ls.Pending() != 0 {
			t.Errorf("the answer is %v, known %t, %d on their way; want that to the question asked last", answer, known, ls.Pending())
		}
	})
}

func TestLooksEndWithTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		var asked atomic.Int32
		ls := newLooks(ctx, func(ctx context.Context, _ registry.Query) (registry.Image, error) {
			asked.Add(1)
			<-ctx.Done()
			return registry.Image{}, refusal(release.RegistryUnavailable, 0)
		}, time.Now)
		look, query := lookAt("r", "go", "1")
		ls.Ask(look, query)
		for i := range looksPerHost {
			ls.Ask(lookAt("r", fmt.Sprint("image-", i), "1"))
		}
		synctest.Wait()
		cancel()
		ls.Wait()
		if _, known := ls.Answer(look); known {
			t.Error("a look that was cut short is taken for an answer of the registry")
		}
		if asked.Load() != looksPerHost {
			t.Errorf("%d looks were started, want %d: none after the end", asked.Load(), looksPerHost)
		}
	})
}

// Answers that come together are written together; one that is late does not hold up the others for long.
func TestAnswersAreGathered(t *testing.T) {
	gathered := func(t *testing.T, answerAfter ...time.Duration) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			ls := answers(t, func(registry.Query) *registry.Refusal {
				time.Sleep(answerAfter[n.Add(1)-1])
				return nil
			})
			for i := range answerAfter {
				ls.Ask(lookAt(fmt.Sprint("host-", i), "go", "1"))
			}
			<-ls.came
			start := time.Now()
			ls.Gather(t.Context())
			took = time.Since(start)
			time.Sleep(time.Hour)
		})
		return took
	}
	const ms = time.Millisecond
	for _, test := range []struct {
		answerAfter []time.Duration
		want        time.Duration
	}{
		{[]time.Duration{10 * ms}, 0},
		{[]time.Duration{10 * ms, 60 * ms, 150 * ms}, 140 * ms},
		{[]time.Duration{10 * ms, time.Minute}, quietSpell},
	} {
		if took := gathered(t, test.answerAfter...); took != test.want {
			t.Errorf("answers after %v are gathered for %s, want %s", test.answerAfter, took, test.want)
		}
	}
	var steady []time.Duration
	for i := range 100 {
		steady = append(steady, time.Duration(i+1)*90*ms)
	}
	if took := gathered(t, steady...); took != gatherAtMost {
		t.Errorf("a steady trickle of answers is gathered for %s, want %s", took, gatherAtMost)
	}
}

func TestPushTheImageThenItIsVerifiedAgain(t *testing.T) {
	w := newWorld(t)
	w.author.Write("images/go.yaml", w.spec("go", "1", "compatible-fix: a"))
	w.merge("a spec whose image is not pushed yet")
	d := w.start()
	stop := d.run()
	eventually(t, "the refusal is recorded", func() bool { return w.tip("status") != "" })
	w.wantReason("go: ImageNotFound")
	w.image("go", "1")
	d.Hurry()
	eventually(t, "the release is recorded", func() bool { return len(w.released()) == 1 })
	stop()
	w.wantReason("go: Released")
}

func TestAnotherPolicyJudgesRefusedRequestsAgain(t *testing.T) {
	w := newWorld(t)
	other := startRegistry(t, registrytest.Options{})
	pushImage(t, other, "go", "1", "go")
	w.author.Write("images/go.yaml", specAt(other.Host, "go", "1", "compatible-fix: a"))
	w.author.Write("images/gone.yaml", w.spec("gone", "1", "compatible-fix: a"))
	w.merge("one that is not listed, one that is not there")
	d := w.start()
	d.settle()
	w.wantReason("go: RegistryNotAllowed", "gone: ImageNotFound")
	w.registry.Requests()
	w.author.Write("catalog.yaml", policyOf([]string{w.registry.Host, other.Host}))
	w.image("gone", "1")
	w.merge("list it")
	d.settle()
	w.wantReason("go: Released", "gone: Released")
}

// An answer that comes before the pass that asked for it ended is an answer too.
func TestOnceTakesAnswersThatComeAtOnce(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "compatible-fix: a")
	var d *daemon
	d = w.start(func(c *Config) {
		c.Now = func() time.Time {
			for d != nil && d.looks.Pending() > 0 { // no pass ends before
				time.Sleep(time.Millisecond)
			}
			return w.clock.Now()
		}
	})
	d.settle()
	w.wantReleased("go 1.0.0 = 1 (compatible-fix)")
}
