package release

import "slices"

// Check is a question to the world: is the mode that an image would be released with true? It is asked last, of an image that
// can be pulled and that nothing else speaks against.
type Check struct {
	Look
	Digest  Digest
	Upgrade Upgrade
	Mode    Mode // as it would be applied
	// Baseline is the release that users of the line run now, nil where there is none to compare with.
	Baseline *Release
	// Inform is true where nobody is upgraded from the baseline, so that no difference can contradict the mode.
	Inform bool
	// ContractEnv and ContractLabels are the environment keys and labels that the spec tells users to rely on.
	ContractEnv, ContractLabels []string
}

// Verdict is what the upgrade checks say against the mode that an image would be released with.
type Verdict struct {
	Baseline Version `json:"baseline,omitzero"` // the release it was compared with; none where the image is wrong by itself
	// Right is the mode that would be right; the applied one where no mode is, and only accepting the findings helps.
	Right    Mode     `json:"right"`
	Findings []string `json:"findings,omitempty"` // one line each
	// Accept are the lines of upgrade.accept that would let the image pass, their reasons to be filled in.
	Accept []string `json:"accept,omitempty"`
}

// equal compares two verdicts, either of which may be none.
func (v *Verdict) equal(w *Verdict) bool {
	if v == nil || w == nil {
		return v == w
	}
	return v.Baseline == w.Baseline && v.Right == w.Right && slices.Equal(v.Findings, w.Findings) && slices.Equal(v.Accept, w.Accept)
}

// baseline is the release that a request is compared with, and whether only to inform: with from that release; for an
// incompatible upgrade the newest one; otherwise the one that M.latest serves, or where all of that line are withdrawn the
// newest one that is not, from which nobody is upgraded.
func (s *State) baseline(r Request) (baseline *Release, inform bool) {
	if from := r.Upgrade.From; from != nil {
		if release, ok := s.Find(*from); ok {
			return &release, false
		}
		return nil, false
	}
	newest := s.newest()
	for _, release := range slices.Backward(s.Releases) {
		if _, withdrawn := s.Withdrawn(release.Version); !withdrawn {
			inform = release.Version.Major != newest.Major && r.Applied() != Incompatible
			return &release, inform
		}
	}
	return nil, false
}

// check is the question whether the mode of a request is true of the image found.
func (s *State) check(look Look, digest Digest, r Request) Check {
	baseline, inform := s.baseline(r)
	return Check{
		Look: look, Digest: digest, Upgrade: r.Upgrade, Mode: r.Applied(), Baseline: baseline, Inform: inform,
		ContractEnv: s.Spec.ContractEnv, ContractLabels: s.Spec.ContractLabels,
	}
}
