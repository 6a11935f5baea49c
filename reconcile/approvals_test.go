package reconcile

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"tidewaiter/reconcile/review"
)

// TestApprovals: the forge may know of a merge a moment after Git shows it. One that knows of none, or hangs, is waited for two
// seconds, and one that did not answer the time before not at all.
func TestApprovals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait() // for calls that end with the context
		defer cancel()
		f := &forge{}
		a := &approvals{forge: f, log: slog.New(slog.DiscardHandler), calls: map[string]*approvalCall{}}
		wants := func(commit, merger string, after time.Duration) {
			t.Helper()
			start := time.Now()
			found := a.ask(ctx, commit)()
			if got := found; merger == "" && got != nil || merger != "" && (got == nil || got.Merger != merger) {
				t.Errorf("%s is approved by %+v, want %q", commit, got, merger)
			}
			if took := time.Since(start); took != after {
				t.Errorf("%s is waited for %s, want %s", commit, took, after)
			}
		}
		answers := func(approve func(string) (review.Approval, bool, error)) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.approve = approve
		}
		asked := 0
		answers(func(string) (review.Approval, bool, error) {
			asked++
			return review.Approval{Merger: "grace"}, asked == 3, nil
		})
		wants("late", "grace", 750*time.Millisecond)
		wants("late", "grace", 0) // as it was said before
		answers(func(string) (review.Approval, bool, error) { return review.Approval{}, false, nil })
		wants("pushed past it", "", 1750*time.Millisecond)
		answers(nil)
		wants("hangs", "", approvalPatience)
		time.Sleep(approvalAtMost + time.Second)
		wants("hangs again", "", 0)
		time.Sleep(approvalAtMost + time.Second)
		answers(func(string) (review.Approval, bool, error) { return review.Approval{Merger: "ada"}, true, nil })
		a.ask(ctx, "is back") // it is found out with this one
		synctest.Wait()
		wants("after that", "ada", 0)
	})
}
