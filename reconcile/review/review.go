// Package review is what is said of a change before it is merged, and where it is said: values for people and programs, the
// Markdown of a comment, and the forges that show it.
//
// It promises that whatever a stranger wrote is shown to the letter and does nothing: no markup, no link, no mention. It does not
// know how a change was read or what follows from it; that is worked out by package reconcile.
package review

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// Report is what was found of a change, or of a whole catalog.
type Report struct {
	Specs    int              `json:"specs"`
	Problems []schema.Problem `json:"problems"`
	// Warnings keep nothing from being merged.
	Warnings []schema.Problem `json:"warnings,omitempty"`
	// Predictions are what merging would do, where that was asked.
	Predictions []Prediction `json:"predictions,omitempty"`
}

// Prediction is what would become of one spec if it were merged now.
type Prediction struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Line   int    `json:"line"` // of its mode
	Column int    `json:"column"`
	// Reason is Released where it would be, or why not; empty where the spec asks for nothing that was not asked before.
	Reason release.Reason `json:"reason,omitempty"`
	// Detail is what the registry said, where it refused.
	Detail string `json:"detail,omitempty"`
	// PullUnknown is true where the registry may not be asked before the merge: the rest is said as if the image were there.
	PullUnknown bool `json:"pullUnknown,omitempty"`
	// From is the newest release so far; both versions are left out where they are not known.
	From    *release.Version `json:"from,omitempty"`
	Version *release.Version `json:"version,omitempty"`
	Mode    release.Mode     `json:"mode,omitzero"` // as it would be applied; left out where the spec is deleted
	// Reference is what the registry has, pinned, and Digest the digest of that where the spec names only a tag; both where it could be read.
	Reference string                 `json:"reference,omitempty"`
	Digest    release.Digest         `json:"digest,omitempty"`
	Platforms []schema.PlatformImage `json:"platforms,omitempty"`
	Size      int64                  `json:"size,omitempty"` // compressed, of all platforms together, in bytes
	Channels  []Move                 `json:"channels,omitempty"`
	Findings  []contract.Finding     `json:"findings,omitempty"`
	Verdict   *release.Verdict       `json:"verdict,omitempty"`
	// Needs is the smallest mode that makes all findings legal; left out where nothing was compared.
	Needs  release.Mode     `json:"needs,omitzero"`
	Unused []release.Accept `json:"unusedAccepts,omitempty"`
	// Project is the debug project that the image may be tried in before the merge, and where that is.
	Project     string `json:"debugProject,omitempty"`
	ProjectLink string `json:"debugProjectLink,omitempty"`
	// Candidate is what would be released. It is for those who may try it, and for nobody else: of a private image the rest says less.
	Candidate *Candidate `json:"-"`
}

// Candidate is an image that would be released, and as what.
type Candidate struct {
	Image     release.Image
	Upgrade   release.Upgrade
	Digest    release.Digest
	Version   release.Version
	Reference string // pinned
}

// Move is where a channel would go.
type Move struct {
	Channel string           `json:"channel"`
	From    *release.Version `json:"from,omitempty"`
	To      *release.Version `json:"to,omitempty"`
}

// Silent reports whether there is nothing to say of a spec: it asks for nothing and no channel moves.
func (p Prediction) Silent() bool { return p.Reason == "" && len(p.Channels) == 0 }

// State is what a report comes to.
func (r Report) State() State {
	state := Success
	if len(r.Problems) > 0 {
		state = Failure
	}
	for _, p := range r.Predictions {
		switch p.Reason.Kind() {
		case release.Waits, release.Retried:
			state = Failure
		case release.Transient, release.Ours:
			if state == Success {
				state = Error
			}
		}
	}
	return state
}

// Unknown are the names of the images of which nothing can be said now.
func (r Report) Unknown() (names []string) {
	for _, p := range r.Predictions {
		if kind := p.Reason.Kind(); kind == release.Transient || kind == release.Ours {
			names = append(names, p.Name)
		}
	}
	return names
}

// Summary says in a line what the report comes to, of fixed words, names and versions only.
func (r Report) Summary() string {
	if n := len(r.Problems); n > 0 {
		return Count(n, "problem") + " to correct"
	}
	var releases, refused, unknown, others []string
	for _, p := range r.Predictions {
		switch kind := p.Reason.Kind(); {
		case p.Silent():
		case kind == release.Waits || kind == release.Retried:
			refused = append(refused, fmt.Sprintf("%s: %s", p.Name, p.Reason))
		case kind != 0:
			unknown = append(unknown, fmt.Sprintf("%s: %s", p.Name, p.Reason))
		case p.Version != nil && p.From != nil:
			releases = append(releases, fmt.Sprintf("%s %s → %s", p.Name, p.From, p.Version))
		case p.Version != nil:
			releases = append(releases, fmt.Sprintf("%s %s", p.Name, p.Version))
		default:
			others = append(others, p.Name)
		}
	}
	switch {
	case len(refused) > 0:
		return andMore(refused)
	case len(unknown) > 0:
		return andMore(unknown)
	case len(releases) > 0:
		return "releases " + andMore(releases)
	case len(others) > 0:
		return "no release, but changes " + andMore(others)
	}
	return "releases nothing"
}

func andMore(items []string) string {
	if len(items) == 1 {
		return items[0]
	}
	return fmt.Sprintf("%s and %d more", items[0], len(items)-1)
}

