package release_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"tidewaiter/reconcile/release"
)

const most = 1<<31 - 1 // the greatest number that a part of a version can be

// small are all versions whose numbers are 0, 1, 2, 9, 10 or the greatest: what the laws are tried on.
func small() []release.Version {
	var all []release.Version
	numbers := []uint32{0, 1, 2, 9, 10, most}
	for _, major := range numbers {
		for _, minor := range numbers {
			for _, patch := range numbers {
				all = append(all, release.Version{Major: major, Minor: minor, Patch: patch})
			}
		}
	}
	return all
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]release.Version{
		"1.4.2":                            {Major: 1, Minor: 4, Patch: 2},
		"0.0.0":                            {},
		"10.20.30":                         {Major: 10, Minor: 20, Patch: 30},
		"2147483647.2147483647.2147483647": {Major: most, Minor: most, Patch: most},
	} {
		if got, err := release.ParseVersion(text); err != nil || got != want {
			t.Errorf("ParseVersion(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "1", "1.2", "1.2.3.4", "v1.2.3", "1.2.3-rc.1", "1.2.3+build", "01.2.3", "1.02.3", "1.2.00", "1..3", ".2.3", "1.2.",
		"+1.2.3", "-1.2.3", "1.-2.3", " 1.2.3", "1.2.3 ", "1.2.3\n", "1_0.2.3", "0x1.2.3", "1.2.١", "2147483648.0.0", "1.0.4294967296",
		"1.2.99999999999999999999", "1,2,3", "latest", "1.latest",
	} {
		if got, err := release.ParseVersion(text); err == nil {
			t.Errorf("ParseVersion(%q) = %v, want an error", text, got)
		}
	}
}

func TestVersionReadsBack(t *testing.T) {
	for _, v := range small() {
		if again, err := release.ParseVersion(v.String()); err != nil || again != v {
			t.Errorf("%v reads back as %v, %v", v, again, err)
		}
		if v.IsZero() != (v.String() == "0.0.0") {
			t.Errorf("IsZero of %v is %v", v, v.IsZero())
		}
		if again := reread(map[string]*release.Version{"from": &v}); *again["from"] != v {
			t.Errorf("%v comes back from a file as %v", v, *again["from"])
		}
	}
}

// TestVersionOrder holds the order to that of the numbers, so that 1.10.0 is above 1.9.0.
func TestVersionOrder(t *testing.T) {
	all := small() // ascending, as written there
	for i, v := range all {
		for j, w := range all {
			if got, want := v.Compare(w), min(1, max(-1, i-j)); got != want {
				t.Errorf("%v compared with %v is %d, want %d", v, w, got, want)
			}
		}
	}
}

// TestBump holds the laws of semantic versioning on a whole small domain: strictly above, by one in the number that the mode
// names, nothing below it kept and nothing above it touched, and a greater mode never gives a smaller version.
func TestBump(t *testing.T) {
	for _, v := range small() {
		var smaller release.Version
		for _, mode := range release.Modes() {
			before := []uint32{v.Major, v.Minor, v.Patch}
			place := int(release.Incompatible - mode) // 0 is the major
			next, err := v.Bump(mode)
			if before[place] == most {
				if err == nil {
					t.Errorf("%v raised as %v is %v, want an error: the number is at its limit", v, mode, next)
				}
				continue
			}
			want := []uint32{0, 0, 0}
			copy(want, before[:place])
			want[place] = before[place] + 1
			if got := []uint32{next.Major, next.Minor, next.Patch}; err != nil || !slices.Equal(got, want) {
				t.Errorf("%v raised as %v is %v, %v, want %v", v, mode, got, err, want)
			}
			if next.Compare(v) <= 0 || next.Compare(smaller) <= 0 {
				t.Errorf("%v raised as %v is %v: not above it, or not above what a smaller mode makes", v, mode, next)
			}
			smaller = next
		}
		for _, mode := range []release.Mode{0, 4, 255} {
			if next, err := v.Bump(mode); err == nil {
				t.Errorf("%v raised by the unknown mode %d is %v, want an error", v, mode, next)
			}
		}
	}
}

func TestModes(t *testing.T) {
	names := map[string]release.Mode{"compatible-fix": release.Fix, "compatible-feature": release.Feature, "incompatible": release.Incompatible}
	for name, mode := range names {
		if got, err := release.ParseMode(name); err != nil || got != mode || mode.String() != name {
			t.Errorf("ParseMode(%q) = %v, %v", name, got, err)
		}
		if again := reread([]release.Mode{mode}); again[0] != mode {
			t.Errorf("%v comes back from a file as %v", mode, again[0])
		}
	}
	if all := release.Modes(); !slices.IsSorted(all) || len(all) != len(names) {
		t.Errorf("the modes are %v, want the three in their order", all)
	}
	for _, name := range []string{"", "none", "fix", "Incompatible", "compatible-fix ", "major"} {
		var mode release.Mode
		if err := json.Unmarshal([]byte(fmt.Sprintf("%q", name)), &mode); err == nil || mode != 0 {
			t.Errorf("the mode %q is read as %v, %v, want an error that lists the modes", name, mode, err)
		}
	}
	for _, mode := range []release.Mode{0, 4} {
		if text, err := mode.MarshalText(); err == nil || mode.String() != "none" {
			t.Errorf("mode %d is written %q, want an error", mode, text)
		}
	}
}

// TestUnknownModeIsNeverReleased is rule 5: not even as the first release, for which the mode does not matter.
func TestUnknownModeIsNeverReleased(t *testing.T) {
	for _, line := range []string{"1", "1 from=1.0.0"} {
		for _, mode := range []release.Mode{0, 4} {
			h := parse(t, line)
			h[0].spec.Upgrade.Mode = mode
			s, made, _ := release.State{Name: "a"}.Observe(h.change(0)).Advance(answering(outside{}))
			if len(made) > 0 || s.Requests[0].Reason != release.InvalidSpec {
				t.Errorf("%q with mode %d: released %v, left open %v", line, mode, made, s.Requests)
			}
		}
	}
}

// TestVersionThatCannotBeRaised: the author is told, and the next release is another's.
func TestVersionThatCannotBeRaised(t *testing.T) {
	h := parse(t, `
		1 fix from=1.0.2147483646
		2 fix
		3 feature
	`)
	s := state(h, answering(outside{}))
	if got, want := fmt.Sprint(s.Releases[0].Version, s.Releases[1].Version, len(s.Requests)), "1.0.2147483647 1.1.0 0"; got != want {
		t.Errorf("%sreleases are %v", h, s.Releases)
	}
	s = state(h[:2], answering(outside{}))
	if s.Requests[0].Reason != release.InvalidSpec {
		t.Errorf("a fix of %v waits for %q", s.Releases[0].Version, s.Requests[0].Reason)
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, text := range []string{"1.0.0", "0.0.0", "01.0.0", "1.2.2147483647", "1.2.2147483648", "1.2", "v1.2.3", "1.2.3-rc1", "+1.0.0", "1.2.3\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := release.ParseVersion(text)
		if err != nil {
			return
		}
		if v.String() != text {
			t.Fatalf("%q is read as %v: two texts for one version", text, v)
		}
		for _, mode := range release.Modes() {
			if next, err := v.Bump(mode); err == nil && next.Compare(v) <= 0 {
				t.Fatalf("%v raised as %v is %v", v, mode, next)
			}
		}
	})
}
