package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
	"tidewaiter/schema"
)

// ReviewConfig says which pull requests are reviewed before they merge. Without refs none are.
type ReviewConfig struct {
	// Refs are where a server keeps the heads of pull requests, with a "*" in the place of the number: refs/pull/*/head.
	Refs []string
	// Most is how many are reviewed at most, the newest first; those whose head is older than Age are not.
	Most int
	Age  time.Duration
	// Interval is how often the images are looked at again where nothing else changed: a tag may have moved.
	Interval time.Duration
	// Forge, if set, is told of every verdict, and asked which pull requests are open and who merged them.
	Forge review.Forge
	// Page is the URL that people reach the daemon's page by, for links; empty for none.
	Page string
}

// check says which of the refs cannot be one.
func (c ReviewConfig) check() error {
	for _, pattern := range c.Refs {
		if strings.Count(pattern, "*") != 1 || !strings.HasPrefix(pattern, "refs/") {
			return fmt.Errorf("review refs %q: want a full name with one * for the number, like refs/pull/*/head", pattern)
		}
	}
	return nil
}

// number is that of the pull request whose head a ref is, if it is one.
func (c ReviewConfig) number(ref string) (number int, ok bool) {
	for _, pattern := range c.Refs {
		before, after, _ := strings.Cut(pattern, "*")
		text, begins := strings.CutPrefix(ref, before)
		text, ends := strings.CutSuffix(text, after)
		if number, err := strconv.Atoi(text); begins && ends && err == nil && number > 0 {
			return number, true
		}
	}
	return 0, false
}

// reviews say before the merge what merging would do. They work in rounds, in the background, and hold up no pass: they have their
// own copy of the repository, in which a stranger's commits are kept apart and bounded.
//
// Nothing of them is written anywhere, and a restart works all of it out again.
type reviews struct {
	ReviewConfig
	branch   string
	log      *slog.Logger
	now      func() time.Time
	registry *registry.Client
	metrics  *metrics
	repo     *gitrepo.Repo
	posts    *posts // nil without a forge

	woken chan struct{}
	mu    sync.Mutex
	news  news // what came since the last round

	shown atomic.Pointer[[]review.Review]

	// The rest is the rounds' alone.
	base   base
	stale  bool             // the heads were not listed since they moved
	listed time.Time        // when they were listed last
	heads  map[string]*head // by ref
	gone   []*head          // those whose ref is gone and whose release may be to come, the newest first
}

// news is what the daemon tells of.
type news struct {
	base     *base           // the base is another now
	moved    bool            // heads are
	written  map[string]bool // names of images of which something else is written now
	all      bool            // it may be any image
	hurried  []string        // names of images whose tags may have moved; an empty one is all
	released []madeRelease
}

type madeRelease struct {
	name string
	release.Release
}

// head is one pull request.
type head struct {
	ref      string
	number   int
	hash     gitrepo.Hash
	open     bool // the forge said so, once: nothing is posted to one that it did not
	commit   gitrepo.Commit
	proposal *proposal // nil until it was read, or where it cannot be
	failed   string    // why it cannot be
	old      bool      // it is too old to be looked at
	included bool      // the base's history has it
	merged   bool      // so it has, or all that it changes
	report   review.Report
	looked   time.Time
	due      time.Time // when its images are looked at again
	tries    int
	done     []review.Released
}

// goneKept is how many reviews are remembered whose ref is gone.
const goneKept = 50

// readAtMost bounds what is asked of the Git server at a time.
const readAtMost = 2 * time.Minute

// predictedTogether is how many heads are predicted at a time.
const predictedTogether = 8

func newReviews(cfg Config, client *registry.Client, m *metrics) (*reviews, error) {
	if err := cfg.Reviews.check(); err != nil {
		return nil, err
	}
	options := cfg.Git
	options.Observe, options.MaxPack = m.git, maxHeadPack
	repo, err := gitrepo.Open(options)
	if err != nil {
		return nil, err
	}
	rs := &reviews{
		ReviewConfig: cfg.Reviews, branch: cfg.Branch, log: cfg.Log, now: cfg.Now, registry: client, metrics: m, repo: repo,
		woken: make(chan struct{}, 1), heads: map[string]*head{},
	}
	if cfg.Reviews.Forge != nil {
		rs.posts = newPosts(cfg.Reviews.Forge, cfg.Log, cfg.Now)
	}
	rs.shown.Store(&[]review.Review{})
	return rs, nil
}

