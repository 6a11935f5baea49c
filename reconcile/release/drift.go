package release

import (
	"cmp"
	"slices"
	"time"
)

// Drift is what became of a release in its registry: its tag or its digest is not what it was. Channels go on serving the
// release as it is recorded; a drift is for people to know.
type Drift struct {
	Version Version   `json:"version"`
	Finding Reason    `json:"finding"` // ContentMoved, IndexMoved, TagGone or DigestMissing
	Since   time.Time `json:"since"`   // when it was first seen
}

// What an audit of a release can find, with the type of condition that says so, the least grave first.
var drifts = []struct {
	finding   Reason
	condition string
}{
	{IndexMoved, "TagMoved"}, {ContentMoved, "TagMoved"}, {TagGone, "TagGone"}, {DigestMissing, "DigestMissing"},
}

// Findings lists what an audit can find.
func Findings() []Reason { return []Reason{IndexMoved, ContentMoved, TagGone, DigestMissing} }

// Found are the findings that are recorded for a version.
func (s State) Found(v Version) []Reason {
	var found []Reason
	for _, d := range s.Drifts {
		if d.Version == v {
			found = append(found, d.Finding)
		}
	}
	return found
}

// Audited takes over what an audit found of a version. That a tag moved stays said of a release, also where the tag moves back:
// tags that move do so often, and once is enough to know.
func (s State) Audited(v Version, found []Reason, now time.Time) State {
	kept := slices.DeleteFunc(slices.Clone(s.Drifts), func(d Drift) bool {
		if d.Version != v || slices.Contains(found, d.Finding) {
			return false
		}
		return d.Finding != ContentMoved && (d.Finding != IndexMoved || slices.Contains(found, ContentMoved))
	})
	s.Drifts = kept
	for _, finding := range found {
		known := s.Found(v)
		if !slices.Contains(known, finding) && !(finding == IndexMoved && slices.Contains(known, ContentMoved)) {
			s.Drifts = append(s.Drifts, Drift{v, finding, now})
		}
	}
	slices.SortStableFunc(s.Drifts, func(a, b Drift) int {
		return cmp.Or(a.Version.Compare(b.Version), cmp.Compare(a.Finding, b.Finding))
	})
	return s
}

// served are the drifts of what channels serve; of other releases nobody needs to know.
func (s State) served() (drifts []Drift) {
	channels := s.Channels()
	for _, d := range s.Drifts {
		if slices.ContainsFunc(channels, func(c Channel) bool { return c.Version == d.Version }) {
			drifts = append(drifts, d)
		}
	}
	return drifts
}

// driftConditions are one condition for each kind of drift, while any release has it, with the gravest finding as its reason.
func driftConditions(before []Condition, found []Drift) (conditions []Condition) {
	for _, kind := range drifts {
		i := slices.IndexFunc(found, func(d Drift) bool { return d.Finding == kind.finding })
		if i < 0 {
			continue
		}
		c := Condition{kind.condition, True, kind.finding, kind.finding.Message(), found[i].Since}
		for _, b := range before {
			if b.Type == c.Type && b.Reason == c.Reason {
				c = b
			}
		}
		conditions = slices.DeleteFunc(conditions, func(other Condition) bool { return other.Type == c.Type })
		conditions = append(conditions, c)
	}
	return conditions
}
