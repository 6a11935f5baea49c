package release

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is a released version: three numbers, no prefix, no pre-release, no build.
// The zero value is no version at all; the smallest one ever released is above it.
type Version struct {
	Major, Minor, Patch uint32
}

// First is what an image's first release is called unless its spec says from which version it comes.
var First = Version{Major: 1}

// maxNumber bounds each part, so that a bump can never wrap around.
const maxNumber = 1<<31 - 1

// ParseVersion reads the form "1.4.2", as semver.org writes it: decimal, no leading zeros, each part at most 2147483647.
func ParseVersion(s string) (Version, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return Version{}, fmt.Errorf("version %q: want three numbers, like 1.4.2", s)
	}
	var numbers [3]uint32
	for i, part := range parts {
		n, ok := parseNumber(part)
		if !ok {
			return Version{}, fmt.Errorf("version %q: %q is not a number of a version; want three numbers, like 1.4.2", s, part)
		}
		numbers[i] = n
	}
	return Version{numbers[0], numbers[1], numbers[2]}, nil
}

func parseNumber(s string) (uint32, bool) {
	if s == "" || (len(s) > 1 && s[0] == '0') || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return uint32(n), err == nil
}

// Compare orders versions by major, then minor, then patch.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch))
}

// IsZero reports whether v is no version.
func (v Version) IsZero() bool { return v == Version{} }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// MarshalText writes the form that ParseVersion reads.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText is ParseVersion.
func (v *Version) UnmarshalText(text []byte) error {
	parsed, err := ParseVersion(string(text))
	if err == nil {
		*v = parsed
	}
	return err
}

// Bump returns the version that an upgrade of the given mode makes of v: the number the mode names is one higher and the
// numbers below it are 0. The error is an unknown mode, or a number that has reached its limit.
func (v Version) Bump(mode Mode) (Version, error) {
	next := v
	switch mode {
	case Incompatible:
		next = Version{Major: v.Major + 1}
	case Feature:
		next = Version{Major: v.Major, Minor: v.Minor + 1}
	case Fix:
		next.Patch++
	default:
		return Version{}, fmt.Errorf("unknown upgrade mode %d", mode)
	}
	if next.Major > maxNumber || next.Minor > maxNumber || next.Patch > maxNumber {
		return Version{}, fmt.Errorf("version %s cannot be raised further", v)
	}
	return next, nil
}

// Mode is how an image differs from the release it upgrades, as its author declares it. Modes are ordered: a greater one
// promises less. The zero value is no mode.
type Mode uint8

// The three upgrade modes.
const (
	Fix          Mode = iota + 1 // patch+1
	Feature                      // minor+1
	Incompatible                 // major+1
)

var modeNames = [...]string{Fix: "compatible-fix", Feature: "compatible-feature", Incompatible: "incompatible"}

// Modes lists the modes from the smallest to the greatest.
func Modes() []Mode { return []Mode{Fix, Feature, Incompatible} }

// ParseMode reads the name of a mode, as specs write it.
func ParseMode(s string) (Mode, error) {
	for _, m := range Modes() {
		if modeNames[m] == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("unknown upgrade mode %q: want %s", s, strings.Join(modeNames[1:], ", "))
}

func (m Mode) known() bool { return Fix <= m && m <= Incompatible }

func (m Mode) String() string {
	if !m.known() {
		return "none"
	}
	return modeNames[m]
}

// MarshalText writes the name of the mode; no mode has no text.
func (m Mode) MarshalText() ([]byte, error) {
	if !m.known() {
		return nil, fmt.Errorf("unknown upgrade mode %d", m)
	}
	return []byte(modeNames[m]), nil
}

// UnmarshalText is ParseMode.
func (m *Mode) UnmarshalText(text []byte) error {
	parsed, err := ParseMode(string(text))
	if err == nil {
		*m = parsed
	}
	return err
}
