package reconcile

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/release"
)

// audits looks again, now and then, at every release that a channel serves: is its digest still there, does its tag still name it?
// What is found is metrics and log at once, and is written once it has lasted; nothing else follows from it.
//
// Only what is written survives a restart. The rest is found out again within one interval.
type audits struct {
	interval, settle time.Duration

	mu      sync.Mutex
	answers []auditAnswer

	// The rest is the daemon's goroutine's alone.
	root    gitrepo.Hash // of the status files that the watches were made from
	watches map[auditKey]*watch
}

type auditKey struct {
	name    string
	version release.Version
}

// watch is one release that is looked at.
type watch struct {
	due   time.Time
	asked bool // on its way
	// found is what the last answer was, and differs since when answers have not been what is recorded; zero while they are.
	found   []release.Reason
	known   bool
	differs time.Time
}

type auditAnswer struct {
	key   auditKey
	found []release.Reason
	err   error
}

func newAudits(interval, settle time.Duration) *audits {
	return &audits{interval: interval, settle: settle, watches: map[auditKey]*watch{}}
}

// audit takes in what came since the last pass, and asks what is due. Registries are asked in the background, in the same lanes
// as looks, spread over the interval by chance. What is to be written is written by the next pass.
func (d *Daemon) audit(ctx context.Context) error {
	a := d.audits
	if a.interval <= 0 || d.statuses == nil {
		return nil
	}
	now := d.cfg.Now()
	if a.root != d.seen.root {
		d.watch(now)
	}
	d.takeAudits(now)
	for key, w := range a.watches {
		if !w.asked && !w.due.After(now) {
			if err := d.askAudit(ctx, key, w, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// watch brings the watches in line with what channels serve.
func (d *Daemon) watch(now time.Time) {
	a := d.audits
	served := make(map[auditKey]*watch, len(a.watches))
	for name, i := range d.images {
		for _, c := range i.written.Channels {
			key := auditKey{name, c.Version}
			if served[key] != nil {
				continue
			}
			if served[key] = a.watches[key]; served[key] == nil {
				served[key] = &watch{due: now.Add(time.Duration(rand.Float64() * float64(a.interval)))}
			}
		}
	}
	a.watches, a.root = served, d.seen.root
}

// askAudit starts one look, unless the policy no longer lets it.
func (d *Daemon) askAudit(ctx context.Context, key auditKey, w *watch, now time.Time) error {
	a := d.audits
	w.due = now.Add(a.interval*9/10 + time.Duration(rand.Float64()*float64(a.interval/5)))
	record, found, err := d.statuses.Record(key.name, key.version)
	if err != nil || !found {
		return err
	}
	image := record.Image
	entry, reason := d.policy.Judge(image)
	if reason != "" && !(reason == release.InvalidSpec && image.Digest == "") { // a digest may be required by now
		return nil
	}
	image.Reference = image.Pin(record.Digest)
	query := queryOf(release.Look{Name: key.name, Image: image, Registry: entry}, d.policy.Policy)
	var platforms []release.Digest
	for _, p := range record.Platforms {
		platforms = append(platforms, p.Digest)
	}
	w.asked = true
	d.looks.lanes.Go(image.Registry, func() {
		answer := auditAnswer{key: key}
		answer.found, answer.err = d.registry.Audit(ctx, query, platforms)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.answers = append(a.answers, answer)
	})
	return nil
}

// takeAudits takes in the answers that came. One that could not be given says nothing.
func (d *Daemon) takeAudits(now time.Time) {
	a := d.audits
	a.mu.Lock()
	answers := a.answers
	a.answers = nil
	a.mu.Unlock()
	for _, answer := range answers {
		w, i := a.watches[answer.key], d.images[answer.key.name]
		if w == nil || i == nil {
			continue
		}
		w.asked = false
		refusal := registry.AsRefusal(answer.err)
		d.metrics.audited(answer.found, refusal != nil)
		if refusal != nil {
			d.log.Debug("audit without an answer", "image", answer.key.name, "version", answer.key.version.String(), "error", Plain(refusal.Error()))
			continue
		}
		d.noticeDrift(answer.key, w, i, answer.found, now)
	}
	if len(answers) > 0 {
		d.countDrifts()
	}
}

// noticeDrift logs what is new, and records it in the image once it has lasted.
func (d *Daemon) noticeDrift(key auditKey, w *watch, i *image, found []release.Reason, now time.Time) {
	before := w.found
	if !w.known {
		before = i.state.Found(key.version)
	}
	log := d.log.With("image", key.name, "version", key.version.String())
	for _, finding := range found {
		if !slices.Contains(before, finding) {
			log.Warn("a released image drifted", "finding", finding, "message", finding.Message())
		}
	}
	for _, finding := range before {
		if !slices.Contains(found, finding) {
			log.Info("a drift is gone", "finding", finding)
		}
	}
	w.found, w.known = found, true
	next := i.state.Audited(key.version, found, now.UTC().Truncate(time.Second))
	switch {
	case slices.Equal(next.Drifts, i.state.Drifts):
		w.differs = time.Time{}
	case d.audits.settle > 0 && w.differs.IsZero():
		w.differs = now
		w.due = now.Add(min(d.audits.settle, d.audits.interval))
	case now.Sub(w.differs) < d.audits.settle:
		w.due = w.differs.Add(min(d.audits.settle, d.audits.interval))
	default:
		w.differs = time.Time{}
		i.state = next
		d.active[key.name] = true
	}
}

// countDrifts brings the gauge up to date: what the last answers were, and of releases without one what is recorded.
func (d *Daemon) countDrifts() {
	counts := map[release.Reason]float64{}
	for key, w := range d.audits.watches {
		found := w.found
		if i := d.images[key.name]; !w.known && i != nil {
			found = i.state.Found(key.version)
		}
		for _, finding := range found {
			counts[finding]++
		}
	}
	for _, finding := range release.Findings() {
		d.metrics.drifts.WithLabelValues(string(finding)).Set(counts[finding])
	}
}
