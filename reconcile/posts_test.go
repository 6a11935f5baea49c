package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidewaiter/reconcile/review"
)

// forge is one that notes what it is told, and refuses what concerns some pull requests.
type forge struct {
	mu      sync.Mutex
	heard   []string
	refuses func(number int) error
	approve func(commit string) (review.Approval, bool, error)
}

func (f *forge) hear(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = append(f.heard, fmt.Sprintf(format, args...))
}

func (f *forge) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	heard := f.heard
	f.heard = nil
	return heard
}

func (f *forge) Status(_ context.Context, head string, s review.Status) error {
	f.hear("%s is %s", head, s.State)
	return nil
}

func (f *forge) Comment(_ context.Context, number int, body string) error {
	f.hear("%d: %s", number, body)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuses == nil {
		return nil
	}
	return f.refuses(number)
}

func (f *forge) Approval(ctx context.Context, commit string) (review.Approval, bool, error) {
	f.hear("who approved %s?", commit)
	f.mu.Lock()
	approve := f.approve
	f.mu.Unlock()
	if approve == nil {
		<-ctx.Done()
		return review.Approval{}, false, ctx.Err()
	}
	return approve(commit)
}
func (f *forge) Open(context.Context, string, int) ([]int, error) { return nil, nil }
func (f *forge) Collectors() []prometheus.Collector               { return nil }

func posting(t *testing.T, f *forge) *posts {
	ps := newPosts(f, slog.New(slog.DiscardHandler), time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); ps.run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return ps
}

func postOf(number int, state review.State) post {
	return post{number: number, head: fmt.Sprintf("head-%d", number), status: review.Status{State: state}, comment: string(state)}
}

// TestPostsAreToldOnce: what is pending is a status only; what was told is not told again, and what is no longer wanted never is.
func TestPostsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &forge{}
		ps := posting(t, f)
		for _, step := range []struct {
			wanted []post
			want   []string
		}{
			{[]post{postOf(1, review.Pending)}, []string{"head-1 is pending"}},
			{[]post{postOf(1, review.Success)}, []string{"head-1 is success", "1: success"}},
			{[]post{postOf(1, review.Success)}, nil},
			{[]post{postOf(2, review.Failure), postOf(1, review.Success)}, []string{"head-2 is failure", "2: failure"}},
			{[]post{{number: 1, head: "head-1", merged: true, comment: "released"}}, []string{"1: released"}},
		} {
			ps.want(step.wanted)
			synctest.Wait()
			if got := f.take(); !slices.Equal(got, step.want) {
				t.Errorf("the forge is told %q, want %q", got, step.want)
			}
			time.Sleep(2 * time.Hour) // and no time makes it be told again
			if got := f.take(); len(got) > 0 {
				t.Errorf("later the forge is told %q", got)
			}
		}
	})
}

// TestAPostThatFailsHoldsUpNoOther: it is tried again with growing pauses, and not before the forge allows.
func TestAPostThatFailsHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &forge{refuses: func(number int) error {
			switch number {
			case 1:
				return errors.New("not now")
			case 2:
				return &review.Limited{Until: time.Now().Add(50 * time.Minute)}
			}
			return nil
		}}
		ps := posting(t, f)
		ps.want([]post{postOf(1, review.Success), postOf(2, review.Success), postOf(3, review.Success)})
		synctest.Wait()
		want := []string{"head-1 is success", "1: success", "head-2 is success", "2: success", "head-3 is success", "3: success"}
		if got := f.take(); !slices.Equal(got, want) {
			t.Errorf("the forge is told %q, want %q", got, want)
		}
		time.Sleep(45 * time.Minute)
		again := f.take()
		if n := len(again); n < 6 || n > 20 || slices.Contains(again, "2: success") || slices.Contains(again, "3: success") {
			t.Errorf("within 45 minutes the forge is told %q", again)
		}
		f.mu.Lock()
		f.refuses = nil
		f.mu.Unlock()
		time.Sleep(2 * time.Hour)
		if got := f.take(); !slices.Contains(got, "1: success") || !slices.Contains(got, "2: success") || len(got) != 4 {
			t.Errorf("once it may, the forge is told %q", got)
		}
	})
}