// Count is a number of things in words.
func Count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Outcome says in a line what would become of a spec.
func (p Prediction) Outcome() string {
	var from string
	if p.From != nil {
		from = p.From.String() + " → "
	}
	switch {
	case p.Version != nil && p.PullUnknown:
		return fmt.Sprintf("%s %s%s (%s), if the image is there: nobody may ask before the merge", p.Name, from, p.Version, p.Mode)
	case p.Version != nil:
		return fmt.Sprintf("%s %s%s (%s)", p.Name, from, p.Version, p.Mode)
	case p.Reason == "":
		return p.Name + ": no release, channels move"
	case p.Reason == release.Released:
		return fmt.Sprintf("%s: version unknown (%s)", p.Name, p.Mode)
	}
	return fmt.Sprintf("%s: %s: %s", p.Name, p.Reason, p.Reason.Message())
}

// Details say what that rests on: what the registry has, where channels go, and what was found.
func (p Prediction) Details() (lines []string) {
	if p.Detail != "" {
		lines = append(lines, p.Detail)
	}
	if p.Reference != "" {
		var names []string
		for _, platform := range p.Platforms {
			names = append(names, string(platform.Platform))
		}
		lines = append(lines, fmt.Sprintf("%s, %s, %s", p.Reference, strings.Join(names, " "), contract.Bytes(p.Size)))
	}
	for _, m := range p.Channels {
		switch {
		case m.From == nil:
			lines = append(lines, fmt.Sprintf("%s becomes %s", m.Channel, m.To))
		case m.To == nil:
			lines = append(lines, fmt.Sprintf("%s %s is taken away", m.Channel, m.From))
		default:
			lines = append(lines, fmt.Sprintf("%s %s → %s", m.Channel, m.From, m.To))
		}
	}
	for _, f := range p.Findings {
		if f.Text == "" { // of a private image
			lines = append(lines, fmt.Sprintf("%s: %s", f.Level, f.Rule))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s; %s", f.Level, f, f.Advice))
	}
	if p.Reason == release.Released && p.Needs != 0 && p.Needs < p.Mode {
		lines = append(lines, fmt.Sprintf("note: nothing that was found needs more than %s", p.Needs))
	}
	if v := p.Verdict; v != nil && v.Right != p.Mode {
		lines = append(lines, fmt.Sprintf("mode: %s would be right", v.Right))
	}
	if v := p.Verdict; v != nil {
		for _, line := range v.Accept {
			lines = append(lines, "accept: "+line)
		}
	}
	for _, a := range p.Unused {
		lines = append(lines, "warn: "+UnusedAccept(a))
	}
	if p.Digest != "" && (p.Reason == release.Released || p.Reason == release.InvalidSpec) {
		lines = append(lines, "pin: to release exactly this image, add digest: "+string(p.Digest))
	}
	return lines
}

// UnusedAccept says that a finding was accepted which was not made.
func UnusedAccept(a release.Accept) string {
	return fmt.Sprintf("upgrade.accept names %s, which was not found; remove it", strings.TrimSpace(a.Rule+" "+a.Subject))
}

// Mark is a prediction at a glance.
func (p Prediction) Mark() string {
	switch kind := p.Reason.Kind(); {
	case kind == release.Waits || kind == release.Retried:
		return "✗"
	case kind != 0 || p.PullUnknown:
		return "?"
	}
	return "✔"
}

// ProjectURL is where a candidate can be tried: the template of a debug project with what it is about in its places. What is put
// there is escaped for any part of a URL.
func ProjectURL(template, image string, number int, ref string) string {
	return strings.NewReplacer("{image}", url.QueryEscape(image), "{review}", strconv.Itoa(number), "{ref}", url.QueryEscape(ref)).Replace(template)
}

// Redact leaves of a private image whether it can be pulled and which rules found something: whoever reads the answer may not be
// one who may pull it.
func (p *Prediction) Redact() {
	p.Detail, p.Reference, p.Digest, p.Platforms, p.Size = "", "", "", nil, 0
	for i, f := range p.Findings {
		p.Findings[i] = contract.Finding{Rule: f.Rule, Needs: f.Needs, Level: f.Level, Accepted: f.Accepted}
	}
	if p.Verdict != nil {
		p.Verdict = &release.Verdict{Baseline: p.Verdict.Baseline, Right: p.Verdict.Right}
	}
}

// Review is a pull request as it was seen last.
type Review struct {
	Number  int       `json:"number"`
	Ref     string    `json:"ref"`
	Head    string    `json:"head"`
	Subject string    `json:"subject,omitempty"` // of the head's commit; free text
	Author  string    `json:"author,omitempty"`  // of the head's commit; free text
	Time    time.Time `json:"time,omitzero"`     // of the head's commit
	State   State     `json:"state"`
	Summary string    `json:"summary"` // of fixed words, names and versions
	Report
	Looked time.Time `json:"looked,omitzero"` // when registries were asked last
	// Merged is true once the base has all that the head changes, and Released what came of it since.
	Merged   bool       `json:"merged,omitempty"`
	Released []Released `json:"released,omitempty"`
}

// Released is a release that came of a review.
type Released struct {
	Name    string          `json:"name"`
	Version release.Version `json:"version"`
	Digest  release.Digest  `json:"digest"`
	// Reviewed is the digest that the review was of, where that is another.
	Reviewed release.Digest `json:"reviewed,omitempty"`
}

// Changed reports whether something else was released than was reviewed.
func (r Released) Changed() bool { return r.Reviewed != "" }

// String says what was released.
func (r Released) String() string {
	if r.Changed() {
		return fmt.Sprintf("%s %s is released with %s and was reviewed with %s: %s: %s",
			r.Name, r.Version, r.Digest, r.Reviewed, release.DigestChangedSinceReview, release.DigestChangedSinceReview.Message())
	}
	return fmt.Sprintf("%s %s is released with %s, as it was reviewed", r.Name, r.Version, r.Digest)
}
