package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/web"
)

// Daemon keeps one catalog. It is used by one goroutine; Ready, Hurry and Recheck may be called from others.
type Daemon struct {
	cfg      Config
	log      *slog.Logger
	repo     *gitrepo.Repo
	registry *registry.Client
	metrics  *metrics
	looks    *looks
	audits   *audits
	reviews  *reviews // nil where none are wanted
	hurry    chan string
	good     atomic.Int64 // when the last good pass ended, in Unix nanoseconds
	store    atomic.Pointer[web.Store]

	// What Git holds, as far as it was read. All of it can be read again at any time, and is when somebody else writes.
	seen      seen
	statuses  *Statuses
	read      bool                  // the status branch was read
	written   release.CatalogStatus // as on the status branch
	images    map[string]*image     // by name
	active    map[string]bool       // the names of those that wait for something, or are not written as they are
	catalog   *catalog              // at walked; nil where it must be read again
	walked    gitrepo.Hash          // the commit up to which changes were given to the images
	ahead     int                   // first-parent commits between written.Observed and walked
	held      string                // the commit whose deletions wait to be accepted
	policy    policy
	rewritten bool          // the branch no longer holds what was observed
	trusted   *gitrepo.Hash // the tree of status files that a daemon wrote, where they are beside the catalog

	// What the reviews were told of last, and what they are to be told with the next good pass.
	untold    news
	heads     gitrepo.Refs
	reviewed  reviewedOn
	baseFiles map[string]baseFile
}

// refs are the two branches that matter; zero where there is none.
type refs struct{ catalog, status gitrepo.Hash }

// seen is what was read of them last, and the tree of the status files.
type seen struct {
	refs
	root gitrepo.Hash
}

// image is one image: what is known, and what the status branch says of it.
type image struct {
	state   release.State
	written release.ImageStatus
	hash    gitrepo.Hash // of the file that written was read from; zero for one not read
	loaded  bool         // the state has its releases
	// promised is what some of these promised, as far as something was compared with them; nil for one without a contract.
	promised map[release.Version]*contract.Contract

	reason release.Reason // as of the last pass
	since  time.Time      // when the reason was first seen
}

// open reports whether the image waits for anything.
func (i *image) open() bool { return len(i.state.Requests) > 0 || len(i.state.Backlog) > 0 }

// New opens the catalog's repository without touching the network. The context is that of the looks at registries: they are
// cut short when it ends.
func New(ctx context.Context, cfg Config) (*Daemon, error) {
	d := &Daemon{cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Version), hurry: make(chan string, 16), images: map[string]*image{}}
	options := cfg.Git
	options.Observe = d.metrics.git
	repo, err := gitrepo.Open(options)
	if err != nil {
		return nil, err
	}
	d.repo = repo
	registries := cfg.Registry
	registries.Log = cfg.Log
	d.registry = registry.New(registries)
	d.looks = newLooks(ctx, d.registry.Pull, cfg.Now)
	if cfg.Reviews.Forge != nil {
		d.looks.approvals = &approvals{forge: cfg.Reviews.Forge, log: cfg.Log, calls: map[string]*approvalCall{}}
	}
	d.audits = newAudits(cfg.AuditInterval, cfg.Settle)
	if len(cfg.Reviews.Refs) > 0 {
		if d.reviews, err = newReviews(cfg, d.registry, d.metrics); err != nil {
			return nil, errors.Join(err, repo.Close())
		}
	}
	return d, nil
}

// Close waits for the looks on their way, whose context must have ended, and removes what was cached of the repository.
func (d *Daemon) Close() error {
	d.looks.Wait()
	err := d.repo.Close()
	if d.reviews != nil {
		err = errors.Join(err, d.reviews.repo.Close())
	}
	return err
}

