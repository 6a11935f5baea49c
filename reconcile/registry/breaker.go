package registry

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"tidewaiter/reconcile/release"
)

// How a registry that does not answer is left alone.
const (
	failuresToOpen  = 5 // in a row
	firstOpen       = 5 * time.Second
	longestOpen     = 5 * time.Minute
	askAgainShortly = time.Second // while one request finds out for all
)

// breaker keeps requests from a registry that does not answer: after some failures in a row it is open, and nothing is sent for
// a pause that doubles each time, a fifth shorter or longer by chance. Then one request goes through and decides for all. So a
// dead registry costs a few connections a minute, however many images are in it, and nobody waits for each of them.
type breaker struct {
	now     func() time.Time
	changed func(open bool)

	mu       sync.Mutex
	failures int // in a row
	opened   int // times in a row
	until    time.Time
	probing  bool
}

// admit says whether a request may be sent, and whether it is the one that decides for all; if not, the refusal says when to ask
// again. Each one admitted is settled.
func (b *breaker) admit() (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait := b.until.Sub(b.now())
	switch {
	case b.opened == 0:
		return false, nil
	case wait > 0:
	case b.probing:
		wait = askAgainShortly
	default:
		b.probing = true
		return true, nil
	}
	return false, &Refusal{release.RegistryUnavailable, wait, errors.New("it did not answer the last requests and is left alone for a while")}
}

// settle takes the outcome of a request into account. One that says nothing of the registry, because it was never sent or was
// cut short by whoever asked, changes nothing; neither does a failure of one that was under way when the breaker opened.
func (b *breaker) settle(probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	var reason release.Reason
	if refusal := AsRefusal(err); refusal != nil {
		reason = refusal.Reason
	}
	was := b.opened > 0
	switch {
	case reason == release.InternalError || reason == release.RegistryNotAllowed:
	case reason != release.RegistryUnavailable:
		b.failures, b.opened, b.until = 0, 0, time.Time{}
	case !was || probe:
		if b.failures++; b.failures < failuresToOpen {
			break
		}
		pause := min(firstOpen<<min(b.opened, 10), longestOpen)
		b.opened++
		b.until = b.now().Add(time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64())))
	}
	if open := b.opened > 0; open != was {
		b.changed(open)
	}
}

// hurry lets the next request through.
func (b *breaker) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Time{}
}
