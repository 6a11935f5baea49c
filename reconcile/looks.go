package reconcile

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
)

// How looks are paced.
const (
	looksPerHost = 16 // at a time; a registry that hangs holds up its own images only
	firstPause   = 15 * time.Second
	longestPause = time.Hour
	// Answers that come together are written together: nothing more for quietSpell, or gatherAtMost since the first.
	quietSpell   = 100 * time.Millisecond
	gatherAtMost = 5 * time.Second
)

// looks asks the registries, in the background and in parallel, and remembers what they said for as long as a request needs
// it. A pass never waits for a registry: it plans with the answers there are, and the next pass with those that came.
type looks struct {
	pull  func(context.Context, registry.Query) (registry.Image, error)
	clock func() time.Time
	came  chan struct{} // holds one token when an answer came that no plan has seen
	// approvals, if there are any, are asked beside.
	approvals *approvals

	ctx   context.Context
	lanes *lanes

	mu      sync.Mutex
	known   map[lookKey]*look
	pending int // looks asked and not answered
}

// lookKey tells looks apart. The commit is part of it: a new request is looked at at once, whatever an earlier one was told.
type lookKey struct{ name, commit, image string }

// look is one question and the newest answer to it.
type look struct {
	query    registry.Query
	asked    bool // on its way
	answered bool
	image    registry.Image
	refusal  *registry.Refusal
	approval *review.Approval // of the request's commit, where the forge knows of one
	tries    int
	due      time.Time // when it is asked again; zero for never
}

func newLooks(ctx context.Context, pull func(context.Context, registry.Query) (registry.Image, error), clock func() time.Time) *looks {
	return &looks{
		pull: pull, clock: clock, came: make(chan struct{}, 1),
		ctx: ctx, lanes: newLanes(looksPerHost), known: map[lookKey]*look{},
	}
}

func keyOf(name, commit string, image release.Image) lookKey {
	key := image.String() + " " + image.Credentials
	for _, p := range image.Platforms {
		key += " " + string(p)
	}
	return lookKey{name, commit, key}
}

// Answer is what the planner is told: the newest answer to a question, or that there is none yet.
func (ls *looks) Answer(l release.Look) (release.Answer, bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	known, ok := ls.known[keyOf(l.Name, l.Commit, l.Image)]
	switch {
	case !ok || !known.answered:
		return release.Answer{}, false
	case known.refusal != nil:
		return release.Answer{Reason: known.refusal.Reason}, true
	}
	return release.Answer{Digest: known.image.Digest}, true
}

// Image is what was found of the image of a request, where the answer was a digest.
func (ls *looks) Image(name, commit string, image release.Image) registry.Image {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.known[keyOf(name, commit, image)].image
}

// Approval is what the forge says of who approved a request, nil where it does not.
func (ls *looks) Approval(name, commit string, image release.Image) *review.Approval {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.known[keyOf(name, commit, image)].approval
}

// Detail is what the registry said where a request was refused, for the log; empty where it was not.
func (ls *looks) Detail(name, commit string) string {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for key, l := range ls.known {
		if key.name == name && key.commit == commit && l.refusal != nil {
			return Plain(l.refusal.Error())
		}
	}
	return ""
}

// Ask starts a look, unless it is on its way or answered.
func (ls *looks) Ask(l release.Look, query registry.Query) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	key := keyOf(l.Name, l.Commit, l.Image)
	if _, ok := ls.known[key]; !ok {
		ls.known[key] = &look{query: query}
		ls.start(key)
	}
}

// Repeat makes a look be asked again after a pause although it found an image: it is not one that can be released, and another
// may be pushed in its place.
func (ls *looks) Repeat(name, commit string, image release.Image) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l, ok := ls.known[keyOf(name, commit, image)]
	if ok && l.answered && !l.asked && l.refusal == nil && l.due.IsZero() {
		l.due = ls.clock().Add(pause(l.tries))
		l.tries++
	}
}

