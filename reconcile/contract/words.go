package contract

import "fmt"

// Mode is an upgrade mode, as package release knows them and with the same numbers: a greater one promises less.
type Mode uint8

// The upgrade modes. NoMode is what a finding needs that no mode makes legal.
const (
	NoMode Mode = iota
	Fix
	Feature
	Incompatible
)

var modeNames = [...]string{"-", "compatible-fix", "compatible-feature", "incompatible"}

func (m Mode) String() string {
	if int(m) >= len(modeNames) {
		return fmt.Sprintf("mode(%d)", uint8(m))
	}
	return modeNames[m]
}

// MarshalText writes the name of the mode, "-" for NoMode.
func (m Mode) MarshalText() ([]byte, error) { return marshal(modeNames[:], uint8(m), "upgrade mode") }

// UnmarshalText reads what MarshalText writes.
func (m *Mode) UnmarshalText(text []byte) error {
	return unmarshal(modeNames[:], (*uint8)(m), text, "upgrade mode")
}

// Level is how much a finding matters under the mode that was applied.
type Level uint8

// The levels. Only Deny can contradict a mode.
const (
	Info Level = iota
	Warn
	Deny
)

var levelNames = [...]string{"info", "warn", "deny"}

func (l Level) String() string {
	if int(l) >= len(levelNames) {
		return fmt.Sprintf("level(%d)", uint8(l))
	}
	return levelNames[l]
}

// MarshalText writes info, warn or deny.
func (l Level) MarshalText() ([]byte, error) { return marshal(levelNames[:], uint8(l), "level") }

// UnmarshalText reads what MarshalText writes.
func (l *Level) UnmarshalText(text []byte) error {
	return unmarshal(levelNames[:], (*uint8)(l), text, "level")
}

func marshal(names []string, i uint8, what string) ([]byte, error) {
	if int(i) >= len(names) {
		return nil, fmt.Errorf("unknown %s %d", what, i)
	}
	return []byte(names[i]), nil
}

func unmarshal(names []string, i *uint8, text []byte, what string) error {
	for n, name := range names {
		if name == string(text) {
			*i = uint8(n)
			return nil
		}
	}
	return fmt.Errorf("unknown %s %q", what, text)
}
