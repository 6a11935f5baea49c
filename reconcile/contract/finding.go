package contract

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Finding is one difference between what two images promise, or one thing that is wrong with an image by itself.
// Texts that come from images have no characters but printable ones.
type Finding struct {
	Rule  string `json:"rule"`
	Needs Mode   `json:"needs"` // the smallest mode that makes it legal, or NoMode
	Level Level  `json:"level"` // under the mode that was applied
	// Platforms are those it was found on, sorted; none where it is about the image as a whole.
	Platforms []string `json:"platforms,omitempty"`
	// Subject is what differs where the rule can find several things: a platform, port, volume, key or directory.
	Subject string `json:"subject,omitempty"`
	// Old and New are what it was and is, where that may be shown; long ones are cut.
	Old    string `json:"old,omitempty"`
	New    string `json:"new,omitempty"`
	Text   string `json:"text"`   // what was found
	Advice string `json:"advice"` // what to do about it
	// Accepted is true where the author accepts it for this release, for the reason given.
	Accepted bool   `json:"accepted,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// Accept names a finding that the author accepts. Rule and subject are compared to the letter.
type Accept struct {
	Rule    string
	Subject string
	Reason  string
}

func (a Accept) matches(f Finding) bool { return a.Rule == f.Rule && a.Subject == f.Subject }

// contradicts reports whether the finding says that a mode is not true.
func (f Finding) contradicts(mode Mode) bool {
	return f.Level == Deny && !f.Accepted && (f.Needs == NoMode || f.Needs > mode)
}

// String is the finding in one line, without its advice.
func (f Finding) String() string {
	var s strings.Builder
	s.WriteString(f.Rule)
	if f.Subject != "" {
		s.WriteString(" " + f.Subject)
	}
	if len(f.Platforms) > 0 && (len(f.Platforms) > 1 || f.Platforms[0] != f.Subject) {
		s.WriteString(" on " + strings.Join(f.Platforms, ", "))
	}
	s.WriteString(": " + f.Text)
	if f.Old != "" || f.New != "" {
		fmt.Fprintf(&s, ", %s → %s", f.Old, f.New)
	}
	switch {
	case f.Accepted:
		s.WriteString(" (accepted)")
	case f.Needs == NoMode:
		s.WriteString(" (no mode allows it)")
	default:
		fmt.Fprintf(&s, " (needs %s)", f.Needs)
	}
	return s.String()
}

// printable is a text of an image as it may be shown: quoted where it has characters that could play tricks.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// shown is how long an old or new value may be, in runes.
const shown = 200

// short is a printable text that is cut where it is long.
func short(s string) string {
	s = printable(s)
	if len(s) <= shown {
		return s
	}
	if runes := []rune(s); len(runes) > shown {
		return string(runes[:shown]) + "…"
	}
	return s
}