// AskAgain starts every look that is due, and returns when the next one will be; zero for never.
func (ls *looks) AskAgain() (next time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now := ls.clock()
	for key, l := range ls.known {
		switch {
		case l.asked || l.due.IsZero():
		case !l.due.After(now):
			ls.start(key)
		case next.IsZero() || l.due.Before(next):
			next = l.due
		}
	}
	return next
}

// Hurry makes every look due that somebody may have done something about: those of one image, or with an empty name all.
func (ls *looks) Hurry(name string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for key, l := range ls.known {
		if !l.due.IsZero() && (name == "" || key.name == name) {
			l.due, l.tries = ls.clock(), 0
		}
	}
}

// Keep forgets all looks of which keep is not true: their requests are final, or were judged by another policy.
func (ls *looks) Keep(keep func(name, commit string) bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for key := range ls.known {
		if !keep(key.name, key.commit) {
			delete(ls.known, key)
		}
	}
}

// Pending is how many looks are on their way.
func (ls *looks) Pending() int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.pending
}

// Gather waits until the answers that come together are all there.
func (ls *looks) Gather(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, gatherAtMost)
	defer cancel()
	quiet := time.NewTimer(quietSpell)
	defer quiet.Stop()
	for ls.Pending() > 0 {
		select {
		case <-ls.came:
			quiet.Reset(quietSpell)
		case <-quiet.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Seen notes that a plan is about to be made of every answer that came so far.
func (ls *looks) Seen() {
	select {
	case <-ls.came:
	default:
	}
}

// Idle reports whether nothing is being asked and the last plan has seen every answer. An answer that came while it was made
// may or may not be in it, so it counts as not seen.
func (ls *looks) Idle() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.pending == 0 && len(ls.came) == 0
}

// Wait returns when no look is running any more; the context given to newLooks must have ended.
func (ls *looks) Wait() { ls.lanes.Wait() }

func (ls *looks) start(key lookKey) {
	l := ls.known[key]
	l.asked = true
	ls.pending++
	ls.lanes.Go(l.query.Image.Registry, func() {
		var image registry.Image
		var approval *review.Approval
		var err error
		if ls.wanted(key, l) {
			approved := ls.approvals.ask(ls.ctx, key.commit)
			if image, err = ls.pull(ls.ctx, l.query); err == nil {
				approval = approved()
			}
		}
		ls.answer(key, l, image, approval, registry.AsRefusal(err))
	})
}

// wanted reports whether somebody still waits for a look, and whether the daemon does.
func (ls *looks) wanted(key lookKey, l *look) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.known[key] == l && ls.ctx.Err() == nil
}

// answer records what a look found. One that nobody waits for any more, or that was cut short by the end of the daemon, says
// nothing.
func (ls *looks) answer(key lookKey, asked *look, image registry.Image, approval *review.Approval, refusal *registry.Refusal) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.pending--
	if ls.known[key] == asked && ls.ctx.Err() == nil {
		asked.asked, asked.answered, asked.image, asked.approval, asked.refusal = false, true, image, approval, refusal
		asked.due = time.Time{}
		if refusal != nil && refusal.Reason.Again(asked.query.Image.Digest != "") {
			// Those that were told to come back at the same time do not all do so.
			asked.due = ls.clock().Add(max(pause(asked.tries), spread(refusal.RetryAfter)))
			asked.tries++
		}
	}
	select {
	case ls.came <- struct{}{}:
	default:
	}
}

// pause is how long to wait after so many tries: doubled each time up to an hour, a fifth shorter or longer by chance so
// that images refused together are not asked for together again.
func pause(tries int) time.Duration {
	p := longestPause
	if tries < 8 {
		p = min(firstPause<<tries, longestPause)
	}
	return time.Duration(float64(p) * (0.8 + 0.4*rand.Float64()))
}

// spread is a time up to a fifth longer, by chance.
func spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + 0.2*rand.Float64()))
}
