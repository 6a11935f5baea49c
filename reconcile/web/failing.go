package web

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"tidewaiter/reconcile/release"
)

// Bounds of the page for operators.
const (
	maxFailing = 20  // images shown for one reason; the list has all of them
	maxFiles   = 100 // files that cannot be used
)

// group is what there is to see to for one reason.
type group struct {
	Reason release.Reason
	Status release.ConditionStatus
	Again  string   // when it is looked at again
	Total  int      // images
	Images []waiter // the first of them
}

// waiter is an image that something has to be done for, or waits for something.
type waiter struct {
	Name     string
	Since    time.Time
	By       string          // who changed its spec last, as Git knows it
	Versions []release.Drift // what became of which release
}

// again says when an image that is refused is looked at again.
var again = map[release.Kind]string{
	release.Waits:     "looked at again with a commit or a change of the policy",
	release.Retried:   "looked at again by itself with growing pauses up to an hour, and at once by SIGHUP or tidewaiter recheck",
	release.Transient: "looked at again by itself",
	release.Ours:      "looked at again by itself",
}

// failing shows operators what is not as it should be, and what to do about it.
func (p pages) failing(w http.ResponseWriter, r *http.Request, s *Store) {
	ready := p.ready()
	if version := s.Version + "-" + p.build; ready && fresh(w, r, version) {
		return
	}
	data := struct {
		frame
		Stale             bool
		Catalog           []release.Condition
		Held              string
		Files             []release.Problem
		MoreFiles         int
		Refused, Drifting []group
		Verifying         int
	}{frame: frame{Title: "What fails now", Here: "failing", Version: s.Version}, Stale: !ready, Held: s.Catalog.Held}
	for _, c := range s.Catalog.Conditions {
		if c.Type == "Ready" && c.Status != release.True {
			data.Catalog = append(data.Catalog, c)
		}
	}
	shown := min(len(s.Catalog.Problems), maxFiles)
	data.Files, data.MoreFiles = s.Catalog.Problems[:shown], len(s.Catalog.Problems)-shown
	data.Refused, data.Verifying = refused(s.Images)
	data.Drifting = drifting(s.Images)
	p.show(w, http.StatusOK, "failing", data)
}

// refused groups the images that are not released by their reasons, the most frequent first, and counts those that are on their way.
func refused(images []Image) (groups []group, verifying int) {
	found := map[release.Reason]*group{}
	for n := range images {
		i := &images[n]
		c := i.Ready()
		switch {
		case c.Status == release.True:
			continue
		case c.Reason == release.Verifying:
			verifying++
			continue
		case found[c.Reason] == nil:
			found[c.Reason] = &group{Reason: c.Reason, Status: c.Status, Again: again[c.Reason.Kind()]}
		}
		found[c.Reason].add(waiter{Name: i.Name, Since: c.Since, By: i.Status.Changed.Committer})
	}
	return sorted(found), verifying
}

// drifting groups the images whose releases are not what they were by what was found of them.
func drifting(images []Image) []group {
	found := map[release.Reason]*group{}
	for n := range images {
		i := &images[n]
		for _, c := range i.Status.Conditions {
			if !c.IsDrift() {
				continue
			}
			if found[c.Reason] == nil {
				found[c.Reason] = &group{Reason: c.Reason, Status: release.Unknown}
			}
			w := waiter{Name: i.Name, Since: c.Since}
			for _, d := range i.Status.Drifts {
				if d.Finding == c.Reason {
					w.Versions = append(w.Versions, d)
				}
			}
			found[c.Reason].add(w)
		}
	}
	if g := found[release.DigestMissing]; g != nil {
		g.Status = release.False // pulls fail
	}
	return sorted(found)
}

func (g *group) add(w waiter) {
	g.Total++
	if len(g.Images) < maxFailing {
		g.Images = append(g.Images, w)
	}
}

// More is how many images there are that are not shown.
func (g group) More() int { return g.Total - len(g.Images) }

func sorted(found map[release.Reason]*group) []group {
	var groups []group
	for _, g := range found {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b group) int { return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Reason, b.Reason)) })
	return groups
}