// tell notes what is new and starts a round.
func (rs *reviews) tell(note func(*news)) {
	if rs == nil {
		return
	}
	rs.mu.Lock()
	note(&rs.news)
	rs.mu.Unlock()
	select {
	case rs.woken <- struct{}{}:
	default:
	}
}

func (rs *reviews) take() news {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	n := rs.news
	rs.news = news{}
	return n
}

// run makes rounds until the context ends.
func (rs *reviews) run(ctx context.Context) {
	var telling sync.WaitGroup
	if rs.posts != nil {
		telling.Go(func() { rs.posts.run(ctx) })
	}
	defer telling.Wait()
	for {
		next, err := rs.round(ctx)
		if err != nil && ctx.Err() == nil {
			rs.log.Warn("pull requests could not be reviewed; it is tried again", "error", err)
			next = rs.now().Add(min(rs.Interval, firstPause))
		}
		timer := time.NewTimer(max(0, next.Sub(rs.now())))
		select {
		case <-ctx.Done():
		case <-rs.woken:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// round brings every review up to date with what is known by now, and says when the next one is due.
func (rs *reviews) round(ctx context.Context) (next time.Time, err error) {
	n := rs.take()
	if n.base != nil {
		rs.base = *n.base
	}
	next = rs.now().Add(rs.Interval)
	rs.stale = rs.stale || n.moved // also where the heads are seen before the base is
	if rs.base.commit.IsZero() {
		return next, nil
	}
	rs.outdate(n)
	// That one was closed shows nowhere but at the forge.
	closed := rs.Forge != nil && len(rs.heads) > 0 && rs.now().Sub(rs.listed) >= rs.Interval
	if rs.stale = rs.stale || closed; rs.stale {
		if err = rs.list(ctx); err == nil {
			rs.stale, rs.listed = false, rs.now()
		}
	}
	for _, h := range rs.heads {
		h.merged = h.merged || h.proposal != nil && (h.included || rs.base.contained(h.proposal))
	}
	rs.match(n.released)
	rs.publish()
	if err := rs.look(ctx); err != nil {
		return next, err
	}
	for _, h := range rs.heads {
		if h.waits() && h.due.Before(next) {
			next = h.due
		}
	}
	return next, err
}

// outdate makes those due that something new is about.
func (rs *reviews) outdate(n news) {
	for _, h := range rs.heads {
		if h.proposal == nil {
			continue
		}
		about := h.proposal.about()
		hurried := slices.ContainsFunc(n.hurried, func(name string) bool { return name == "" || slices.Contains(about, name) })
		if n.all || hurried || slices.ContainsFunc(about, func(name string) bool { return n.written[name] }) {
			h.due, h.tries = time.Time{}, 0
		}
	}
}

// newest are the open heads, the newest pull request first.
func (rs *reviews) newest() []*head {
	return slices.SortedFunc(maps.Values(rs.heads), func(a, b *head) int { return cmp.Or(cmp.Compare(b.number, a.number), cmp.Compare(a.ref, b.ref)) })
}

// list asks which heads there are, and reads those that moved.
func (rs *reviews) list(ctx context.Context) error {
	refs, err := rs.refs(ctx)
	if err != nil {
		return err
	}
	tip := refs.Branch(rs.branch)
	found := rs.open(ctx, refs)
	for ref, h := range rs.heads {
		if !slices.ContainsFunc(found, func(f *head) bool { return f.ref == ref }) {
			if delete(rs.heads, ref); h.candidates() > 0 {
				rs.gone = append([]*head{h}, rs.gone...)
				rs.gone = rs.gone[:min(len(rs.gone), goneKept)]
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	var failed error
	for _, h := range found {
		if known := rs.heads[h.ref]; known != nil && known.hash == h.hash {
			known.open = known.open || h.open
			continue
		}
		rs.heads[h.ref] = h
		if err := rs.read(ctx, h, tip); err != nil {
			delete(rs.heads, h.ref) // and it is read again, which keeps no other from being read
			failed = errors.Join(failed, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return failed
}

// refs are the branch, of which the tip can be read then, and the heads.
func (rs *reviews) refs(ctx context.Context) (gitrepo.Refs, error) {
	ctx, cancel := context.WithTimeout(ctx, readAtMost)
	defer cancel()
	refs, err := rs.repo.Refs(ctx, append([]string{rs.branch}, rs.Refs...)...)
	if err != nil || len(refs) < 2 {
		return nil, err // no branch, or no head
	}
	_, err = rs.repo.Chain(ctx, rs.branch, refs.Branch(rs.branch), gitrepo.Hash{})
	return refs, err
}

// open are the heads among refs, of open pull requests where somebody can tell, the newest first and no more than are wanted.
func (rs *reviews) open(ctx context.Context, refs gitrepo.Refs) (found []*head) {
	known, open := func(int) bool { return true }, false
	if rs.Forge != nil {
		numbers, err := rs.Forge.Open(ctx, rs.branch, rs.Most)
		if err == nil {
			known, open = func(n int) bool { return slices.Contains(numbers, n) }, true
		} else {
			rs.log.Warn("the forge does not tell which pull requests are open; the newest are reviewed", "error", err)
		}
	}
	for ref, hash := range refs {
		if number, ok := rs.number(ref); ok && known(number) {
			found = append(found, &head{ref: ref, number: number, hash: hash, open: open})
		}
	}
	slices.SortFunc(found, func(a, b *head) int { return cmp.Or(cmp.Compare(b.number, a.number), cmp.Compare(a.ref, b.ref)) })
	return found[:min(len(found), rs.Most)]
}

// read fetches a head and reads what it changes. What is wrong with it is in the head; the error is that nobody can tell now.
func (rs *reviews) read(ctx context.Context, h *head, tip gitrepo.Hash) error {
	ctx, cancel := context.WithTimeout(ctx, readAtMost)
	defer cancel()
	fork, commits, err := rs.repo.Fork(ctx, h.ref, h.hash, tip, maxHistory)
	switch {
	case errors.Is(err, gitrepo.ErrTooLarge):
		h.failed = fmt.Sprintf("it brings more than %d MiB, or more files than can be read; leave them out of the catalog", maxHeadPack>>20)
		return nil
	case errors.Is(err, gitrepo.ErrNoFork):
		h.failed = fmt.Sprintf("it has no commit in common with branch %s among its last %d; rebase it", rs.branch, maxHistory)
		return nil
	case err != nil:
		return err
	}
	if h.commit, err = rs.repo.CommitAt(h.hash); err != nil {
		return err
	}
	h.old, h.included = rs.now().Sub(h.commit.Time) > rs.Age, fork == h.hash
	if h.proposal, err = readProposal(rs.repo, h.hash, fork, commits); errors.Is(err, gitrepo.ErrTooLarge) {
		h.failed = "it changes more files than can be read"
		return nil
	}
	return err
}

// waits reports whether the head is to be looked at, now and then.
func (h *head) waits() bool { return h.proposal != nil && !h.old && !h.merged }

// candidates is how many images the head would release.
func (h *head) candidates() (n int) {
	for _, p := range h.report.Predictions {
		if p.Candidate != nil {
			n++
		}
	}
	return n
}

// match says of releases which review they came of, and whether they are what was reviewed.
func (rs *reviews) match(made []madeRelease) {
	for _, r := range made {
		for _, h := range slices.Concat(rs.newest(), rs.gone) {
			i := slices.IndexFunc(h.report.Predictions, func(p review.Prediction) bool {
				c := p.Candidate
				return p.Name == r.name && c != nil && c.Image.Reference == r.Image.Reference && c.Upgrade.Equal(r.Upgrade)
			})
			if i < 0 {
				continue
			}
			done := review.Released{Name: r.name, Version: r.Version, Digest: r.Digest}
			if reviewed := h.report.Predictions[i].Candidate.Digest; reviewed != r.Digest {
				done.Reviewed = reviewed
				rs.log.Warn("released with another digest than was reviewed", "image", r.name, "version", r.Version.String(),
					"reason", release.DigestChangedSinceReview, "review", h.number, "reviewed", reviewed, "released", r.Digest)
			}
			h.done = append(h.done, done)
			break
		}
	}
}

// look predicts what merging would do, of every head that something new is about or that is due, a few at a time.
func (rs *reviews) look(ctx context.Context) error {
	var due []*head
	for _, h := range rs.newest() {
		if h.waits() && !h.due.After(rs.now()) {
			due = append(due, h)
		}
	}
	for part := range slices.Chunk(due, predictedTogether) {
		group, ctx := errgroup.WithContext(ctx)
		for _, h := range part {
			group.Go(func() error { return rs.predict(ctx, h) })
		}
		err := group.Wait()
		rs.publish()
		if err != nil {
			return err
		}
	}
	return nil
}

func (rs *reviews) predict(ctx context.Context, h *head) error {
	report, change := rs.base.judge(h.proposal)
	if len(rs.base.policy.problems) == 0 {
		predictor := Predictor{Registry: rs.registry, Statuses: rs.base.statuses, Pending: rs.base.pending, Change: change, Now: rs.now()}
		if err := predictor.Predict(ctx, &report); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err() // what it was told then is that it was told to stop
	}
	for i := range report.Predictions {
		p := &report.Predictions[i]
		if p.Project != "" {
			ref := p.Reference
			if ref == "" { // it is private
				ref = p.Candidate.Image.Reference.String()
			}
			p.ProjectLink = review.ProjectURL(rs.base.policy.DebugProjects[p.Project], p.Name, h.number, ref)
		}
	}
	h.report, h.looked = report.Report, rs.now()
	if h.due = h.looked.Add(spread(rs.Interval)); report.State() == review.Error {
		h.due = h.looked.Add(min(pause(h.tries), rs.Interval))
		h.tries++
	}
	return nil
}

// publish makes what is known now what pages show and what the forge is told.
func (rs *reviews) publish() {
	list, wanted := []review.Review{}, []post{}
	counts := map[review.State]int{}
	same := rs.sameNumbers()
	for _, h := range rs.newest() {
		if h.failed == "" && (!h.waits() || h.proposal.empty()) {
			continue
		}
		r := rs.reviewOf(h)
		r.Warnings = append(slices.Clone(r.Warnings), same[h.number]...)
		counts[r.State]++
		list = append(list, r)
		if h.open {
			wanted = append(wanted, rs.postOf(r))
		}
	}
	rs.metrics.reviewsAre(counts)
	for _, h := range slices.Concat(rs.newest(), rs.gone) {
		if h.merged && h.candidates() > 0 || len(h.done) > 0 {
			r := rs.reviewOf(h)
			r.Merged = true
			list = append(list, r)
			if h.open && len(h.done) > 0 { // until then what was said of it holds
				wanted = append(wanted, rs.postOf(r))
			}
		}
	}
	rs.shown.Store(&list)
	if rs.posts != nil {
		rs.posts.want(wanted)
	}
}

// postOf is what the forge is to show of a review.
func (rs *reviews) postOf(r review.Review) post {
	var link string
	if rs.Page != "" {
		link, _ = url.JoinPath(rs.Page, "reviews", strconv.Itoa(r.Number)) // it was parsed when the daemon started
	}
	return post{
		number: r.Number, head: r.Head, merged: r.Merged,
		status: review.Status{State: r.State, Summary: r.Summary, Link: link}, comment: r.Comment(link),
	}
}

// reviewOf is what is said of a head now.
func (rs *reviews) reviewOf(h *head) review.Review {
	r := review.Review{
		Number: h.number, Ref: h.ref, Head: h.hash.String(), Subject: Plain(subjectOf(h.commit.Message)), Author: Plain(h.commit.Author),
		Time: h.commit.Time.UTC(), Report: h.report, Looked: h.looked, Released: h.done,
	}
	switch {
	case h.failed != "":
		r.State, r.Summary, r.Report = review.Failure, "cannot be read", notRead(h.failed)
	case h.looked.IsZero():
		r.State, r.Summary = review.Pending, "is being looked at"
	case len(rs.base.policy.problems) > 0:
		r.State, r.Summary = review.Error, string(release.InvalidPolicy)+" on the base"
	case h.proposal.unread > 0 && h.report.State() == review.Success:
		r.State, r.Summary = review.Error, "too many specs to look at all of them"
	default:
		r.State, r.Summary = h.report.State(), h.report.Summary()
	}
	return r
}

func subjectOf(message string) string {
	subject, _, _ := strings.Cut(message, "\n")
	return subject
}

// sameNumbers warns of pull requests that would get the same number for an image: who merges later gets another.
func (rs *reviews) sameNumbers() map[int][]schema.Problem {
	type number struct {
		name    string
		version release.Version
	}
	byNumber := map[number][]*head{}
	for _, h := range rs.newest() {
		for _, p := range h.report.Predictions {
			if p.Version != nil && h.waits() {
				n := number{p.Name, *p.Version}
				byNumber[n] = append(byNumber[n], h)
			}
		}
	}
	warnings := map[int][]schema.Problem{}
	for n, heads := range byNumber {
		for _, h := range heads {
			var others []string
			for _, other := range heads {
				if other != h && len(others) < 5 {
					others = append(others, strconv.Itoa(other.number))
				}
			}
			if len(others) == 0 {
				continue
			}
			i := slices.IndexFunc(h.report.Predictions, func(p review.Prediction) bool { return p.Name == n.name })
			p := h.report.Predictions[i]
			warnings[h.number] = append(warnings[h.number], schema.Problem{Path: p.Path, Line: p.Line, Column: p.Column,
				Message: fmt.Sprintf("%s %s is also what pull request %s would become", n.name, n.version, strings.Join(others, ", ")),
				Hint:    "numbers are given in the order of the merges, so the later one gets the next"})
		}
	}
	for _, list := range warnings {
		schema.SortProblems(list)
	}
	return warnings
}

// Reviews are the pull requests as they were seen last: the open ones, the newest first, and then those that were merged.
func (d *Daemon) Reviews() []review.Review {
	if d.reviews == nil {
		return nil
	}
	return *d.reviews.shown.Load()
}

// noticeHeads tells the reviews where heads have moved.
func (d *Daemon) noticeHeads(found gitrepo.Refs) {
	delete(found, gitrepo.BranchRef(d.cfg.Branch))
	delete(found, gitrepo.BranchRef(d.cfg.StatusBranch))
	if d.reviews != nil && !maps.Equal(found, d.heads) {
		d.heads = found
		d.reviews.tell(func(n *news) { n.moved = true })
	}
}

// reviewedOn is what heads were reviewed against last.
type reviewedOn struct{ commit, status, policy gitrepo.Hash }

// noticeBase tells the reviews what they would be merged into, where that is another since the last good pass.
func (d *Daemon) noticeBase() {
	if d.reviews == nil || d.catalog == nil || d.statuses == nil || d.rewritten {
		return
	}
	now := reviewedOn{d.walked, d.seen.status, d.policy.hash}
	if now == d.reviewed {
		return
	}
	b := base{commit: d.walked, policy: d.policy, statuses: d.statuses, files: d.baseFiles}
	if d.reviewed.commit != d.walked {
		b.files = make(map[string]baseFile, len(d.catalog.files))
		for path, f := range d.catalog.files {
			b.files[path] = baseFile{f.name, f.hash}
		}
		d.baseFiles = b.files
	}
	// What is merged while releases are held is no news, and not written before there is some.
	b.pending = make(map[string]release.State, len(d.active))
	for name := range d.active {
		b.pending[name] = d.images[name].state
	}
	told := d.untold
	told.base, told.all = &b, told.all || d.reviewed.policy != now.policy
	d.reviewed, d.untold = now, news{}
	d.reviews.tell(func(n *news) { n.add(told) })
}

// add notes more news.
func (n *news) add(more news) {
	n.base, n.all = more.base, n.all || more.all
	n.released = append(n.released, more.released...)
	if n.written == nil {
		n.written = map[string]bool{}
	}
	maps.Copy(n.written, more.written)
	for name := range more.base.pending {
		n.written[name] = true
	}
}

// noticeWritten keeps for the reviews of which images something else is written now, and what was released. They are told together
// with the statuses that say so.
func (d *Daemon) noticeWritten(p plan) {
	if d.reviews == nil {
		return
	}
	if d.untold.written == nil {
		d.untold.written = map[string]bool{}
	}
	for _, image := range p.images {
		d.untold.written[image.next.Name] = true
		for _, r := range image.made {
			d.untold.released = append(d.untold.released, madeRelease{image.next.Name, r})
		}
	}
}
