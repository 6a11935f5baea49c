package release_test

import (
	"fmt"
	"testing"
	"time"

	"tidewaiter/reconcile/release"
)

// What audits find is said as long as it holds, but that a tag moved is said of a release for good.
func TestDrifts(t *testing.T) {
	first, second := version("1.0.0"), version("1.0.1")
	s := state(parse(t, "1 fix\n2 fix\n3 incompatible"), answering(outside{}))
	for i, step := range []struct {
		version release.Version
		found   []release.Reason
		drifts  string // of what is served
		types   string // of the conditions besides Ready
	}{
		{second, nil, "", ""},
		{first, []release.Reason{release.DigestMissing}, "", ""}, // which no channel serves
		{second, []release.Reason{release.IndexMoved}, "1.0.1 IndexMoved", "TagMoved IndexMoved"},
		{second, []release.Reason{release.IndexMoved}, "1.0.1 IndexMoved", "TagMoved IndexMoved"},
		{second, nil, "1.0.1 IndexMoved", "TagMoved IndexMoved"},
		{second, []release.Reason{release.ContentMoved, release.DigestMissing}, "1.0.1 ContentMoved, 1.0.1 DigestMissing", "TagMoved ContentMoved, DigestMissing DigestMissing"},
		{second, []release.Reason{release.IndexMoved}, "1.0.1 ContentMoved", "TagMoved ContentMoved"},
		{version("2.0.0"), []release.Reason{release.TagGone}, "1.0.1 ContentMoved, 2.0.0 TagGone", "TagMoved ContentMoved, TagGone TagGone"},
		{version("2.0.0"), nil, "1.0.1 ContentMoved", "TagMoved ContentMoved"},
	} {
		before := s.Status(release.ImageStatus{}, "", false, origin)
		now := origin.Add(time.Duration(i) * time.Hour)
		s = s.Audited(step.version, step.found, now)
		status := s.Status(before, "", false, now)
		var drifts, types string
		for _, d := range status.Drifts {
			drifts += fmt.Sprintf(", %s %s", d.Version, d.Finding)
		}
		for _, c := range status.Conditions[1:] {
			types += fmt.Sprintf(", %s %s", c.Type, c.Reason)
			if c.Status != release.True || c.Message != c.Reason.Message() {
				t.Errorf("step %d: condition %+v", i, c)
			}
		}
		if status.Conditions[0].Type != "Ready" || trim(drifts) != step.drifts || trim(types) != step.types {
			t.Errorf("step %d: drifts %q, conditions %q, want %q and %q", i, trim(drifts), trim(types), step.drifts, step.types)
		}
		if restored := reread(status).Restore("a", s.Releases).Status(status, "", false, now.Add(time.Hour)); asJSON(restored) != asJSON(status) {
			t.Errorf("step %d: after a restart\n%s\nbefore\n%s", i, asJSON(restored), asJSON(status))
		}
	}
	for _, finding := range release.Findings() {
		if finding.Message() == "" || finding.Kind() != 0 {
			t.Errorf("%s has no message, or is a refusal", finding)
		}
	}
}

func trim(list string) string {
	if list == "" {
		return ""
	}
	return list[2:]
}

// A drift stays said while the registry that would be asked about something else is down, and goes with its release.
func TestADriftGoesWithItsRelease(t *testing.T) {
	s := state(parse(t, "1 fix\n2 fix"), answering(outside{})).Audited(version("1.0.1"), []release.Reason{release.TagGone}, origin)
	status := s.Status(release.ImageStatus{}, "", false, origin)
	waiting := s.Observe(release.Change{Commit: release.Commit{ID: "x"}, Spec: parse(t, "down3 fix note=y")[0].spec})
	waiting, _, _ = waiting.Advance(answering(outside{}))
	if again := waiting.Status(status, "", false, origin); asJSON(again.Conditions) != asJSON(status.Conditions) {
		t.Errorf("while a registry is down the conditions are\n%s\nwant\n%s", asJSON(again.Conditions), asJSON(status.Conditions))
	}
	upgraded := s.Observe(release.Change{Commit: release.Commit{ID: "x"}, Spec: parse(t, "3 fix note=x")[0].spec})
	upgraded, _, _ = upgraded.Advance(answering(outside{}))
	if status := upgraded.Status(status, "", false, origin); len(status.Drifts) > 0 || len(status.Conditions) > 1 {
		t.Errorf("of a release that is not served any more it is said %s", asJSON(status))
	}
}