// Run passes over the catalog until the context ends: at every interval, when registries have answered, when a look is due
// again, and when somebody hurries it. What is being written when the context ends is finished.
//
// Errors of a pass are logged and the next pass tries again, since all of them may be gone by then; only what no later pass
// can heal ends the daemon.
func (d *Daemon) Run(ctx context.Context) error {
	if d.reviews != nil {
		var reviewing sync.WaitGroup
		reviewing.Go(func() { d.reviews.run(ctx) })
		defer reviewing.Wait()
	}
	for {
		err := d.Pass(ctx)
		pause := d.cfg.Interval
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, gitrepo.ErrMoved):
			pause = 0 // somebody else wrote first: plan again from what is there now
		case err != nil:
			d.log.Error("pass failed", "error", err)
		}
		if err := d.audit(ctx); err != nil {
			d.log.Error("audit failed", "error", err)
		}
		if next := d.looks.AskAgain(); !next.IsZero() {
			pause = min(pause, max(0, next.Sub(d.cfg.Now())))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-d.looks.came:
			d.looks.Gather(ctx)
		case name := <-d.hurry:
			d.registry.Hurry()
			d.looks.Hurry(name)
			d.reviews.tell(func(n *news) { n.hurried = append(n.hurried, name) })
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
		d.looks.AskAgain()
	}
}

// Once passes over the catalog until every question that it raises is answered.
func (d *Daemon) Once(ctx context.Context) error {
	for {
		err := d.Pass(ctx)
		switch {
		case errors.Is(err, gitrepo.ErrMoved):
			continue
		case err != nil:
			return err
		case d.looks.Idle():
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.looks.came:
			d.looks.Gather(ctx)
		}
	}
}

// Pass looks at the catalog once, and is the whole story: what was written, what was merged since, what follows from it, and
// that is written back as one commit on exactly what was read. Without news it writes nothing.
//
// It never waits for a registry. What it needs to know of one is asked when all that is known is written, and a later pass
// goes on with the answer.
func (d *Daemon) Pass(ctx context.Context) (err error) {
	defer func() { d.passed(err) }()

	now, err := d.listRefs(ctx)
	if err != nil {
		return err
	}
	if err := d.readStatus(ctx, now); err != nil {
		return err
	}
	if err := d.observe(ctx, now); err != nil {
		return err
	}
	plan, err := d.plan()
	if err != nil {
		return err
	}
	if err := d.record(ctx, plan); err != nil {
		return err
	}
	d.ask(plan)
	return nil
}

// listRefs asks where the branches are. This is all that a quiet pass costs.
func (d *Daemon) listRefs(ctx context.Context) (refs, error) {
	found, err := d.repo.Refs(ctx, append([]string{d.cfg.Branch, d.cfg.StatusBranch}, d.cfg.Reviews.Refs...)...)
	if err != nil {
		return refs{}, err
	}
	now := refs{found.Branch(d.cfg.Branch), found.Branch(d.cfg.StatusBranch)}
	d.noticeHeads(found)
	if now.catalog.IsZero() {
		return refs{}, fmt.Errorf("branch %q is not in %s; push it, or name another with --branch", d.cfg.Branch, d.repo)
	}
	return now, nil
}

func (d *Daemon) passed(err error) {
	if !errors.Is(err, gitrepo.ErrMoved) {
		d.metrics.passes.WithLabelValues(result(err)).Inc()
	}
	d.metrics.looksPending.Set(float64(d.looks.Pending()))
	if err == nil {
		d.publish()
		d.noticeBase()
		now := d.cfg.Now()
		d.good.Store(now.UnixNano())
		d.metrics.lastSuccess.Set(float64(now.UnixMilli()) / 1000)
	}
}

// Hurry makes the daemon look at once: at the repository, and at every image that was refused.
func (d *Daemon) Hurry() { d.Recheck("") }

// Recheck makes the daemon look at once at the repository, and at one image where that was refused; an empty name is all.
func (d *Daemon) Recheck(name string) {
	select {
	case d.hurry <- name:
	default: // so many wait that it is all of them now
		select {
		case <-d.hurry:
		default:
		}
		select {
		case d.hurry <- "":
		default:
		}
	}
}

// Ready reports whether a pass was good within the last three intervals.
func (d *Daemon) Ready() bool {
	good := d.good.Load()
	return good != 0 && d.cfg.Now().Sub(time.Unix(0, good)) <= 3*d.cfg.Interval
}

// Metrics are the daemon's and its registry client's, and those of images where they are wanted.
func (d *Daemon) Metrics() []prometheus.Collector {
	all := append(d.metrics.collectors(), d.registry.Metrics()...)
	if d.cfg.Reviews.Forge != nil {
		all = append(all, d.cfg.Reviews.Forge.Collectors()...)
	}
	if d.cfg.MetricsPerImage {
		all = append(all, imageMetrics{d.Store})
	}
	return all
}

// String is the repository's URL, without a password.
func (d *Daemon) String() string { return d.repo.String() }
