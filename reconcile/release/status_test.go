package release_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/release"
)

// words are the conditions, as "Ready=False/ImageNotFound Reconciling".
func words(conditions []release.Condition) string {
	var words []string
	for _, c := range conditions {
		word := c.Type
		if c.Type == "Ready" {
			word += "=" + string(c.Status) + "/" + string(c.Reason)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// TestConditions lists what a status says for every reason, as kstatus has it: Reconciling is what may become so by itself,
// Stalled is what somebody has to do something about.
func TestConditions(t *testing.T) {
	for _, want := range []string{
		"Ready=True/Released", "Ready=True/AlreadyReleased", "Ready=True/Delisted", "Ready=True/Ready",
		"Ready=Unknown/Verifying Reconciling",
		"Ready=False/Suspended",
		"Ready=False/InvalidSpec Stalled", "Ready=False/DuplicateName Stalled", "Ready=False/RegistryNotAllowed Stalled",
		"Ready=False/CredentialNotBound Stalled", "Ready=False/CredentialUnknown Stalled", "Ready=False/UpgradeNotDeclared Stalled",
		"Ready=False/VersionExists Stalled", "Ready=False/UnknownBase Stalled", "Ready=False/SpecsInvalid Stalled",
		"Ready=False/HistoryRewritten Stalled", "Ready=False/DelistingHeld Stalled", "Ready=False/StatusMissing Stalled",
		"Ready=False/StatusTampered Stalled",
		"Ready=False/ImageNotFound Reconciling", "Ready=False/AccessDenied Reconciling", "Ready=False/LayerMissing Reconciling",
		"Ready=False/PlatformMissing Reconciling", "Ready=False/DigestMismatch Reconciling", "Ready=False/ManifestInvalid Reconciling",
		"Ready=False/ImageTooLarge Reconciling", "Ready=False/UpgradeContradicted Reconciling", "Ready=False/UpgradeUnknown Reconciling",
		"Ready=Unknown/RateLimited Reconciling", "Ready=Unknown/RegistryUnavailable Reconciling",
		"Ready=Unknown/InvalidPolicy Stalled",
	} {
		_, rest, _ := strings.Cut(want, "/")
		name, _, _ := strings.Cut(rest, " ")
		reason := release.Reason(name)
		conditions := release.Conditions(nil, reason, origin)
		if got := words(conditions); got != want {
			t.Errorf("the conditions of %s are %q, want %q", reason, got, want)
		}
		for _, c := range conditions {
			if c.Message != reason.Message() || c.Reason != reason || !c.Since.Equal(origin) {
				t.Errorf("the condition %s of %s is %+v", c.Type, reason, c)
			}
			if c.Type != "Ready" && c.Status != release.True {
				t.Errorf("%s is written although it does not hold", c.Type)
			}
		}
	}
}

// TestTransitionTimes: a condition says since when its status and reason hold, not when it was written.
func TestTransitionTimes(t *testing.T) {
	later := func(hours int) time.Time { return origin.Add(time.Duration(hours) * time.Hour) }
	var conditions []release.Condition
	for i, want := range []struct {
		reason release.Reason
		since  string // of each condition, in hours
	}{
		{release.Verifying, "0 0"},
		{release.Verifying, "0 0"},
		{release.ImageNotFound, "2 2"},
		{release.ImageNotFound, "2 2"},
		{release.AccessDenied, "4 4"},
		{release.Released, "5"},
		{release.Released, "5"},
		{release.AlreadyReleased, "7"},
		{release.Released, "8"},
	} {
		conditions = release.Conditions(conditions, want.reason, later(i))
		var since []string
		for _, c := range conditions {
			since = append(since, fmt.Sprint(c.Since.Sub(origin).Hours()))
		}
		if got := strings.Join(since, " "); got != want.since {
			t.Errorf("at %d h the conditions of %s hold since %s, want %s", i, want.reason, got, want.since)
		}
	}
}

func TestReason(t *testing.T) {
	for _, test := range []struct {
		name, history string
		hold          release.Reason
		want          release.Reason
	}{
		{"released", "1 fix", "", release.Released},
		{"already released", "1 fix \n 1b fix", "", release.AlreadyReleased},
		{"released again after that", "1 fix \n 1b fix \n 2 fix", "", release.Released},
		{"refused", "1 fix \n gone2 fix", "", release.ImageNotFound},
		{"the newest refusal", "1 fix \n 2 incompatible \n gone3 fix \n 4 fix from=7.0.0", "", release.UnknownBase},
		{"not what waits behind it", "1 fix \n down2 fix \n 3 fix", "", release.RegistryUnavailable},
		{"an older line still open", "1 fix \n 2 incompatible \n gone3 fix from=1.0.0 \n 4 fix", "", release.ImageNotFound},
		{"mistakes come first", "1 fix \n gone2 fix \n invalid", release.Suspended, release.InvalidSpec},
		{"mistakes from the beginning", "invalid", "", release.InvalidSpec},
		{"mistakes corrected", "1 fix \n invalid \n 1 fix note=n1", "", release.Released},
		{"delisted", "1 fix \n gone2 fix \n delete", release.Suspended, release.Delisted},
		{"delisted and listed again with mistakes", "1 fix \n delete \n invalid", "", release.InvalidSpec},
		{"suspended, with something to release", "1 fix \n 2 fix suspend", "", release.Suspended},
		{"suspended, with nothing to release", "1 fix \n 1 fix note=n1 suspend", "", release.Released},
		{"a spec's own suspension before the catalog's hold", "1 fix \n 2 fix suspend", release.InvalidPolicy, release.Suspended},
		{"held, with nothing to release", "1 fix", release.InvalidPolicy, release.Released},
		{"held", "1 fix \n gone2 fix", release.InvalidPolicy, release.InvalidPolicy},
		{"listed again", "1 fix \n delete \n gone2 fix", "", release.ImageNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := state(parse(t, test.history), answering(outside{}))
			if got := s.Reason(test.hold); got != test.want {
				t.Errorf("the image is %s, want %s", got, test.want)
			}
		})
	}
}

// TestReasonBeforeTheFirstAnswer: while a look is on its way nothing is known, and nothing is claimed.
func TestReasonBeforeTheFirstAnswer(t *testing.T) {
	s := state(parse(t, "1 fix"), unanswered(outside{}))
	if got := s.Reason(""); got != release.Verifying {
		t.Errorf("the image is %s, want %s", got, release.Verifying)
	}
}

// TestStatusDoesNotFlicker follows one image through a bad day of its registry, minute by minute. Each step is what its
// request is told, whether that has lasted, and what the status says then of the image and of its request.
func TestStatusDoesNotFlicker(t *testing.T) {
	h := parse(t, `
		1 fix
		2 feature
	`)
	s := state(h[:1], answering(outside{}))
	status := s.Status(release.ImageStatus{}, "", false, origin)
	s = s.Observe(h.change(1))
	for i, step := range []struct {
		answer     release.Reason
		lasted     bool
		conditions string
		request    release.Reason
	}{
		{release.RegistryUnavailable, false, "Ready=True/Released", ""},
		{release.RegistryUnavailable, true, "Ready=Unknown/RegistryUnavailable Reconciling", release.RegistryUnavailable},
		{release.RateLimited, false, "Ready=Unknown/RegistryUnavailable Reconciling", release.RegistryUnavailable},
		{release.ImageNotFound, false, "Ready=False/ImageNotFound Reconciling", release.ImageNotFound},
		{release.RegistryUnavailable, false, "Ready=False/ImageNotFound Reconciling", release.ImageNotFound},
		{release.InternalError, false, "Ready=False/ImageNotFound Reconciling", release.ImageNotFound},
		{release.InternalError, true, "Ready=False/ImageNotFound Reconciling", release.ImageNotFound},
		{release.RateLimited, true, "Ready=Unknown/RateLimited Reconciling", release.RateLimited},
		{"", false, "Ready=True/Released", ""},
	} {
		world := outside{}.world()
		world.Look = func(release.Look) (release.Answer, bool) {
			if step.answer != "" {
				return release.Answer{Reason: step.answer}, true
			}
			return release.Answer{Digest: digestOf("2")}, true
		}
		now := origin.Add(time.Duration(i+1) * time.Minute)
		s, _, _ = s.Advance(world)
		before := status
		status = s.Status(before, "", step.lasted, now)
		if got := words(status.Conditions); got != step.conditions {
			t.Errorf("minute %d, %q: the conditions are %q, want %q", i+1, step.answer, got, step.conditions)
		}
		var request release.Reason
		if len(status.Requests) > 0 {
			request = status.Requests[0].Reason
		}
		if request != step.request {
			t.Errorf("minute %d, %q: the request is %q, want %q", i+1, step.answer, request, step.request)
		}
		if words(before.Conditions) == words(status.Conditions) && !reflect.DeepEqual(before, status) && before.Requests != nil {
			t.Errorf("minute %d, %q: the status changed without news:\n%+v\n%+v", i+1, step.answer, before, status)
		}
	}
}

// TestStatusOfANewImage: the first thing said is that it is being verified, even where the registry is down.
func TestStatusOfANewImage(t *testing.T) {
	for _, tag := range []string{"down1", "ours1"} {
		s := state(parse(t, tag+" fix"), answering(outside{}))
		status := s.Status(release.ImageStatus{}, "", false, origin)
		if got, want := words(status.Conditions), "Ready=Unknown/Verifying Reconciling"; got != want || status.Requests[0].Reason != "" {
			t.Errorf("the conditions are %q and the request is %q, want %q", got, status.Requests[0].Reason, want)
		}
	}
	s := state(parse(t, "1 fix"), unanswered(outside{}))
	before := s.Status(release.ImageStatus{}, "", false, origin)
	if after := s.Status(before, "", false, origin.Add(time.Hour)); !reflect.DeepEqual(before, after) {
		t.Errorf("the status changed without news:\n%+v\n%+v", before, after)
	}
}

// TestInternalErrorIsNeverWritten, however long it lasts and whatever stands there.
func TestInternalErrorIsNeverWritten(t *testing.T) {
	s := state(parse(t, "ours1 fix"), answering(outside{}))
	var status release.ImageStatus
	for i := range 3 {
		status = s.Status(status, "", true, origin.Add(time.Duration(i)*time.Hour))
		if text := fmt.Sprintf("%+v", status); strings.Contains(text, string(release.InternalError)) {
			t.Fatalf("the status says %s", text)
		}
	}
}

// TestHoldIsWritten: a suspension at once, a policy that cannot be read when it has lasted.
func TestHoldIsWritten(t *testing.T) {
	s := state(parse(t, "1 fix \n gone2 fix"), answering(outside{}))
	before := s.Status(release.ImageStatus{}, "", false, origin)
	for _, test := range []struct {
		hold   release.Reason
		lasted bool
		want   string
	}{
		{release.Suspended, false, "Ready=False/Suspended"},
		{release.InvalidPolicy, false, "Ready=False/ImageNotFound Reconciling"},
		{release.InvalidPolicy, true, "Ready=Unknown/InvalidPolicy Stalled"},
	} {
		if got := words(s.Status(before, test.hold, test.lasted, origin).Conditions); got != test.want {
			t.Errorf("held by %s, lasted %v: the conditions are %q, want %q", test.hold, test.lasted, got, test.want)
		}
	}
}

// TestRestore: everything that planning goes by survives the file, wherever the daemon is stopped. That planning goes on as
// if nothing had happened is part of TestOutcomeIsIndependentOfPollingAndCrashes.
func TestRestore(t *testing.T) {
	h := parse(t, `
		1 fix withdrawn=1.0.0
		2 incompatible
		gone3 fix accept=r
		gone4 feature from=1.0.0 platform=linux/arm64 cred=key
		gone5 fix
		invalid
		7 fix
		delete
	`)
	for stop := range len(h) + 1 {
		for name, world := range map[string]release.World{"answered": answering(outside{}), "unanswered": unanswered(outside{}), "held": answering(outside{suspend: true})} {
			s := state(h[:stop], world)
			file := s.Status(release.ImageStatus{}, "", true, origin)
			again := reread(file).Restore("a", s.Releases)
			if got, want := asJSON(again.Status(release.ImageStatus{}, "", true, origin)), asJSON(file); got != want {
				t.Errorf("%s, after line %d:\n%s\ncomes back as\n%s", name, stop, want, got)
			}
			if again.Name != "a" || !reflect.DeepEqual(again.Releases, s.Releases) {
				t.Errorf("%s, after line %d: %s comes back with %d releases", name, stop, again.Name, len(again.Releases))
			}
		}
	}
}

func TestGone(t *testing.T) {
	for history, want := range map[string]bool{
		"invalid": false, "invalid \n delete": true, "1 fix": false, "1 fix \n delete": false, "gone1 fix \n delete": false,
	} {
		h := parse(t, history)
		if s := state(h, answering(outside{})); s.Gone() != want {
			t.Errorf("after %q nothing is left to say: %v, want %v", history, s.Gone(), want)
		}
	}
	s := release.State{Name: "a"}
	if !s.Gone() || s.Observe(parse(t, "1 fix").change(0)).Gone() {
		t.Error("an image nobody heard of has something to say, or one with a commit to be taken into account has not")
	}
}

// TestStanding: the file that stands for an image is known before its change can be taken into account, so that the next
// commit's files are told apart by what was seen last.
func TestStanding(t *testing.T) {
	h := parse(t, `
		1 fix
		2 fix
		invalid
		delete
		invalid
		delete
	`)
	moved := *h[1].spec
	moved.Path = "images/moved.yaml"
	h[1].spec = &moved
	standing := func(s release.State) string {
		path, usable, there := s.Standing()
		return fmt.Sprintf("%q usable %v there %v", path, usable, there)
	}
	s := release.State{Name: "a"}
	if got, want := standing(s), `"" usable false there false`; got != want {
		t.Errorf("for an image nobody heard of stands %s, want %s", got, want)
	}
	for i, want := range []string{
		`"images/a.yaml" usable true there true`,
		`"images/moved.yaml" usable true there true`,
		`"images/a.yaml" usable false there true`,
		`"" usable false there false`,
		`"images/a.yaml" usable false there true`,
		`"" usable false there false`,
	} {
		s = s.Observe(h.change(i))
		waiting, _, _ := s.Advance(unanswered(outside{}))
		through, _, _ := s.Advance(answering(outside{}))
		for _, s := range []release.State{s, waiting, through} {
			if got := standing(s); got != want {
				t.Errorf("after line %d, %d changes not being taken into account, stands %s, want %s", i+1, len(s.Backlog), got, want)
			}
		}
	}
}
