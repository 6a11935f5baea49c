package reconcile

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
)

// observeAtLeastEvery is after how many first-parent commits the observed one is written although nothing else is news.
const observeAtLeastEvery = 500

// maxProblems bounds the files that the catalog's status lists.
const maxProblems = 100

// plan is what follows from everything known.
type plan struct {
	time    time.Time
	images  []planned // by name; those that are active
	catalog release.CatalogStatus
	news    bool // something that people or consumers should see
}

// planned is what follows for one image.
type planned struct {
	*image
	next   release.State
	status release.ImageStatus
	made   []release.Release
	look   *release.Look         // what must be known to go on
	now    release.Reason        // why it stands where it will stand
	checks map[string]comparison // what was found of the declared modes, by the request's commit
}

// plan works out what follows for each image that waits for something, and for the catalog. It changes nothing.
func (d *Daemon) plan() (plan, error) {
	d.looks.Seen()
	now := d.cfg.Now().UTC().Truncate(time.Second)
	p := plan{time: now}
	hold := d.hold()
	world := release.World{Policy: d.policy.Policy, Hold: hold, Look: d.looks.Answer, Now: now}
	if hold == release.HistoryRewritten {
		hold = "" // that is the catalog's condition; images stay as they are
	}
	for _, name := range slices.Sorted(maps.Keys(d.active)) {
		i := d.images[name]
		if err := d.loadReleases(i); err != nil {
			return plan{}, err
		}
		if i.promised == nil {
			i.promised = map[release.Version]*contract.Contract{}
		}
		checker := &checker{
			policy: d.policy.Policy, statuses: d.statuses, promised: i.promised, made: map[string]comparison{},
			found: func(c release.Check) registry.Image { return d.looks.Image(c.Name, c.Commit, c.Image) },
		}
		world.Check = checker.check
		n := planned{image: i, checks: checker.made}
		n.next, n.made, n.look = i.state.Advance(world)
		if checker.failed != nil {
			return plan{}, checker.failed
		}
		n.now = n.next.Reason(hold)
		lasted := n.now == i.reason && now.Sub(i.since) >= d.cfg.Settle
		n.status = n.next.Status(i.written, hold, lasted, now)
		p.images = append(p.images, n)
		p.news = p.news || n.isNews()
	}
	p.catalog = d.catalogStatus(now)
	if d.seen.root.IsZero() {
		p.news = p.news || !p.asks() // the first commit is made in any case, but not before there is something to say
	} else {
		p.news = p.news || d.ahead >= observeAtLeastEvery || !reflect.DeepEqual(withoutObserved(p.catalog), withoutObserved(d.written))
	}
	return p, nil
}

// isNews reports whether the status says something else than the one written, beyond what only the daemon needs. While a look
// is on its way only what consumers get is: the rest is about to change again.
func (n planned) isNews() bool {
	if len(n.made) > 0 || !reflect.DeepEqual(n.status.Channels, n.written.Channels) {
		return true
	}
	return n.look == nil &&
		(!reflect.DeepEqual(n.status.Conditions, n.written.Conditions) || !slices.Equal(n.status.Problems, n.written.Problems) ||
			!n.status.SameVerdicts(n.written) || n.closes())
}

// closes reports whether a request that is written as open no longer is: it was superseded or dropped, which is final, so that a
// restart must not take it up again.
func (n planned) closes() bool {
	return slices.ContainsFunc(n.written.Requests, func(w release.Request) bool {
		return !slices.ContainsFunc(n.next.Requests, func(r release.Request) bool { return r.ID == w.ID })
	})
}

// dirty reports whether the status file would change at all.
func (n planned) dirty() bool { return !reflect.DeepEqual(n.status, n.written) }

// asks reports whether the plan leaves anything to be found out before it is complete.
func (p plan) asks() bool {
	return slices.ContainsFunc(p.images, func(n planned) bool { return n.look != nil })
}

func withoutObserved(s release.CatalogStatus) release.CatalogStatus {
	s.Observed = ""
	return s
}

// catalogStatus is what is to be said of the whole catalog.
func (d *Daemon) catalogStatus(now time.Time) release.CatalogStatus {
	status := release.CatalogStatus{
		Observed: d.written.Observed, Policy: d.written.Policy || d.policy.present, Held: d.held, Problems: d.written.Problems,
	}
	if !d.walked.IsZero() {
		status.Observed = d.walked.String()
	}
	if !d.rewritten {
		status.Problems = d.catalog.problems()
		for _, text := range d.policy.problems {
			status.Problems = append(status.Problems, release.Problem{Path: catalogFile, Reason: release.InvalidPolicy, Message: text})
		}
		status.Problems = status.Problems[:min(len(status.Problems), maxProblems)]
	}
	reason := d.hold()
	switch {
	case reason != "":
	case d.held != "":
		reason = release.DelistingHeld
	case len(status.Problems) > 0:
		reason = release.SpecsInvalid
	default:
		reason = release.Ready
	}
	d.metrics.stall(reason)
	status.Conditions = release.Conditions(d.written.Conditions, reason, now)
	return status
}

// ask starts the looks that the plan needs to go on.
func (d *Daemon) ask(p plan) {
	for _, n := range p.images {
		if n.look == nil {
			continue
		}
		d.looks.Ask(*n.look, queryOf(*n.look, d.policy.Policy))
	}
}

// queryOf is what a registry is asked for a look, under a policy.
func queryOf(look release.Look, policy release.Policy) registry.Query {
	return registry.Query{
		Name:     look.Name,
		Image:    look.Image,
		Registry: look.Registry,
		Listed:   policy.Registries != nil,
		Required: policy.Required(look.Image),
		MaxSize:  policy.MaxImageSize,
		Content:  policy.Content,
	}
}
