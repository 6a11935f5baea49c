package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"tidewaiter/reconcile/review"
)

// posts tell the forge what reviews say, one at a time and in the background. What is not told yet when something newer is to be
// said is never told; what was told is not told again. A forge that is down delays nothing else.
type posts struct {
	forge review.Forge
	log   *slog.Logger
	now   func() time.Time
	woken chan struct{}

	mu     sync.Mutex
	wanted []post
	told   map[int]post // by number
	failed map[int]failedPost
}

// failedPost is one that the forge did not take, and when it is tried again.
type failedPost struct {
	tries int
	due   time.Time
}

// post is what the forge is to show of one pull request.
type post struct {
	number  int
	head    string
	merged  bool // then only the comment
	status  review.Status
	comment string
}

func newPosts(forge review.Forge, log *slog.Logger, now func() time.Time) *posts {
	return &posts{forge: forge, log: log, now: now, woken: make(chan struct{}, 1), told: map[int]post{}, failed: map[int]failedPost{}}
}

// want replaces what is to be told.
func (ps *posts) want(wanted []post) {
	ps.mu.Lock()
	ps.wanted = wanted
	ps.mu.Unlock()
	select {
	case ps.woken <- struct{}{}:
	default:
	}
}

// next is the first that was not told as it is to be told now, and may be tried; where there is none, when one may be.
func (ps *posts) next() (p, told post, due time.Time, ok bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	due = ps.now().Add(time.Hour)
	for _, p := range ps.wanted {
		failed := ps.failed[p.number]
		switch {
		case ps.told[p.number] == p:
		case !failed.due.After(ps.now()):
			return p, ps.told[p.number], due, true
		case failed.due.Before(due):
			due = failed.due
		}
	}
	tracked := func(number int) bool {
		return slices.ContainsFunc(ps.wanted, func(p post) bool { return p.number == number })
	}
	maps.DeleteFunc(ps.told, func(number int, _ post) bool { return !tracked(number) })
	maps.DeleteFunc(ps.failed, func(number int, _ failedPost) bool { return !tracked(number) })
	return post{}, post{}, due, false
}

// run tells until the context ends.
func (ps *posts) run(ctx context.Context) {
	for ctx.Err() == nil {
		p, told, due, ok := ps.next()
		if ok {
			ps.note(p, ps.tell(ctx, p, told))
			continue
		}
		timer := time.NewTimer(max(0, due.Sub(ps.now())))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-ps.woken:
		}
		timer.Stop()
	}
}

// note remembers what became of a post.
func (ps *posts) note(p post, err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if err == nil {
		ps.told[p.number] = p
		delete(ps.failed, p.number)
		return
	}
	ps.log.Warn("the forge was not told; it is tried again", "review", p.number, "error", err)
	failed := ps.failed[p.number]
	failed.due = ps.now().Add(pause(failed.tries))
	var limited *review.Limited
	if errors.As(err, &limited) && limited.Until.After(failed.due) {
		failed.due = limited.Until
	}
	failed.tries++
	ps.failed[p.number] = failed
}

func (ps *posts) tell(ctx context.Context, p, told post) error {
	if !p.merged && (p.status != told.status || p.head != told.head) {
		switch err := ps.forge.Status(ctx, p.head, p.status); {
		case errors.Is(err, review.ErrForgeNotFound): // GitLab has none for the commits of a fork; the comment says all of it
			ps.log.Debug("the forge takes no status for this commit", "review", p.number, "error", err)
		case err != nil:
			return err
		}
	}
	if p.comment == told.comment || p.status.State == review.Pending { // that is said by the status alone
		return nil
	}
	return ps.forge.Comment(ctx, p.number, p.comment)
}
