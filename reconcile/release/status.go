package release

import (
	"slices"
	"time"
)

// ConditionStatus is True, False or Unknown, as Kubernetes has it.
type ConditionStatus string

// The three values of a condition.
const (
	True    ConditionStatus = "True"
	False   ConditionStatus = "False"
	Unknown ConditionStatus = "Unknown"
)

// Condition follows kstatus: Ready always; Reconciling and Stalled only while they hold, and so TagMoved, TagGone and
// DigestMissing, which say of a release that is served what became of it in its registry.
type Condition struct {
	Type    string          `json:"type"`
	Status  ConditionStatus `json:"status"`
	Reason  Reason          `json:"reason"`
	Message string          `json:"message"`
	Since   time.Time       `json:"lastTransitionTime"`
}

// IsDrift reports whether the condition is about a release in its registry and not about the image's requests.
func (c Condition) IsDrift() bool {
	return slices.ContainsFunc(drifts, func(d struct {
		finding   Reason
		condition string
	}) bool {
		return d.condition == c.Type
	})
}

// ImageStatus is the state of one image as images/<name>.yaml on the status branch holds it.
type ImageStatus struct {
	Conditions []Condition `json:"conditions"`
	Listed     bool        `json:"listed"`
	Channels   []Channel   `json:"channels,omitempty"`
	Changed    Commit      `json:"changed"` // the last commit that changed the spec
	Spec       *Spec       `json:"spec,omitempty"`
	Broken     string      `json:"broken,omitempty"` // the file that cannot be used, while that is so
	Problems   []string    `json:"problems,omitempty"`
	Requests   []Request   `json:"requests,omitempty"`
	Backlog    []Change    `json:"backlog,omitempty"`
	Drifts     []Drift     `json:"drifts,omitempty"` // of what channels serve
	Concluded  Reason      `json:"concluded,omitempty"`
}

// CatalogStatus is the state of the whole catalog as catalog.yaml on the status branch holds it.
type CatalogStatus struct {
	Conditions []Condition `json:"conditions"`
	// Observed is the first-parent commit up to which every change is in the statuses; empty for a catalog without commits.
	Observed string `json:"observed"`
	// Policy is true once a catalog.yaml was seen: from then on its absence is a mistake.
	Policy bool `json:"policy"`
	// Held is the commit whose deletions wait to be accepted, if any.
	Held     string    `json:"held,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is a file under images/ that stands for no image.
type Problem struct {
	Path    string `json:"path"`
	Reason  Reason `json:"reason"`
	Message string `json:"message"` // with its position
}

// Restore is the state that a status was written from. The releases are kept in files of their own.
func (f ImageStatus) Restore(name string, releases []Release) State {
	return State{
		Name: name, Listed: f.Listed, Changed: f.Changed, Spec: f.Spec, Broken: f.Broken, Problems: f.Problems,
		Requests: f.Requests, Backlog: f.Backlog, Releases: releases, Drifts: f.Drifts, Concluded: f.Concluded,
	}
}

// Reason is why the image stands where it stands: the newest thing that somebody should know.
func (s State) Reason(hold Reason) Reason {
	switch {
	case len(s.Problems) > 0:
		return InvalidSpec
	case !s.Listed:
		return Delisted
	case len(s.Requests) == 0 && s.Concluded != "":
		return s.Concluded
	case s.Spec.Suspend:
		return Suspended
	case hold != "":
		return hold
	}
	for _, r := range slices.Backward(s.Requests) {
		if r.Reason != "" {
			return r.Reason
		}
	}
	return Verifying
}

// Status is what is written about the state. Conditions keep what before says as long as neither their status nor their
// reason changes, and while a transient reason has not lasted, so that a status does not flicker: nothing of it is written
// before, and our own errors never are.
func (s State) Status(before ImageStatus, hold Reason, lasted bool, now time.Time) ImageStatus {
	firm := func(r Reason) bool {
		return r != Verifying && r.Kind() != Ours && (r.Kind() != Transient || lasted)
	}
	requests := slices.Clone(s.Requests)
	for i, r := range requests {
		if r.Reason != "" && !firm(r.Reason) {
			was := requestOf(before.Requests, r.ID)
			requests[i].Reason, requests[i].Verdict = was.Reason, was.Verdict
		}
	}
	status := ImageStatus{
		Conditions: before.Conditions, Listed: s.Listed, Channels: s.Channels(), Changed: s.Changed, Spec: s.Spec,
		Broken: s.Broken, Problems: s.Problems, Requests: requests, Backlog: s.Backlog, Drifts: s.served(), Concluded: s.Concluded,
	}
	switch reason := s.Reason(hold); {
	case firm(reason):
		status.Conditions = Conditions(before.Conditions, reason, now)
	case len(before.Conditions) == 0:
		status.Conditions = Conditions(nil, Verifying, now)
	default:
		status.Conditions = slices.DeleteFunc(slices.Clone(before.Conditions), Condition.IsDrift)
	}
	status.Conditions = append(status.Conditions, driftConditions(before.Conditions, status.Drifts)...)
	return status
}

// SameVerdicts reports whether two statuses say the same against the modes of their requests.
func (f ImageStatus) SameVerdicts(g ImageStatus) bool {
	return !slices.ContainsFunc(f.Requests, func(r Request) bool { return !r.Verdict.equal(requestOf(g.Requests, r.ID).Verdict) })
}

// requestOf is the request that a commit made, an empty one where there is none.
func requestOf(requests []Request, commit string) Request {
	i := slices.IndexFunc(requests, func(r Request) bool { return r.ID == commit })
	if i < 0 {
		return Request{}
	}
	return requests[i]
}

// Conditions follows kstatus: Ready says whether all is as the catalog wants it, Reconciling that it may become so by
// itself, Stalled that somebody has to do something. What a condition said before stays while its status and reason do.
func Conditions(before []Condition, reason Reason, now time.Time) []Condition {
	ready, also := False, ""
	switch kind := reason.Kind(); {
	case reason == Released, reason == AlreadyReleased, reason == Delisted, reason == Ready:
		ready = True
	case reason == Suspended:
	case reason == Verifying:
		ready, also = Unknown, "Reconciling"
	case reason == InvalidPolicy:
		ready, also = Unknown, "Stalled"
	case kind == Transient:
		ready, also = Unknown, "Reconciling"
	case kind == Retried:
		also = "Reconciling"
	default:
		also = "Stalled"
	}
	after := []Condition{{"Ready", ready, reason, reason.Message(), now}}
	if also != "" {
		after = append(after, Condition{also, True, reason, reason.Message(), now})
	}
	for i, c := range after {
		for _, b := range before {
			if b.Type == c.Type && b.Status == c.Status && b.Reason == c.Reason {
				after[i] = b
			}
		}
	}
	return after
}
