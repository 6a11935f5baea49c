package contract

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A release said to be a fix that drops a platform, loses a variable and changes its command.
func broken(t *testing.T) (old, new Contract) {
	const before = `{"Cmd": ["a"], "Env": ["HOME=/root", "EDITOR=vi"]}`
	const after = `{"Cmd": ["b"], "Env": ["HOME=/home"]}`
	return contractOf(t, multi(part{platform: "linux/amd64", config: before}, part{platform: "linux/arm64", config: before})),
		contractOf(t, multi(part{platform: "linux/amd64", config: after}, part{platform: "linux/s390x", config: after, built: "linux/amd64"}))
}

var (
	noPlatform = Accept{Rule: "platform-removed", Subject: "linux/arm64"}
	otherHome  = Accept{Rule: "env-changed", Subject: "HOME"}
	mismatch   = Accept{Rule: "platform-mismatch", Subject: "linux/s390x"}
)

func because(a Accept) Accept {
	a.Reason = "announced"
	return a
}

func TestJudge(t *testing.T) {
	old, new := broken(t)
	for _, c := range []struct {
		name   string
		policy Policy
		want   Verdict
	}{
		{"a fix is contradicted", Policy{Mode: Fix},
			Verdict{Contradicted: true, Right: Incompatible, Needs: Incompatible, Accept: []Accept{mismatch, noPlatform, otherHome}}},
		{"so is a feature", Policy{Mode: Feature},
			Verdict{Contradicted: true, Right: Incompatible, Needs: Incompatible, Accept: []Accept{mismatch, noPlatform, otherHome}}},
		{"no mode is right for what does not run", Policy{Mode: Incompatible},
			Verdict{Contradicted: true, Right: Incompatible, Needs: Incompatible, Accept: []Accept{mismatch}}},
		{"only an accept helps there", Policy{Mode: Incompatible, Accept: []Accept{because(mismatch)}},
			Verdict{Right: Incompatible, Needs: Incompatible}},
		{"every contradiction accepted", Policy{Mode: Fix, Accept: []Accept{because(noPlatform), because(mismatch), because(otherHome)}},
			Verdict{Right: Fix, Needs: Incompatible}}, // a warning still needs more
		{"everything accepted", Policy{Mode: Fix, Accept: []Accept{because(noPlatform), because(mismatch), because(otherHome), {Rule: "platform-added", Subject: "linux/s390x"}, {Rule: "cmd-changed"}, {Rule: "env-removed", Subject: "EDITOR"}}},
			Verdict{Right: Fix, Needs: Fix}},
		{"one is left", Policy{Mode: Fix, Accept: []Accept{because(noPlatform), because(mismatch)}},
			Verdict{Contradicted: true, Right: Incompatible, Needs: Incompatible, Accept: []Accept{otherHome}}},
		{"accepts that match nothing", Policy{Mode: Incompatible, Accept: []Accept{because(mismatch), {Rule: "platform-removed", Subject: "linux/arm"}, {Rule: "platform-removed"}, {Rule: "no-such-rule"}}},
			Verdict{Right: Incompatible, Needs: Incompatible, Unused: []Accept{{Rule: "platform-removed", Subject: "linux/arm"}, {Rule: "platform-removed"}, {Rule: "no-such-rule"}}}},
		{"levels lowered", Policy{Mode: Fix, Levels: map[string]Level{"platform-removed": Warn, "env-changed": Info, "platform-mismatch": Warn}},
			Verdict{Right: Fix, Needs: Incompatible}},
		{"a level raised names the mode that is right", Policy{Mode: Fix, Levels: map[string]Level{"platform-removed": Info, "env-changed": Info, "platform-mismatch": Info, "cmd-changed": Deny}},
			Verdict{Contradicted: true, Right: Feature, Needs: Incompatible, Accept: []Accept{{Rule: "cmd-changed"}}}},
		{"the old image is nobody's", Policy{Mode: Fix, Inform: true, Levels: map[string]Level{"platform-removed": Deny}},
			Verdict{Contradicted: true, Right: Fix, Needs: Incompatible, Accept: []Accept{mismatch}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			findings := append(Inspect(new, c.policy), Compare(old, new, c.policy)...)
			if got := Judge(findings, c.policy); !reflect.DeepEqual(got, c.want) {
				t.Errorf("verdict is %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestJudgeNothing(t *testing.T) {
	if got, want := Judge(nil, Policy{Mode: Incompatible}), (Verdict{Right: Incompatible, Needs: Fix}); !reflect.DeepEqual(got, want) {
		t.Errorf("verdict on no finding is %+v, want %+v", got, want)
	}
}

// What the mode allows does not contradict it, at whatever level somebody recorded it.
func TestAModeIsNotContradictedByWhatItAllows(t *testing.T) {
	found := []Finding{{Rule: "port-added", Needs: Feature, Level: Deny}}
	if got, want := Judge(found, Policy{Mode: Feature}), (Verdict{Right: Feature, Needs: Feature}); !reflect.DeepEqual(got, want) {
		t.Errorf("verdict is %+v, want %+v", got, want)
	}
}

// The lines that a verdict offers must be enough, and so must its mode.
func TestVerdictsOfferWhatHelps(t *testing.T) {
	old, new := broken(t)
	judge := func(p Policy) Verdict {
		return Judge(append(Inspect(new, p), Compare(old, new, p)...), p)
	}
	for _, mode := range []Mode{Fix, Feature, Incompatible} {
		offered := judge(Policy{Mode: mode})
		if v := judge(Policy{Mode: mode, Accept: offered.Accept}); v.Contradicted || len(v.Unused) > 0 {
			t.Errorf("after accepting %v the verdict on %s is %+v", offered.Accept, mode, v)
		}
		if v := judge(Policy{Mode: offered.Right, Accept: []Accept{mismatch}}); v.Contradicted {
			t.Errorf("under %s, which was said to be right, the verdict is %+v", offered.Right, v)
		}
	}
}

// A policy that is stricter or milder changes levels where the mode does not allow the change, and where it does only for the milder.
func TestLevels(t *testing.T) {
	old, new := broken(t)
	old.Images[0].Platforms[0].Created = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	new.Images[0].Platforms[0].Created = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		rule string
		mode Mode
		set  Level
		want Level
	}{
		{"platform-removed", Fix, Warn, Warn},
		{"platform-removed", Incompatible, Warn, Info},
		{"cmd-changed", Fix, Deny, Deny},
		{"cmd-changed", Feature, Deny, Info},
		{"cmd-changed", Fix, Info, Info},
		{"platform-mismatch", Incompatible, Warn, Warn},
		{"created-regressed", Incompatible, Deny, Deny},
	} {
		p := Policy{Mode: c.mode, Levels: map[string]Level{c.rule: c.set}}
		found := false
		for _, f := range append(Inspect(new, p), Compare(old, new, p)...) {
			if f.Rule == c.rule {
				found = true
				if f.Level != c.want {
					t.Errorf("%s set to %s is %s under %s, want %s", c.rule, c.set, f.Level, c.mode, c.want)
				}
			}
		}
		if !found {
			t.Errorf("%s was not found", c.rule)
		}
	}
}

func TestFindingsAreRecordedWhole(t *testing.T) {
	old, new := broken(t)
	findings := Compare(old, new, Policy{Mode: Fix, Accept: []Accept{because(otherHome)}})
	const want = `[
  {
    "rule": "platform-removed",
    "needs": "incompatible",
    "level": "deny",
    "platforms": [
      "linux/arm64"
    ],
    "subject": "linux/arm64",
    "text": "the image is no longer there for this platform",
    "advice": "build the image for this platform too, or declare incompatible"
  },
  {
    "rule": "platform-added",
    "needs": "compatible-feature",
    "level": "info",
    "platforms": [
      "linux/s390x"
    ],
    "subject": "linux/s390x",
    "text": "the image is there for one more platform",
    "advice": "declare compatible-feature, so that users see the new platform"
  },
  {
    "rule": "cmd-changed",
    "needs": "compatible-feature",
    "level": "warn",
    "platforms": [
      "linux/amd64"
    ],
    "old": "[\"a\"]",
    "new": "[\"b\"]",
    "text": "the default command differs",
    "advice": "declare compatible-feature: the image does something else when it is run without arguments"
  },
  {
    "rule": "env-removed",
    "needs": "incompatible",
    "level": "warn",
    "platforms": [
      "linux/amd64"
    ],
    "subject": "EDITOR",
    "text": "the variable is no longer set",
    "advice": "set the variable again if anybody may read it"
  },
  {
    "rule": "env-changed",
    "needs": "incompatible",
    "level": "deny",
    "platforms": [
      "linux/amd64"
    ],
    "subject": "HOME",
    "text": "a variable that users rely on has another value",
    "advice": "keep the value, or declare incompatible: users rely on it",
    "accepted": true,
    "reason": "announced"
  }
]`
	got := encode(t, findings)
	if got != want {
		t.Errorf("recorded as\n%s\nwant\n%s", got, want)
	}
	var read []Finding
	if err := json.Unmarshal([]byte(got), &read); err != nil || !reflect.DeepEqual(read, findings) {
		t.Errorf("read back as %+v (%v), want %+v", read, err, findings)
	}
}

func TestWordsThatNobodyKnows(t *testing.T) {
	for _, text := range []string{`{"needs": "breaking"}`, `{"needs": ""}`, `{"level": "fatal"}`, `{"level": "Deny"}`} {
		var f Finding
		if err := json.Unmarshal([]byte(text), &f); err == nil {
			t.Errorf("%s is read as %+v", text, f)
		}
	}
	for _, f := range []Finding{{Needs: 4}, {Level: 3}} {
		if text, err := json.Marshal(f); err == nil {
			t.Errorf("%+v is written as %s", f, text)
		}
	}
	if got := Mode(9).String() + " " + Level(9).String(); got != "mode(9) level(9)" {
		t.Errorf("unknown words are called %s", got)
	}
}

// What an image says must not be able to forge a line of a report, nor fill it.
func TestTextsOfImagesAreHarmless(t *testing.T) {
	long, fits := strings.Repeat("ß", 500), strings.Repeat("ß", shown)
	old := contractOf(t, single(part{platform: "linux/amd64", config: `{"Volumes": {"/a\n## fine\u202e": {}}, "User": "` + long + `"}`}))
	new := contractOf(t, single(part{platform: "linux/amd64", config: `{"User": "` + fits + `"}`}))
	found := Compare(old, new, Policy{Mode: Fix})
	if len(found) != 2 {
		t.Fatalf("found %v", found)
	}
	if got, want := found[0].Old, long[:2*shown]+"…"; got != want {
		t.Errorf("a long user is shown as %q, want %q", got, want)
	}
	if got := found[0].New; got != fits {
		t.Errorf("a user that is not too long is shown as %q", got)
	}
	if got, want := found[1].Subject, `"/a\n## fine\u202e"`; got != want {
		t.Errorf("a volume is called %s, want %s", got, want)
	}
	v := Judge(found, Policy{Mode: Fix})
	if again := Judge(Compare(old, new, Policy{Mode: Fix, Accept: v.Accept}), Policy{Mode: Fix, Accept: v.Accept}); again.Contradicted || len(again.Unused) > 0 {
		t.Errorf("accepted as it is shown the verdict is %+v", again)
	}
}

func TestFindingsInOneLine(t *testing.T) {
	f := Finding{Rule: "env-changed", Needs: Incompatible, Platforms: []string{"linux/amd64", "linux/arm64"}, Subject: "LANG", Old: "C", New: "C.UTF-8", Text: "the variable has another value"}
	unfit := Finding{Rule: "platform-mismatch", Platforms: []string{"linux/arm64"}, Subject: "linux/arm64", Text: "the config says another platform than the index"}
	accepted := Finding{Rule: "index-to-single", Needs: Incompatible, Text: "an index became a single manifest", Accepted: true}
	for want, f := range map[string]Finding{
		"env-changed LANG on linux/amd64, linux/arm64: the variable has another value, C → C.UTF-8 (needs incompatible)": f,
		"platform-mismatch linux/arm64: the config says another platform than the index (no mode allows it)":             unfit,
		"index-to-single: an index became a single manifest (accepted)":                                                  accepted,
	} {
		if got := f.String(); got != want {
			t.Errorf("%+v reads\n%s\nwant\n%s", f, got, want)
		}
	}
}
