package release

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Upgrade is what a spec declares about a release: how it differs from the one before.
type Upgrade struct {
	Mode   Mode     `json:"mode"`
	From   *Version `json:"from,omitempty"`
	Notes  string   `json:"notes"` // Markdown
	Accept []Accept `json:"accept,omitempty"`
}

// Accept names a finding of the upgrade checks that the author accepts for one release.
type Accept struct {
	Rule    string `json:"rule"`
	Subject string `json:"subject,omitempty"`
	Reason  string `json:"reason"`
}

// Equal reports whether two declarations are the same, to the letter.
func (u Upgrade) Equal(w Upgrade) bool {
	sameFrom := u.From == nil && w.From == nil || u.From != nil && w.From != nil && *u.From == *w.From
	return u.Mode == w.Mode && sameFrom && u.Notes == w.Notes && slices.Equal(u.Accept, w.Accept)
}

// Withdrawal takes a version out of every channel.
type Withdrawal struct {
	Version Version `json:"version"`
	Reason  string  `json:"reason"`
}

// Commit is a first-parent commit of the catalog. The names are free text: they say no more than Git knows.
type Commit struct {
	ID        string    `json:"commit"` // full, lower-case hex
	Author    string    `json:"author"`
	Committer string    `json:"committer"`
	Time      time.Time `json:"time"` // of the committer
}

// Spec is what the planner needs to know of one valid spec.
type Spec struct {
	Path      string       `json:"path"`
	Image     Image        `json:"image"`
	Upgrade   Upgrade      `json:"upgrade"`
	Withdrawn []Withdrawal `json:"withdrawn,omitempty"`
	Suspend   bool         `json:"suspend,omitempty"`
	// ContractEnv and ContractLabels are the environment keys and labels of the image that users are told to rely on.
	ContractEnv    []string `json:"contractEnv,omitempty"`
	ContractLabels []string `json:"contractLabels,omitempty"`
}

// Change is what one commit did to one image's spec: it left a valid one, one with problems, or neither: it was deleted.
type Change struct {
	Commit
	Spec     *Spec    `json:"spec,omitempty"`
	Broken   string   `json:"broken,omitempty"`   // the path of the file with problems
	Problems []string `json:"problems,omitempty"` // each with its position
}

// Request asks for a release: a commit changed a spec's reference or its upgrade block.
type Request struct {
	Commit
	Image   Image   `json:"image"`
	Upgrade Upgrade `json:"upgrade"`
	// Carried is the greatest mode of the superseded requests before it, 0 for none.
	Carried Mode `json:"carried,omitzero"`
	// Reason is why it is not released yet, as last found out; empty where it was not looked at.
	Reason Reason `json:"reason,omitempty"`
	// Verdict is what speaks against its mode; nil unless the reason is UpgradeContradicted or UpgradeUnknown.
	Verdict *Verdict `json:"verdict,omitempty"`
}

// Applied is the mode that the request would be released with. One that says what it comes from stands for itself.
func (r Request) Applied() Mode {
	if r.Upgrade.From != nil {
		return r.Upgrade.Mode
	}
	return max(r.Upgrade.Mode, r.Carried)
}

// Release is one version of an image, for ever.
type Release struct {
	Version Version   `json:"version"`
	Digest  Digest    `json:"digest"`
	Mode    Mode      `json:"mode"` // as applied
	Image   Image     `json:"image"`
	Upgrade Upgrade   `json:"upgrade"` // as declared
	Request Commit    `json:"request"`
	Time    time.Time `json:"time"`             // when it was released
	Carried Mode      `json:"carried,omitzero"` // the greatest mode of the requests it superseded
}

// Reference is the release's full name, registry/repository[:tag]@digest.
func (r Release) Reference() string { return r.Image.Pin(r.Digest).String() }

// State is everything the planner knows of one image. Values of it are never changed in place.
type State struct {
	Name string
	// Listed is false before the first spec and after a delisting.
	Listed bool
	// Changed is the last commit that changed the spec, deleting and breaking it included.
	Changed Commit
	// Spec is the last valid one; a delisting leaves it. Nil before the first.
	Spec *Spec
	// Broken is the path of the file that stands for the image and cannot be used; empty where it can, or is gone.
	Broken string
	// Problems are the mistakes of that file, each with its position.
	Problems []string
	// Requests are those not final, in first-parent order.
	Requests []Request
	// Backlog holds changes seen but not yet taken into account, because a request before them waits for its first answer.
	Backlog []Change
	// Releases are in ascending order of their versions.
	Releases []Release
	// Drifts is what audits found of the releases, in the order of their versions.
	Drifts []Drift
	// Concluded is how the newest final request ended, Released or AlreadyReleased; empty before the first.
	Concluded Reason
}

// Gone reports whether there is nothing to say of the image: its file is gone and never was a valid spec.
func (s State) Gone() bool {
	return !s.Listed && s.Spec == nil && len(s.Problems) == 0 && len(s.Backlog) == 0
}

// Channel is a name that moves with releases, and the release it means now.
type Channel struct {
	Name      string    `json:"channel"` // latest, 1.latest, 1.4.latest
	Version   Version   `json:"version"`
	Reference string    `json:"reference"` // registry/repository[:tag]@digest
	Released  time.Time `json:"released"`  // when that version was released
}

// Withdrawn returns the reason for which a version is withdrawn, and whether it is.
func (s State) Withdrawn(v Version) (reason string, is bool) {
	if s.Spec == nil {
		return "", false
	}
	i := slices.IndexFunc(s.Spec.Withdrawn, func(w Withdrawal) bool { return w.Version == v })
	if i < 0 {
		return "", false
	}
	return s.Spec.Withdrawn[i].Reason, true
}

// Channels returns what each channel means now, latest first, then from the newest line to the oldest: the highest release
// of its range that is not withdrawn. A delisted image has none, and neither has a range whose releases are all withdrawn.
func (s State) Channels() []Channel {
	if !s.Listed {
		return nil
	}
	var channels []Channel
	seen := map[string]bool{}
	for _, r := range slices.Backward(s.Releases) {
		if _, withdrawn := s.Withdrawn(r.Version); withdrawn {
			continue
		}
		for _, name := range r.Version.channels() {
			if !seen[name] {
				seen[name] = true
				channels = append(channels, Channel{name, r.Version, r.Reference(), r.Time})
			}
		}
	}
	return channels
}

// channels are the names of the channels that v may be served by.
func (v Version) channels() []string {
	full := v.String()
	minor := full[:strings.LastIndexByte(full, '.')]
	major := minor[:strings.IndexByte(minor, '.')]
	return []string{"latest", major + ".latest", minor + ".latest"}
}

// Refused is why the request of a commit was refused, as last found out; empty where it was not, or is not known.
func (s State) Refused(commit string) Reason { return requestOf(s.Requests, commit).Reason }

// Find returns the release of a version.
func (s State) Find(v Version) (Release, bool) {
	i, ok := slices.BinarySearchFunc(s.Releases, v, func(r Release, v Version) int { return r.Version.Compare(v) })
	if !ok {
		return Release{}, false
	}
	return s.Releases[i], true
}

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
