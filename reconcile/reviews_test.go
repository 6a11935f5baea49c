package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
)

// reviewing makes a daemon review pull requests.
func reviewing(c *Config) {
	c.Now = time.Now
	c.Interval = 100 * time.Millisecond
	c.Reviews = ReviewConfig{Refs: []string{"refs/pull/*/head", "refs/merge-requests/*/head"}, Most: 100, Age: 100 * 365 * 24 * time.Hour, Interval: time.Minute}
}

// propose pushes the work tree, as a commit on a branch of its own, as the head of a pull request, and goes back to main.
func (w *world) propose(number int, subject string) string {
	w.t.Helper()
	branch := fmt.Sprintf("pr-%d", number)
	if w.author.Git("branch", "--list", branch) == "" {
		w.author.Git("checkout", "--quiet", "-b", branch)
	} else if w.author.Git("branch", "--show-current") != branch {
		w.author.Git("checkout", "--quiet", branch)
	}
	head := w.author.Commit(subject)
	w.author.Git("push", "--quiet", "--force", "origin", fmt.Sprintf("HEAD:refs/pull/%d/head", number))
	w.author.Git("checkout", "--quiet", "main")
	return head
}

// reviewed waits until a pull request is reviewed at a head and as wanted.
func (d *daemon) reviewed(number int, head string, wanted func(review.Review) bool) review.Review {
	d.t.Helper()
	var last review.Review
	eventually(d.t, fmt.Sprintf("pull request %d is reviewed", number), func() bool {
		shown := d.Reviews()
		i := slices.IndexFunc(shown, func(r review.Review) bool { return r.Number == number })
		if i < 0 {
			return false
		}
		last = shown[i]
		return last.Head == head && wanted(last)
	})
	return last
}

func is(state review.State) func(review.Review) bool {
	return func(r review.Review) bool { return r.State == state }
}

// TestAPullRequestIsReviewed: a mistake is said with its place, its correction shows the version, and what is then merged is what
// was said.
func TestAPullRequestIsReviewed(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "compatible-fix: The first one.")
	d := w.start(reviewing)
	d.settle()
	d.run()

	w.author.Write("images/go.yaml", w.broken("go"))
	r := d.reviewed(7, w.propose(7, "Upgrade <b>go</b>\x1b[31m"), is(review.Failure))
	if len(r.Problems) != 1 || !strings.HasPrefix(r.Problems[0].String(), "images/go.yaml:12:11: ") || r.Subject != "Upgrade <b>go</b>[31m" {
		t.Errorf("the review says %+v", r)
	}

	w.image("go", "2")
	w.author.Git("checkout", "--quiet", "pr-7")
	w.author.Write("images/go.yaml", w.spec("go", "2", "compatible-feature: More."))
	r = d.reviewed(7, w.propose(7, "Correct it"), is(review.Success))
	if r.Summary != "releases go 1.0.0 → 1.1.0" || len(r.Warnings) > 0 {
		t.Errorf("the review says %q and warns %v", r.Summary, r.Warnings)
	}
	said := r.Predictions[0]

	w.author.Merge("pr-7", "squash")
	w.author.Push()
	d.Hurry()
	r = d.reviewed(7, r.Head, func(r review.Review) bool { return len(r.Released) > 0 })
	want := []review.Released{{Name: "go", Version: *said.Version, Digest: said.Digest}}
	if !r.Merged || !slices.Equal(r.Released, want) {
		t.Errorf("merged %t, released %v, want %v", r.Merged, r.Released, want)
	}
	if made := w.records()["go"]; made[len(made)-1].Version != *said.Version || made[len(made)-1].Digest != said.Digest {
		t.Errorf("released %v, and %s %s was said", made, said.Version, said.Digest)
	}
}

// TestATagThatMovesBeforeTheMerge: what was released is not what was reviewed, and that is said.
func TestATagThatMovesBeforeTheMerge(t *testing.T) {
	w := newWorld(t)
	w.merge("an empty catalog")
	d := w.start(reviewing)
	d.settle()
	d.run()
	w.image("go", "1")
	w.author.Write("images/go.yaml", w.spec("go", "1", "compatible-fix: The first one."))
	r := d.reviewed(3, w.propose(3, "Add go"), is(review.Success))
	before := r.Predictions[0].Digest

	after := pushImage(t, w.registry, "go", "1", "pushed again")
	w.author.Merge("pr-3", "merge")
	w.author.Push()
	r = d.reviewed(3, r.Head, func(r review.Review) bool { return len(r.Released) > 0 })
	if got := r.Released[0]; got.Digest != after || got.Reviewed != before || !strings.Contains(r.Comment(""), string(release.DigestChangedSinceReview)) {
		t.Errorf("released %+v, want %s, reviewed %s\n%s", got, after, before, r.Comment(""))
	}
	if !strings.Contains(w.log.String(), `"reason":"DigestChangedSinceReview"`) {
		t.Error("the log does not say so")
	}
}

