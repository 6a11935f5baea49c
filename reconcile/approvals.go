package reconcile

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"tidewaiter/reconcile/review"
	"tidewaiter/schema"
)

// approvals ask the forge who merged a commit, while its images are looked at. A release waits a moment for the answer, and not at all
// where the forge did not answer the time before: then its record says what Git knows.
type approvals struct {
	forge review.Forge
	log   *slog.Logger

	mu    sync.Mutex
	calls map[string]*approvalCall // by commit; those under way, and those that found something
	down  bool                     // the forge did not answer the last time
}

type approvalCall struct {
	done  chan struct{}
	found *review.Approval // nil where the forge knows of none; for whoever saw done closed
}

// Bounds on asking for an approval.
const (
	approvalPatience = 2 * time.Second // of a release whose image is verified
	approvalAtMost   = 15 * time.Second
	approvalsKept    = 1000
)

// ask starts to ask, and returns what waits for the answer; nil where there is none, or not in time.
func (a *approvals) ask(ctx context.Context, commit string) (wait func() *review.Approval) {
	if a == nil {
		return func() *review.Approval { return nil }
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	call, down := a.calls[commit], a.down
	if call == nil {
		if len(a.calls) >= approvalsKept {
			clear(a.calls)
		}
		call = &approvalCall{done: make(chan struct{})}
		a.calls[commit] = call
		go a.call(ctx, commit, call)
	}
	return func() *review.Approval {
		patience := approvalPatience
		if down {
			patience = 0
		}
		select {
		case <-call.done:
			return call.found
		case <-time.After(patience):
		case <-ctx.Done():
		}
		return nil
	}
}

func (a *approvals) call(ctx context.Context, commit string, call *approvalCall) {
	ctx, cancel := context.WithTimeout(ctx, approvalAtMost)
	defer cancel()
	found, ok, err := a.approval(ctx, commit)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down = err != nil; ok && err == nil {
		call.found = &found
	} else {
		delete(a.calls, commit) // and it is asked again with the next look
	}
	close(call.done)
	if err != nil && ctx.Err() == nil {
		a.log.Warn("the forge does not tell who approved a commit", "commit", commit, "error", err)
	}
}

// approval asks until the forge knows of one: it may note a merge a moment after Git shows it. Who pushed past it is waited for as long.
func (a *approvals) approval(ctx context.Context, commit string) (found review.Approval, ok bool, err error) {
	for pause := approvalPatience / 8; ; pause *= 2 {
		found, ok, err = a.forge.Approval(ctx, commit)
		if ok || err != nil || pause >= approvalPatience {
			return found, ok, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return found, ok, ctx.Err()
		}
	}
}

// approvedBy says who approved a release: whom the forge names, or the commit's names.
func approvedBy(author, committer string, found *review.Approval) schema.Approval {
	if found == nil {
		return schema.Approval{Author: author, Committer: committer, Source: "git"}
	}
	return schema.Approval{
		Author: Plain(cmp.Or(found.Author, author)), Committer: Plain(found.Merger), Source: "forge",
		PullRequest: cmp.Or(found.Link, strconv.Itoa(found.Number)),
	}
}
