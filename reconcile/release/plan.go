package release

import (
	"slices"
	"time"
)

// World is what the planner knows of everything outside an image's own history.
type World struct {
	Policy Policy
	// Hold is why no image may be released now: Suspended, InvalidPolicy or what stalls the catalog; empty where nothing does.
	Hold Reason
	// Look answers whether a request's image can be pulled; false where nobody knows yet. Within one call of Advance it must
	// give one answer to one question.
	Look func(Look) (Answer, bool)
	// Check says whether the mode that an image would be released with is true: UpgradeContradicted or UpgradeUnknown with what
	// speaks against it, or no reason.
	Check func(Check) (Reason, *Verdict)
	// Now is the time that releases are stamped with.
	Now time.Time
}

// Look is a question to the world: can the image of this request be pulled, and what is it?
type Look struct {
	Name     string // of the image in the catalog
	Commit   string // of the request
	Image    Image
	Registry Registry // the policy's entry for it
}

// Answer is what a look found: the digest, or the reason why there is none.
type Answer struct {
	Digest Digest
	Reason Reason
}

// Observe notes changes, in first-parent order, without drawing any conclusion yet.
func (s State) Observe(changes ...Change) State {
	s.Backlog = append(slices.Clip(s.Backlog), changes...)
	return s
}

// Standing is the file that stands for the image after every change seen, those of the backlog included, and whether that can
// be used. It is empty where no single file does; there is none at all where the image is delisted, or never was there.
func (s State) Standing() (path string, usable, there bool) {
	last := Change{Broken: s.Broken, Problems: s.Problems}
	if s.Listed && len(s.Problems) == 0 {
		last.Spec = s.Spec
	}
	if len(s.Backlog) > 0 {
		last = s.Backlog[len(s.Backlog)-1]
	}
	if last.Spec != nil {
		return last.Spec.Path, true, true
	}
	return last.Broken, false, len(last.Problems) > 0
}

// Advance takes an image as far as the answers known allow: every change is taken into account once all requests before it
// are released or refused, exactly as if the daemon had looked after each commit. So the outcome does not depend on when or
// how often it looked. It returns the state reached, the releases made on the way in their order, and the look it needs
// to go on, nil where it is through.
func (s State) Advance(w World) (State, []Release, *Look) {
	s.Requests, s.Releases = slices.Clone(s.Requests), slices.Clip(s.Releases)
	var made []Release
	for {
		released, look := s.settle(w)
		made = append(made, released...)
		if look != nil || len(s.Backlog) == 0 {
			return s, made, look
		}
		s.apply(s.Backlog[0])
		s.Backlog = s.Backlog[1:]
	}
}

// apply takes one change into account. A valid spec makes a request when it appears, again too, and when its normalised
// reference or its upgrade block differ from the last valid one's. Credentials and platforms apply to the next look only.
func (s *State) apply(c Change) {
	s.Changed = c.Commit
	s.Broken, s.Problems = c.Broken, c.Problems
	switch {
	case len(c.Problems) > 0:
	case c.Spec == nil:
		s.Listed, s.Requests = false, nil
	default:
		request := !s.Listed || s.Spec.Image.Reference != c.Spec.Image.Reference || !s.Spec.Upgrade.Equal(c.Spec.Upgrade)
		if request {
			s.Requests = append(s.Requests, Request{Commit: c.Commit, Image: c.Spec.Image, Upgrade: c.Spec.Upgrade})
		} else if last := len(s.Requests) - 1; last >= 0 && s.Requests[last].asks(*c.Spec) {
			s.Requests[last].Image = c.Spec.Image
		}
		s.Listed, s.Spec = true, c.Spec
	}
}

// asks reports whether r is the request that a spec makes.
func (r Request) asks(spec Spec) bool {
	return r.Image.Reference == spec.Image.Reference && r.Upgrade.Equal(spec.Upgrade)
}

// settle gives every open request its turn until nothing changes any more, or a look is needed.
func (s *State) settle(w World) (made []Release, look *Look) {
	if w.Hold != "" || s.Spec != nil && s.Spec.Suspend {
		return nil, nil
	}
	for {
		release, look, again := s.turn(w)
		if release != nil {
			made = append(made, *release)
		}
		if !again {
			return made, look
		}
	}
}

// turn takes the open requests in first-parent order, across queues, until one is final: then R may be another and
// so may the queues, and the next turn starts from the first again.
func (s *State) turn(w World) (release *Release, look *Look, again bool) {
	var open []Request // those of this turn that stay open
	for i, r := range s.Requests {
		rest := s.Requests[i+1:]
		mine := func(p Request) bool { return s.queue(p) == s.queue(r) }
		first := slices.IndexFunc(open, mine)
		switch {
		case s.takesOver(r):
			open = slices.DeleteFunc(open, mine)
			r.Carried = 0
		case first >= 0 && open[first].waits() && !s.passes(r, open[first]):
			r.Reason, r.Verdict = "", nil
			open = append(open, r)
			continue
		case first >= 0:
			r.Carried = max(r.Carried, s.carried(w.Policy, slices.DeleteFunc(slices.Clone(open), func(p Request) bool { return !mine(p) }), r))
			open = slices.DeleteFunc(open, mine)
		}
		j := s.judge(w, r)
		if j.look != nil {
			s.Requests = slices.Concat(open, []Request{r}, rest)
			return nil, j.look, false
		}
		switch j.reason {
		case Released:
			release := Release{j.version, j.digest, r.Applied(), r.Image, r.Upgrade, r.Commit, w.Now, r.Carried}
			at, _ := slices.BinarySearchFunc(s.Releases, j.version, func(r Release, v Version) int { return r.Version.Compare(v) })
			s.Releases = slices.Concat(s.Releases[:at], []Release{release}, s.Releases[at:])
			s.Requests, s.Concluded = slices.Concat(open, rest), Released
			return &release, nil, true
		case AlreadyReleased:
			s.Requests, s.Concluded = slices.Concat(open, rest), AlreadyReleased
			return nil, nil, true
		}
		r.Reason, r.Verdict = j.reason, j.verdict
		open = append(open, r)
	}
	s.Requests = open
	return nil, nil, false
}