// TestAMovedTagIsReviewedAgain: when somebody hurries the daemon, or the time comes.
func TestAMovedTagIsReviewedAgain(t *testing.T) {
	for name, interval := range map[string]time.Duration{"hurried": time.Hour, "in time": 200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.merge("an empty catalog")
			d := w.start(reviewing, func(c *Config) { c.Reviews.Interval = interval })
			d.settle()
			d.run()
			w.author.Write("images/go.yaml", w.spec("go", "1", "compatible-fix: The first one."))
			head := w.propose(3, "Add go")
			d.reviewed(3, head, func(r review.Review) bool { return r.Summary == "go: ImageNotFound" })
			digest := pushImage(t, w.registry, "go", "1", "at last")
			if interval == time.Hour {
				d.Recheck("go")
			}
			if r := d.reviewed(3, head, is(review.Success)); r.Predictions[0].Digest != digest {
				t.Errorf("the review is of %s, want %s", r.Predictions[0].Digest, digest)
			}
		})
	}
}

// TestTwoThatWouldGetOneNumber: both are told, and after both are merged the numbers are consecutive in the order of the merges.
func TestTwoThatWouldGetOneNumber(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "compatible-fix: The first one.")
	d := w.start(reviewing)
	d.settle()
	d.run()
	var heads []string
	for _, tag := range []string{"2", "3"} {
		w.image("go", tag)
		w.author.Write("images/go.yaml", w.spec("go", tag, "compatible-fix: change "+tag))
		heads = append(heads, w.propose(map[string]int{"2": 12, "3": 13}[tag], "Upgrade to "+tag))
	}
	warned := func(other string) func(review.Review) bool {
		return func(r review.Review) bool {
			return r.State == review.Success && len(r.Warnings) == 1 &&
				r.Warnings[0].Message == "go 1.0.1 is also what pull request "+other+" would become"
		}
	}
	d.reviewed(12, heads[0], warned("13"))
	d.reviewed(13, heads[1], warned("12"))

	w.author.Git("merge", "--quiet", "--no-ff", "--message", "merge 13", "pr-13")
	w.author.Push()
	d.Hurry()
	d.reviewed(12, heads[0], func(r review.Review) bool {
		return len(r.Warnings) == 0 && len(r.Predictions) == 1 && r.Predictions[0].Version != nil && r.Predictions[0].Version.String() == "1.0.2"
	})
	w.author.Git("merge", "--quiet", "--no-ff", "-X", "theirs", "--message", "merge 12", "pr-12")
	w.author.Push()
	d.Hurry()
	d.reviewed(12, heads[0], func(r review.Review) bool { return len(r.Released) == 1 && r.Released[0].Version.String() == "1.0.2" })
	var got []string
	for _, r := range w.records()["go"] {
		got = append(got, r.Version.String()+" "+r.Image.Tag)
	}
	if want := []string{"1.0.0 1", "1.0.1 3", "1.0.2 2"}; !slices.Equal(got, want) {
		t.Errorf("released %v, want %v", got, want)
	}
}

// TestAHeadOfSeveralCommits: a rebase would make each of its requests a release, so its author is warned, and one that only merges the
// base into itself is not.
func TestAHeadOfSeveralCommits(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "compatible-fix: The first one.")
	d := w.start(reviewing)
	d.settle()
	d.run()
	var head string
	for _, tag := range []string{"2", "3", "4"} {
		w.image("go", tag)
		if tag != "2" {
			w.author.Git("checkout", "--quiet", "pr-5")
		}
		w.author.Write("images/go.yaml", w.spec("go", tag, "compatible-fix: change "+tag))
		head = w.propose(5, "Upgrade to "+tag)
	}
	r := d.reviewed(5, head, is(review.Success))
	want := "images/go.yaml:1:1: 3 commits change what is to be released; squash, or each becomes a release if rebased"
	if len(r.Warnings) != 1 || r.Warnings[0].String() != want {
		t.Errorf("it warns %v, want %s", r.Warnings, want)
	}

	w.author.Write("images/rust.yaml", w.spec("rust", "1", "compatible-fix: The first one."))
	w.image("rust", "1")
	w.merge("Something else")
	w.author.Git("checkout", "--quiet", "-b", "pr-6", "main~1")
	w.image("go", "5")
	w.author.Write("images/go.yaml", w.spec("go", "5", "compatible-fix: change 5"))
	w.author.Commit("Upgrade to 5")
	w.author.Git("merge", "--quiet", "--message", "Merge main", "main")
	r = d.reviewed(6, w.propose(6, "and no more"), is(review.Success))
	if len(r.Predictions) != 1 || r.Predictions[0].Name != "go" || len(r.Problems)+len(r.Warnings) != 1 { // 5 and 6 would get one number
		t.Errorf("the review says %+v", r.Report)
	}
}

