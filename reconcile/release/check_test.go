package release_test

import (
	"fmt"
	"testing"

	"tidewaiter/reconcile/release"
)

// What an image is compared with is what its users would come from.
func TestWhatAnImageIsComparedWith(t *testing.T) {
	for _, test := range []struct{ name, history, want string }{
		{"a first release with nothing", "1 fix", "fix, nothing"},
		{"an adopted one with nothing", "1 fix from=1.4.2", "fix, nothing"},
		{"a fix with the newest", "1 fix\n2 fix\n3 fix", "fix, 1.0.1"},
		{"a carried mode is the one that is judged", "1 fix\ngone2 feature\n3 fix", "feature, 1.0.0"},
		{"an incompatible one with the newest", "1 fix\n2 incompatible\n3 incompatible", "incompatible, 2.0.0"},
		{"a fix of an old line with the release it comes from", "1 fix\n2 fix\n3 incompatible\n4 fix from=1.0.1", "fix, 1.0.1"},
		{"not with one that is withdrawn", "1 fix\n2 fix\n3 fix withdrawn=1.0.1", "fix, 1.0.0"},
		{"from one that is withdrawn with that", "1 fix\n2 fix\n3 fix from=1.0.1 withdrawn=1.0.1", "fix, 1.0.1"},
		{"where its line is withdrawn with the one before, to inform", "1 fix\n2 incompatible\n3 fix withdrawn=2.0.0", "fix, 1.0.0 to inform"},
		{"an incompatible one then with that too, as its mode has it", "1 fix\n2 incompatible\n3 incompatible withdrawn=2.0.0", "incompatible, 1.0.0"},
		{"where all are withdrawn with nothing", "1 fix\n2 fix withdrawn=1.0.0", "fix, nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked []string
			w := answering(outside{})
			w.Check = func(c release.Check) (release.Reason, *release.Verdict) {
				text := "nothing"
				if c.Baseline != nil {
					text = c.Baseline.Version.String()
				}
				if c.Inform {
					text += " to inform"
				}
				asked = append(asked, fmt.Sprintf("%s, %s", shortMode(c.Mode), text))
				return "", nil
			}
			state(parse(t, test.history), w)
			if got := asked[len(asked)-1]; got != test.want {
				t.Errorf("asked about %s, want %s", got, test.want)
			}
		})
	}
}

// The keys that users rely on are those of the spec as it is, so that adding one needs no new request.
func TestAnImageIsCheckedForTheKeysOfItsSpec(t *testing.T) {
	h := parse(t, "1 fix\nbreaks2 fix\nbreaks2 fix note=n2")
	h[2].spec.ContractEnv, h[2].spec.ContractLabels = []string{"GOFLAGS"}, []string{"team"}
	var last release.Check
	w := answering(outside{})
	w.Check = func(c release.Check) (release.Reason, *release.Verdict) {
		last = c
		return breaks(c)
	}
	s := state(h, w)
	if len(s.Requests) != 1 || s.Requests[0].ID != "c2" {
		t.Fatalf("open requests %+v, want that of c2", s.Requests)
	}
	if fmt.Sprint(last.ContractEnv, last.ContractLabels) != "[GOFLAGS] [team]" {
		t.Errorf("checked for %v and %v", last.ContractEnv, last.ContractLabels)
	}
}

// A request keeps the verdict for as long as it is refused for it, and a status says it.
func TestAVerdictStaysWithItsReason(t *testing.T) {
	s := state(parse(t, "1 fix\nbreaks2 fix"), answering(outside{}))
	status := s.Status(release.ImageStatus{}, "", false, origin)
	r := status.Requests[0]
	if r.Reason != release.UpgradeContradicted || r.Verdict == nil || r.Verdict.Right != release.Incompatible || r.Verdict.Baseline != release.First {
		t.Fatalf("the status says %s, %+v", r.Reason, r.Verdict)
	}
	if status.SameVerdicts(release.ImageStatus{}) || !status.SameVerdicts(reread(status)) {
		t.Error("a status is compared with one that says otherwise, or the same, and that is not told")
	}
	// A registry that is down for a moment takes nothing back of what is written.
	w := answering(outside{})
	w.Look = func(release.Look) (release.Answer, bool) {
		return release.Answer{Reason: release.RegistryUnavailable}, true
	}
	s, _, _ = s.Advance(w)
	if s.Requests[0].Verdict != nil {
		t.Error("the verdict outlives its reason")
	}
	if again := s.Status(status, "", false, origin); !again.SameVerdicts(status) || again.Requests[0].Reason != release.UpgradeContradicted {
		t.Errorf("the status says %+v", again.Requests[0])
	}
	if settled := s.Status(status, "", true, origin); settled.Requests[0].Verdict != nil {
		t.Errorf("the status still says %+v", settled.Requests[0])
	}
}