// judgement is what is to become of a request: with the reason Released the version and digest to release it as, otherwise why
// not; or only the look that is needed first.
type judgement struct {
	version Version
	digest  Digest
	reason  Reason
	verdict *Verdict
	look    *Look
}

// judge applies the rules of version arithmetic in their order, the world's answer between the fifth and the sixth, and what
// the image itself says of the declared mode after the last.
func (s *State) judge(w World, r Request) judgement {
	version, reason := s.next(r)
	if reason != "" {
		return judgement{reason: reason}
	}
	entry, reason := w.Policy.Judge(r.Image)
	if reason != "" {
		return judgement{reason: reason}
	}
	look := Look{s.Name, r.ID, r.Image, entry}
	answer, known := w.Look(look)
	switch {
	case !known:
		return judgement{look: &look}
	case answer.Reason != "":
		return judgement{reason: answer.Reason}
	case s.already(r, answer.Digest):
		return judgement{reason: AlreadyReleased}
	case s.usedUp(w.Policy, r.Upgrade):
		return judgement{reason: UpgradeNotDeclared}
	}
	if reason, verdict := w.Check(s.check(look, answer.Digest, r)); reason != "" {
		return judgement{reason: reason, verdict: verdict}
	}
	return judgement{version: version, digest: answer.Digest, reason: Released}
}

// next is the version that a request would be released as: rules 1 to 5.
func (s *State) next(r Request) (Version, Reason) {
	base, mode := s.newest(), r.Applied()
	switch from := r.Upgrade.From; {
	case !r.Upgrade.Mode.known():
		return Version{}, InvalidSpec
	case len(s.Releases) == 0 && from == nil:
		return First, ""
	case from != nil:
		base = *from
		if _, released := s.Find(base); len(s.Releases) > 0 && !released {
			return Version{}, UnknownBase
		}
	}
	version, err := base.Bump(mode)
	if err != nil {
		return Version{}, InvalidSpec
	}
	if _, taken := s.Find(version); taken {
		return Version{}, VersionExists
	}
	return version, ""
}

// already is rule 6: the digest is that of the newest release, or with from of the newest of its line, withdrawn or not. Only
// an incompatible upgrade moves the digest of a withdrawn one to a new line.
func (s *State) already(r Request, digest Digest) bool {
	newest := s.newest()
	if from := r.Upgrade.From; from != nil {
		newest = s.newestOf(from.Major)
	}
	release, ok := s.Find(newest)
	if !ok || release.Digest != digest {
		return false
	}
	_, withdrawn := s.Withdrawn(newest)
	return !withdrawn || r.Upgrade.Mode != Incompatible
}

// usedUp is rule 7: a declaration is used up by the release it made.
func (s *State) usedUp(p Policy, u Upgrade) bool {
	return !p.InheritUpgrade && slices.ContainsFunc(s.Releases, func(r Release) bool { return r.Upgrade.Equal(u) })
}

// carried is the greatest mode that r has from the requests it supersedes, given in first-parent order. One that names the
// same reference as the one directly before it corrects it, so that one's own mode is dropped; a declaration that is used up
// declares nothing that could be carried.
func (s *State) carried(p Policy, superseded []Request, r Request) Mode {
	var carried Mode
	for i, before := range superseded {
		after := r
		if i+1 < len(superseded) {
			after = superseded[i+1]
		}
		carried = max(carried, before.Carried)
		if before.Image.Reference != after.Image.Reference && !s.usedUp(p, before.Upgrade) {
			carried = max(carried, before.Upgrade.Mode)
		}
	}
	return carried
}

// queue is the one that a request stands in while R is as it is: the head queue, or that of an older line.
func (s *State) queue(r Request) int64 {
	const head = -1
	if from := r.Upgrade.From; from != nil && len(s.Releases) > 0 && *from != s.newest() {
		return int64(from.Major)
	}
	return head
}

// takesOver reports whether a request supersedes everything before it in the head queue, waiting ones included: it says that
// it comes from the newest release. This is the way out of a dead registry.
func (s *State) takesOver(r Request) bool {
	return r.Upgrade.From != nil && len(s.Releases) > 0 && *r.Upgrade.From == s.newest()
}

// passes reports whether r supersedes a waiting request: while nothing is released, by moving to another host.
func (s *State) passes(r, waiting Request) bool {
	return len(s.Releases) == 0 && r.Image.Registry != waiting.Image.Registry
}

// waits reports whether a request has no final answer, so that those behind it in its queue wait with it.
func (r Request) waits() bool {
	kind := r.Reason.Kind()
	return kind == Transient || kind == Ours
}

// newest is max R, zero where nothing is released.
func (s *State) newest() Version {
	if len(s.Releases) == 0 {
		return Version{}
	}
	return s.Releases[len(s.Releases)-1].Version
}

// newestOf is the newest version of one line, zero where it has none.
func (s *State) newestOf(major uint32) Version {
	for _, r := range slices.Backward(s.Releases) {
		if r.Version.Major == major {
			return r.Version
		}
	}
	return Version{}
}
