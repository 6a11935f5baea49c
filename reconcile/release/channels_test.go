package release_test

import (
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/release"
)

// channels are what each channel means, as "latest=1.0.0 1.latest=1.0.0 …".
func channels(s release.State) string {
	var words []string
	for _, c := range s.Channels() {
		words = append(words, c.Name+"="+c.Version.String())
	}
	return strings.Join(words, " ")
}

func TestChannels(t *testing.T) {
	for _, test := range []struct{ name, history, want string }{
		{"nothing released, nothing served", `
			gone1 fix
			`, ""},
		{"a release is served by all three kinds", `
			1 fix
			`, "latest=1.0.0 1.latest=1.0.0 1.0.latest=1.0.0"},
		{"each serves the highest release of its range, the newest lines first", `
			1 fix
			2 fix
			3 feature
			4 incompatible
			`, "latest=2.0.0 2.latest=2.0.0 2.0.latest=2.0.0 1.latest=1.1.0 1.1.latest=1.1.0 1.0.latest=1.0.1"},
		{"a fix of an old line moves that line only, and 1.latest never another major", `
			1 fix
			2 incompatible
			3 fix from=1.0.0
			`, "latest=2.0.0 2.latest=2.0.0 2.0.latest=2.0.0 1.latest=1.0.1 1.0.latest=1.0.1"},
		{"the highest, not the one made last", `
			1 fix
			2 feature
			3 fix from=1.0.0
			`, "latest=1.1.0 1.latest=1.1.0 1.1.latest=1.1.0 1.0.latest=1.0.1"},
		{"numbers, not letters: 1.10.0 is above 1.9.0", `
			1 feature from=1.8.0
			2 feature
			`, "latest=1.10.0 1.latest=1.10.0 1.10.latest=1.10.0 1.9.latest=1.9.0"},
		{"a withdrawn version leaves every channel, which move back", `
			1 fix
			2 fix
			3 incompatible
			3 incompatible note=n3 withdrawn=2.0.0,1.0.1
			`, "latest=1.0.0 1.latest=1.0.0 1.0.latest=1.0.0"},
		{"a line withdrawn as a whole has no channel", `
			1 fix
			2 incompatible
			2 incompatible note=n2 withdrawn=1.0.0
			`, "latest=2.0.0 2.latest=2.0.0 2.0.latest=2.0.0"},
		{"all withdrawn, nothing served", `
			1 fix
			1 fix note=n1 withdrawn=1.0.0
			`, ""},
		{"withdrawing what was never released changes nothing", `
			1 fix
			1 fix note=n1 withdrawn=1.0.1,7.0.0
			2 fix withdrawn=7.0.0
			`, "latest=1.0.1 1.latest=1.0.1 1.0.latest=1.0.1"},
		{"a withdrawal can be taken back", `
			1 fix
			2 fix withdrawn=1.0.0
			2 fix note=n2 withdrawn=1.0.1
			2 fix note=n2
			`, "latest=1.0.1 1.latest=1.0.1 1.0.latest=1.0.1"},
		{"a version withdrawn before it exists is never served", `
			1 fix
			2 fix withdrawn=1.0.1
			`, "latest=1.0.0 1.latest=1.0.0 1.0.latest=1.0.0"},
		{"a delisted image has none", `
			1 fix
			delete
			`, ""},
		{"and has them again when it is listed again", `
			1 fix
			2 fix
			delete
			2 fix note=n2
			`, "latest=1.0.1 1.latest=1.0.1 1.0.latest=1.0.1"},
		{"mistakes in a spec take nothing away", `
			1 fix
			invalid
			`, "latest=1.0.0 1.latest=1.0.0 1.0.latest=1.0.0"},
		{"nor do they bring back what is delisted", `
			1 fix
			delete
			invalid
			`, ""},
		{"withdrawing works while releases are held", `
			1 fix
			2 fix
			2 fix note=n2 suspend withdrawn=1.0.1
			`, "latest=1.0.0 1.latest=1.0.0 1.0.latest=1.0.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := channels(state(parse(t, test.history), answering(outside{}))); got != test.want {
				t.Errorf("the channels are %q, want %q", got, test.want)
			}
		})
	}
}

// TestWithdrawingWorksUnderAHold: what is bad can be taken back although the policy holds all releases.
func TestWithdrawingWorksUnderAHold(t *testing.T) {
	h := parse(t, `
		1 fix
		2 fix
		2 fix note=n2 withdrawn=1.0.1
	`)
	s := state(h[:2], answering(outside{}))
	s, _, _ = s.Observe(h.change(2)).Advance(answering(outside{suspend: true}))
	if got, want := channels(s), "latest=1.0.0 1.latest=1.0.0 1.0.latest=1.0.0"; got != want {
		t.Errorf("the channels are %q, want %q", got, want)
	}
}

// TestChannelsPin: consumers get the digest that was verified, whatever the tag means by now.
func TestChannelsPin(t *testing.T) {
	world := answering(outside{})
	world.Now = origin.Add(time.Hour)
	s := state(parse(t, "1@b fix"), world)
	want := release.Channel{
		Name: "latest", Version: release.First, Reference: "b.test/acme/a:1@" + string(digestOf("1")), Released: origin.Add(time.Hour),
	}
	if got := s.Channels()[0]; got != want {
		t.Errorf("latest is %+v, want %+v", got, want)
	}
	made, found := s.Find(release.First)
	if _, other := s.Find(version("1.0.1")); !found || made.Reference() != want.Reference || other {
		t.Errorf("1.0.0 is found: %v, as %s; 1.0.1 is found: %v", found, made.Reference(), other)
	}
}

func TestWithdrawnSaysWhy(t *testing.T) {
	s := state(parse(t, "1 fix withdrawn=1.0.0"), answering(outside{}))
	if reason, is := s.Withdrawn(release.First); !is || reason != "broken" {
		t.Errorf("1.0.0 is withdrawn: %v, because %q", is, reason)
	}
	if _, is := (release.State{}).Withdrawn(release.First); is {
		t.Error("an image without a spec has a withdrawn version")
	}
}