func TestNumberOf(t *testing.T) {
	c := ReviewConfig{Refs: []string{"refs/changes/*", "refs/merge-requests/*/head"}}
	for ref, want := range map[string]int{
		"refs/merge-requests/12/head": 12, "refs/pull/12/head": 0, "refs/merge-requests/12/merge": 0, "refs/merge-requests/x/head": 0,
		"refs/merge-requests/0/head": 0, "refs/merge-requests/-1/head": 0, "refs/merge-requests/12/head/head": 0, "12/head": 0,
	} {
		if got, ok := c.number(ref); ok != (want != 0) || ok && got != want {
			t.Errorf("the number of %s is %d, %t, want %d", ref, got, ok, want)
		}
	}
}

// TestAMergeMaySetAnotherFree: a fix that is refused because it contradicts a release is released once that release is withdrawn, and so
// it is said before the merge that withdraws it.
func TestAMergeMaySetAnotherFree(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "compatible-fix: The first one.")
	d := w.start(reviewing, func(c *Config) { c.Now = w.clock.Now; c.Reviews.Age = 1 << 62 })
	d.settle()
	w.build("go", "2", registrytest.Image{Config: registrytest.Config{Entrypoint: []string{"/other"}}})
	w.author.Write("images/go.yaml", w.spec("go", "2", "compatible-fix: Is none."))
	w.merge("Contradict it")
	d.settle()
	w.wantReason("go: UpgradeContradicted")
	w.author.Git("checkout", "--quiet", "-b", "pr-1")
	w.author.Write("images/go.yaml", w.spec("go", "2", "compatible-fix: Is none.", "withdrawn:", "  - {version: 1.0.0, reason: broken}"))
	w.propose(1, "Withdraw the first one")
	p := d.review(1).Predictions[0]
	var moves []string
	for _, m := range p.Channels {
		if m.To != nil {
			moves = append(moves, m.Channel+" "+m.To.String())
		}
	}
	if want := []string{"latest 1.0.1", "1.latest 1.0.1", "1.0.latest 1.0.1"}; !slices.Equal(moves, want) {
		t.Errorf("channels move to %v, want %v", moves, want)
	}
}

// TestWhatIsMergedWhileReleasesAreHeld: it is no news and not written, and still it comes before what is merged later.
func TestWhatIsMergedWhileReleasesAreHeld(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "compatible-fix: The first one.")
	d := w.start(reviewing, func(c *Config) { c.Now = w.clock.Now; c.Reviews.Age = 1 << 62 })
	d.settle()
	w.publish("go", "2", "compatible-fix: one", "suspend: true")
	d.settle()
	w.publish("go", "3", "compatible-fix: two", "suspend: true")
	d.settle()
	w.image("go", "4")
	w.author.Git("checkout", "--quiet", "-b", "pr-1")
	w.author.Write("images/go.yaml", w.spec("go", "4", "compatible-fix: three"))
	w.propose(1, "Go on")
	if p := d.review(1).Predictions[0]; p.Version == nil || p.Version.String() != "1.0.3" {
		t.Errorf("it would become %v, want 1.0.3: %+v", p.Version, p)
	}
}

// TestAMergeIsPredictedAnew: what is merged takes the number that another pull request was told.
func TestAMergeIsPredictedAnew(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "compatible-fix: The first one.")
	d := w.start(reviewing, func(c *Config) { c.Now = w.clock.Now; c.Reviews.Age = 1 << 62 })
	d.settle()
	w.image("go", "2")
	w.author.Git("checkout", "--quiet", "-b", "pr-1")
	w.author.Write("images/go.yaml", w.spec("go", "2", "compatible-fix: two"))
	w.propose(1, "Upgrade to 2")
	if got := d.review(1).Summary; got != "releases go 1.0.0 → 1.0.1" {
		t.Errorf("at first it %s", got)
	}
	w.publish("go", "3", "compatible-fix: three")
	d.settle()
	if got := d.review(1).Summary; got != "releases go 1.0.1 → 1.0.2" {
		t.Errorf("after another one was merged it %s", got)
	}
}

// TestWhatIsOpenWhenTheDaemonStarts is reviewed, although its head is seen before what it would be merged into.
func TestWhatIsOpenWhenTheDaemonStarts(t *testing.T) {
	w := newWorld(t)
	w.merge("an empty catalog")
	w.image("go", "1")
	w.author.Git("checkout", "--quiet", "-b", "pr-1")
	w.author.Write("images/go.yaml", w.spec("go", "1", "compatible-fix: one"))
	w.propose(1, "Add go")
	d := w.start(reviewing, func(c *Config) { c.Now = w.clock.Now; c.Reviews.Age = 1 << 62 })
	if _, err := d.listRefs(d.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := d.reviews.round(d.ctx); err != nil { // in the middle of the first pass
		t.Fatal(err)
	}
	if got := d.review(1).Summary; got != "releases go 1.0.0" {
		t.Errorf("it %s", got)
	}
}
