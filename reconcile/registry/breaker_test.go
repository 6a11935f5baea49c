package registry

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"tidewaiter/reconcile/release"
)

var (
	dead     = refuse(release.RegistryUnavailable, "it does not answer")
	missing  = refuse(release.ImageNotFound, "it answers 404")
	ourOwn   = refuse(release.InternalError, "there is no network")
	unlisted = refuse(release.RegistryNotAllowed, "the guard refuses")
)

// ask admits a request and settles it, and reports whether it was sent.
func (b *breaker) ask(err error) (sent bool) {
	probe, refusal := b.admit()
	if refusal != nil {
		return false
	}
	b.settle(probe, err)
	return true
}

// TestBreaker: a registry that does not answer five times in a row is left alone for growing pauses, and one answer ends it.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var transitions []bool
		b := &breaker{now: time.Now, changed: func(open bool) { transitions = append(transitions, open) }}
		for range 3 {
			for range failuresToOpen - 1 {
				b.ask(dead)
			}
			b.ask(missing) // an answer is one, whatever it says
		}
		if len(transitions) > 0 {
			t.Fatal("it opened although not five in a row failed")
		}
		for _, other := range []error{ourOwn, unlisted} {
			for range 2 * failuresToOpen {
				b.ask(other)
			}
		}
		if len(transitions) > 0 {
			t.Fatal("it opened for what is not the registry's")
		}
		for i := range failuresToOpen {
			if !b.ask(dead) {
				t.Fatal("it opened early")
			}
			if i < failuresToOpen-1 { // between the failures, which it makes no answer of the registry
				b.ask(ourOwn)
				b.ask(unlisted)
			}
		}
		for i, want := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
			want *= time.Second
			if b.ask(nil) {
				t.Fatal("a request was sent although it is open")
			}
			var refusal *Refusal
			_, err := b.admit()
			if !errors.As(err, &refusal) || refusal.Reason != release.RegistryUnavailable || refusal.RetryAfter < want*8/10 || refusal.RetryAfter > want*12/10 {
				t.Fatalf("pause %d: %v, retry after %s, want about %s", i, err, refusal.RetryAfter, want)
			}
			time.Sleep(refusal.RetryAfter)
			probe, err := b.admit()
			if err != nil || !probe {
				t.Fatalf("no request is let through after the pause: %v", err)
			}
			if _, err := b.admit(); err == nil {
				t.Fatal("a second request is let through while the first decides")
			}
			b.settle(false, dead) // one that was under way all the time
			if _, err := b.admit(); err == nil {
				t.Fatal("a late failure let another request through")
			}
			b.settle(true, dead)
		}
		b.hurry()
		for range 2 {
			if !b.ask(nil) {
				t.Fatal("it stays open although it was hurried and the registry answers")
			}
		}
		if len(transitions) != 2 || !transitions[0] || transitions[1] {
			t.Errorf("transitions %v, want one each way", transitions)
		}
	})
}

// TestQuota reads what registries say of what is left.
func TestQuota(t *testing.T) {
	for name, test := range map[string]struct {
		header http.Header
		left   int
		reset  time.Duration
		known  bool
	}{
		"nothing":         {http.Header{}, 0, 0, false},
		"docker hub":      {http.Header{"Ratelimit-Limit": {"100;w=21600"}, "Ratelimit-Remaining": {"76;w=21600"}}, 76, 0, true},
		"docker hub, out": {http.Header{"Ratelimit-Remaining": {"0;w=21600"}}, 0, 0, true},
		"draft 6":         {http.Header{"Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {"30"}}, 0, 30 * time.Second, true},
		"draft 9":         {http.Header{"Ratelimit": {`"default";r=5;t=30`}}, 5, 30 * time.Second, true},
		"github":          {http.Header{"X-Ratelimit-Remaining": {"59"}, "X-Ratelimit-Reset": {"1767268800"}}, 59, 0, true},
		"nonsense":        {http.Header{"Ratelimit-Remaining": {"many"}, "Ratelimit": {"r=;t"}}, 0, 0, false},
		"negative":        {http.Header{"Ratelimit-Remaining": {"-1"}}, 0, 0, false},
	} {
		left, reset, known := quotaOf(test.header)
		if left != test.left || reset != test.reset || known != test.known {
			t.Errorf("%s: %d left for %s, known %t", name, left, reset, known)
		}
	}
}
