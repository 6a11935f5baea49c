package release_test

import (
	"slices"
	"strings"
	"testing"

	"tidewaiter/reconcile/release"
)

// TestRules reads as the rules do, one case for each of their sentences. A history (see history) comes to releases, each
// written tag=version, and after a semicolon to the requests left open, each with its reason and the mode it carries.
// Every case is also followed with many patterns of polls, answers and restarts.
func TestRules(t *testing.T) {
	for _, test := range []struct{ rule, history, want string }{
		// 1. R empty.
		{"the first release is 1.0.0", `
			1 feature
			`, "1=1.0.0"},
		{"the mode is ignored for the very first release", `
			1 incompatible
			`, "1=1.0.0"},
		{"with from, an image that already had versions is adopted", `
			1 feature from=3.4.1
			`, "1=3.5.0"},
		{"an image is adopted even where from is below 1.0.0", `
			1 incompatible from=0.9.0
			`, "1=1.0.0"},
		{"modes carried do not raise the first version", `
			gone1 incompatible
			2 fix
			`, "2=1.0.0"},

		// 2. from given.
		{"an old line gets a fix", `
			1 fix
			2 incompatible
			3 fix from=1.0.0
			`, "1=1.0.0 2=2.0.0 3=1.0.1"},
		{"from must name a version that was released", `
			1 fix
			2 fix from=1.4.2
			`, "1=1.0.0; 2 UnknownBase"},
		{"from a withdrawn version is from a version that was released", `
			1 fix
			2 feature
			2 feature note=n2 withdrawn=1.0.0
			3 fix from=1.0.0 withdrawn=1.0.0
			`, "1=1.0.0 2=1.1.0 3=1.0.1"},
		{"an unknown base heals when that version is released", `
			1 fix
			2 fix from=1.1.0
			3 feature
			`, "1=1.0.0 3=1.1.0 2=1.1.1"},

		// 3. No from.
		{"a fix, a feature and an incompatible upgrade raise their own number and reset those below it", `
			1 fix
			2 fix
			3 feature
			4 fix
			5 incompatible
			`, "1=1.0.0 2=1.0.1 3=1.1.0 4=1.1.1 5=2.0.0"},
		{"without from the newest release is upgraded, not the last one made", `
			1 fix
			2 incompatible
			3 fix from=1.0.0
			4 fix
			`, "1=1.0.0 2=2.0.0 3=1.0.1 4=2.0.1"},
		{"a withdrawn release is upgraded all the same, its number is never used again", `
			1 fix
			2 feature
			3 feature withdrawn=1.1.0
			`, "1=1.0.0 2=1.1.0 3=1.2.0"},
		{"three merges between two polls become three releases", `
			1 fix
			2 incompatible
			3 fix
			4 feature
			`, "1=1.0.0 2=2.0.0 3=2.0.1 4=2.1.0"},
		{"three merges, the first image missing: the second carries its mode", `
			1 fix
			gone2 incompatible
			3 fix
			4 feature
			`, "1=1.0.0 3=2.0.0 4=2.1.0"},

		// 4. The result must not be in R.
		{"a version is never made twice", `
			1 fix
			2 fix
			3 fix from=1.0.0
			`, "1=1.0.0 2=1.0.1; 3 VersionExists"},
		{"nor is one that was withdrawn", `
			1 fix
			2 feature
			2 feature note=n2 withdrawn=1.1.0
			3 feature from=1.0.0 withdrawn=1.1.0
			`, "1=1.0.0 2=1.1.0; 3 VersionExists"},
		{"VersionExists is tested before anybody is asked", `
			1 fix
			2 fix
			down3 fix from=1.0.0
			`, "1=1.0.0 2=1.0.1; down3 VersionExists"},

		// 6. Already released.
		{"another tag for the newest release's content makes no new number, whatever the mode", `
			1 fix
			1b incompatible
			`, "1=1.0.0"},
		{"the content of an older release makes one", `
			1 fix
			2 fix
			1b fix
			`, "1=1.0.0 2=1.0.1 1b=1.0.2"},
		{"with from it is the newest release of that line that counts", `
			1 fix
			2 incompatible
			2b fix from=1.0.0
			2c feature from=1.0.0
			1b feature from=1.0.0
			`, "1=1.0.0 2=2.0.0 2b=1.0.1 1b=1.1.0"},
		{"withdrawn or not", `
			1 fix
			2 fix
			2b fix withdrawn=1.0.1
			`, "1=1.0.0 2=1.0.1"},
		{"except that an incompatible upgrade moves a withdrawn release's content to a new line", `
			1 fix
			2 fix
			2 incompatible withdrawn=1.0.1
			`, "1=1.0.0 2=1.0.1 2=2.0.0"},
		{"AlreadyReleased comes before UpgradeNotDeclared, and uses nothing up", `
			1 fix note=x
			1b fix note=x
			1c feature note=y
			2 feature note=y
			`, "1=1.0.0 2=1.1.0"},
		{"another tag for the newest release's content with a left-over declaration is AlreadyReleased, too", `
			1 fix note=x
			1b fix note=x
			`, "1=1.0.0"},
		{"AlreadyReleased clears what was carried", `
			1 fix
			gone2 incompatible
			1b fix
			3 fix
			`, "1=1.0.0 3=1.0.1"},

		// 7. A declaration is used up by the release it made.
		{"a changed tag with a left-over declaration is refused", `
			1 fix note=x
			2 fix note=x
			`, "1=1.0.0; 2 UpgradeNotDeclared"},
		{"notes, mode, from and accept all make another declaration", `
			1 fix note=x
			2 fix note=y
			3 feature note=y
			4 feature note=y accept=r
			5 fix note=x from=1.2.0
			`, "1=1.0.0 2=1.0.1 3=1.1.0 4=1.2.0 5=1.2.1"},
		{"a declaration is used up by any release, not only the last one", `
			1 fix note=x
			2 fix note=y
			3 fix note=x
			`, "1=1.0.0 2=1.0.1; 3 UpgradeNotDeclared"},
		{"a git revert must declare its own mode", `
			1 fix note=x
			2 feature note=y
			1 fix note=x
			`, "1=1.0.0 2=1.1.0; 1 UpgradeNotDeclared"},
		{"a request that was never released may be corrected without a new declaration", `
			1 fix
			gone2 feature note=x
			2 feature note=x
			`, "1=1.0.0 2=1.1.0"},
		{"a refused request's declaration may come again later", `
			1 fix
			gone2 feature note=x
			3 fix
			4 feature note=x
			`, "1=1.0.0 3=1.1.0 4=1.2.0"},
		{"a declaration alone is a request: the left-over one is replaced and the image released", `
			1 fix note=x
			2 fix note=x
			2 feature note=y
			`, "1=1.0.0 2=1.1.0"},
		{"undeclaredUpgrade: inherit turns the rule off", `
			> inherit
			1 fix note=x
			2 fix note=x
			`, "1=1.0.0 2=1.0.1"},
		{"turning it off later releases what was refused", `
			1 fix note=x
			2 feature note=x
			3 feature note=x
			> inherit
			`, "1=1.0.0 2=1.1.0 3=1.2.0"},

		// Requests.
		{"editing what is no part of a request asks for nothing", `
			1 fix
			1 fix note=n1 cred=key platform=linux/arm64
			`, "1=1.0.0"},
		{"credentials apply to the next look", `
			private1 fix
			private1 fix note=n1 cred=key
			`, "private1=1.0.0"},
		{"credentials that are not in the policy refuse the next look", `
			down1 fix
			down1 fix note=n1 cred=other
			`, "; down1 CredentialUnknown"},
		{"credentials of a spec whose request is final change nothing", `
			1 fix
			1 fix note=n1 cred=other
			`, "1=1.0.0"},
		{"a digest alone is another reference", `
			1 fix
			gone2 feature note=x
			gone2 feature note=x pin
			`, "1=1.0.0; gone2 ImageNotFound carrying feature"},
		{"an invalid spec makes no request, and the next valid one is compared with the last valid one", `
			1 fix
			invalid
			1 fix note=n1
			invalid
			2 fix
			`, "1=1.0.0 2=1.0.1"},
		{"an invalid spec drops no request that waits", `
			down1 fix
			invalid
			> up
			`, "down1=1.0.0"},
		{"an invalid spec never delists", `
			1 fix
			invalid
			`, "1=1.0.0"},
		{"an image is planned by its own commits only", `
			1 fix
			b: gone1 incompatible
			2 feature
			b: 2 fix
			`, "1=1.0.0 2=1.1.0 / b: 2=1.0.0"},

		// Delisting.
		{"a deleted spec drops its queue", `
			1 fix
			gone2 incompatible
			delete
			`, "1=1.0.0"},
		{"a request that waited is not there any more when the spec comes back", `
			1 fix
			down2 feature
			delete
			3 fix
			> up
			`, "1=1.0.0 3=1.0.1"},
		{"a spec that appears again makes a request, which finds its release", `
			1 fix
			delete
			1 fix note=n1
			`, "1=1.0.0"},
		{"a spec that appears again as an older release is refused, for its declaration is used up", `
			1 fix
			2 fix
			delete
			1 fix note=n1
			`, "1=1.0.0 2=1.0.1; 1 UpgradeNotDeclared"},
		{"a spec that appears again asks again for what was dropped", `
			1 fix
			gone2 feature note=x
			delete
			gone2 feature note=x
			`, "1=1.0.0; gone2 ImageNotFound"},
		{"a spec that appears again goes on from the newest release, and delisting clears what was carried", `
			1 fix
			gone2 incompatible
			delete
			3 feature
			`, "1=1.0.0 3=1.1.0"},
		{"a spec that comes back with mistakes stays delisted until it is valid", `
			1 fix
			delete
			invalid
			1 fix note=n1
			2 fix
			`, "1=1.0.0 2=1.0.1"},

		// Superseding and carrying.
		{"a request refused for good waits for a commit while nothing newer stands behind it", `
			1 fix
			gone2 feature
			`, "1=1.0.0; gone2 ImageNotFound"},
		{"a refused request is superseded by a newer one, which carries its mode", `
			1 fix
			gone2 incompatible
			gone3 fix
			`, "1=1.0.0; gone3 ImageNotFound carrying incompatible"},
		{"the greatest of the modes carried counts", `
			1 fix
			gone2 feature
			gone3 incompatible
			gone4 fix
			5 fix
			`, "1=1.0.0 5=2.0.0"},
		{"a greater mode of its own is not lowered", `
			1 fix
			gone2 fix
			3 incompatible
			`, "1=1.0.0 3=2.0.0"},
		{"what was carried is spent by the release", `
			1 fix
			gone2 incompatible
			3 fix
			4 fix
			`, "1=1.0.0 3=2.0.0 4=2.0.1"},
		{"every refusal for good is superseded alike: by the policy", `
			1 fix
			> deny
			2@b incompatible
			3 fix
			`, "1=1.0.0 3=2.0.0"},
		{"every refusal for good is superseded alike: by rule 4", `
			1 fix
			2 feature
			3 feature from=1.0.0
			4 fix from=1.0.0
			`, "1=1.0.0 2=1.1.0 4=1.0.1"},
		{"every refusal for good is superseded alike: by rule 2", `
			1 fix
			2 fix
			3 fix from=1.7.0
			4 feature from=1.0.0
			`, "1=1.0.0 2=1.0.1 4=1.1.0"},
		{"a transient answer supersedes nothing: its queue waits", `
			1 fix
			down2 incompatible
			3 fix
			`, "1=1.0.0; down2 RegistryUnavailable, 3 not looked at"},
		{"our own error supersedes nothing either", `
			1 fix
			ours2 incompatible
			3 fix
			`, "1=1.0.0; ours2 InternalError, 3 not looked at"},
		{"and when the answer comes all are released in their order", `
			1 fix
			down2 incompatible
			3 fix
			> up
			`, "1=1.0.0 down2=2.0.0 3=2.0.1"},

		// Corrections.
		{"a newer request of the same reference corrects the one before it, whose mode is dropped", `
			1 fix
			gone2 incompatible
			gone2 fix
			3 fix
			`, "1=1.0.0 3=1.0.1"},
		{"a correction keeps what the corrected one carried", `
			1 fix
			gone2 incompatible
			gone3 feature
			gone3 fix
			4 fix
			`, "1=1.0.0 4=2.0.0"},
		{"a correction is about the request directly before it only", `
			1 fix
			gone2 incompatible
			gone3 fix
			gone2 fix
			4 fix
			`, "1=1.0.0 4=2.0.0"},
		{"directly before it in its own queue", `
			1 fix
			2 incompatible
			gone3 incompatible
			gone4 fix from=1.0.0
			gone3 fix
			5 fix
			`, "1=1.0.0 2=2.0.0 5=2.0.1; gone4 ImageNotFound"},
		{"a pinned digest makes it another reference, so that the mode is carried", `
			1 fix
			gone2 incompatible
			gone2 fix pin
			3 fix
			`, "1=1.0.0 3=2.0.0"},
		{"UpgradeNotDeclared carries nothing", `
			1 incompatible note=x
			2 incompatible note=x
			3 fix
			`, "1=1.0.0 3=1.0.1"},
		{"UpgradeNotDeclared hands on what it carried", `
			1 fix note=x
			gone2 incompatible
			3 fix note=x
			4 fix
			`, "1=1.0.0 4=2.0.0"},
		{"a declaration that is used up carries nothing, whatever the request was refused for", `
			1 incompatible note=x
			gone2 incompatible note=x
			3 fix
			`, "1=1.0.0 3=1.0.1"},

		// Queues.
		{"an older line does not wait for the head", `
			1 fix
			2 incompatible
			down3 fix
			4 fix from=1.0.0
			`, "1=1.0.0 2=2.0.0 4=1.0.1; down3 RegistryUnavailable"},
		{"the head does not wait for an older line", `
			1 fix
			2 incompatible
			down3 fix from=1.0.0
			4 fix
			`, "1=1.0.0 2=2.0.0 4=2.0.1; down3 RegistryUnavailable"},
		{"one older line does not wait for another", `
			1 fix
			2 incompatible
			3 incompatible
			down4 fix from=1.0.0
			5 fix from=2.0.0
			`, "1=1.0.0 2=2.0.0 3=3.0.0 5=2.0.1; down4 RegistryUnavailable"},
		{"within an older line requests wait for each other", `
			1 fix
			2 incompatible
			down3 fix from=1.0.0
			4 feature from=1.0.0
			`, "1=1.0.0 2=2.0.0; down3 RegistryUnavailable, 4 not looked at"},
		{"modes are carried within a queue, and from requests are released with their own", `
			1 fix
			2 incompatible
			gone3 incompatible
			gone4 feature from=1.0.0
			5 fix from=1.0.0
			6 fix
			`, "1=1.0.0 2=2.0.0 5=1.0.1 6=3.0.0"},
		{"from the newest release is of the head queue", `
			1 fix
			2 fix from=1.0.0
			3 feature from=1.0.1
			`, "1=1.0.0 2=1.0.1 3=1.1.0"},
		{"it supersedes everything before it there, waiting ones included", `
			1 fix
			down2 incompatible
			3 fix
			4@b fix from=1.0.0
			`, "1=1.0.0 4@b=1.0.1"},
		{"it drops what was carried", `
			1 fix
			gone2 incompatible
			gone3 fix
			gone4 fix from=1.0.0
			5 fix
			`, "1=1.0.0 5=1.0.1"},
		{"it leaves older lines alone", `
			1 fix
			2 incompatible
			down3 fix from=1.0.0
			down4 fix
			5 fix from=2.0.0
			`, "1=1.0.0 2=2.0.0 5=2.0.1; down3 RegistryUnavailable"},
		{"it waits like any other, and what comes behind it waits with it", `
			1 fix
			down2 fix from=1.0.0
			3 fix
			`, "1=1.0.0; down2 RegistryUnavailable, 3 not looked at"},
		{"it is the newest release when its turn comes that counts, not when it was merged", `
			1 fix
			down2 feature
			3 fix from=1.1.0
			> up
			`, "1=1.0.0 down2=1.1.0 3=1.1.1"},
		{"what was the newest release when it was merged may be an older line when its turn comes", `
			1 fix
			2 feature
			down3 fix from=1.0.0
			4 incompatible
			5 fix from=1.1.0
			`, "1=1.0.0 2=1.1.0 4=2.0.0; down3 RegistryUnavailable, 5 not looked at"},
		{"a request that becomes one from the newest release drops what it carried in its line", `
			1 fix
			gone2 incompatible from=1.1.0
			gone3 fix from=1.1.0
			4 feature
			5 fix
			`, "1=1.0.0 4=1.1.0 5=1.1.1"},
		{"a request that supersedes again carries the greatest of both", `
			1 fix
			2 fix
			gone3 fix from=2.0.0
			gone4 incompatible
			down5 fix
			6 incompatible from=1.0.0
			> up
			`, "1=1.0.0 2=1.0.1 6=2.0.0 down5=3.0.0"},
		{"a request that comes to stand behind a waiting one is not looked at any more", `
			1 fix
			2 feature
			down3 incompatible from=1.0.0
			busy4 fix from=1.0.0
			gone5 fix from=1.1.0
			> up
			`, "1=1.0.0 2=1.1.0 down3=2.0.0; busy4 RateLimited, gone5 not looked at"},

		// While R is empty.
		{"while nothing is released there is one queue, from or not", `
			down1 fix from=3.0.0
			2 fix
			`, "; down1 RegistryUnavailable, 2 not looked at"},
		{"from requests of a new image carry like any other", `
			gone1 fix from=3.0.0
			2 fix from=4.0.0
			`, "2=4.0.1"},
		{"while nothing is released a newer request on another host supersedes a waiting one", `
			down1 fix
			2@b fix
			`, "2@b=1.0.0"},
		{"and all that wait with it", `
			down1 fix
			2 fix
			3@b fix
			`, "3@b=1.0.0"},
		{"one on the same host waits", `
			down1 fix
			2 fix
			3 fix
			> up
			`, "down1=1.0.0 2=1.0.1 3=1.0.2"},
		{"once something is released another host is no way out", `
			1 fix
			down2 fix
			3@b fix
			`, "1=1.0.0; down2 RegistryUnavailable, 3@b not looked at"},
		{"once something is released the one queue falls into its lines", `
			down1 fix from=1.0.0
			2 incompatible
			down3 fix from=1.0.1
			> up
			down4 fix from=1.0.1
			>
			5 fix
			`, "down1=1.0.1 2=2.0.0 down3=1.0.2 5=2.0.1; down4 VersionExists"},

		// Holding back.
		{"suspend in a spec holds its releases without losing their order", `
			1 fix
			2 incompatible suspend
			3 fix suspend
			3 fix note=n3
			`, "1=1.0.0 2=2.0.0 3=2.0.1"},
		{"suspend in a spec supersedes nothing", `
			1 fix
			gone2 incompatible suspend
			3 fix suspend
			`, "1=1.0.0; gone2 held, 3 held"},
		{"suspend in the policy holds all releases without losing their order", `
			1 fix
			> suspend
			2 incompatible
			3 fix
			b: 1 fix
			>
			`, "1=1.0.0 2=2.0.0 3=2.0.1 / b: 1=1.0.0"},
		{"so does a policy that cannot be read", `
			1 fix
			> broken
			2 incompatible
			3 fix
			>
			`, "1=1.0.0 2=2.0.0 3=2.0.1"},
		{"a spec deleted while releases are held drops its queue", `
			1 fix
			> suspend
			2 incompatible
			delete
			>
			3 fix
			`, "1=1.0.0 3=1.0.1"},

		// The policy.
		{"a policy change judges refused requests again", `
			> deny
			1@b fix
			>
			`, "1@b=1.0.0"},
		{"unless superseded", `
			1 fix
			> deny
			2@b feature
			3 fix
			>
			`, "1=1.0.0 3=1.1.0"},
		{"requireDigest refuses a tag alone", `
			1 fix pin
			> digests
			2 fix
			`, "1=1.0.0; 2 InvalidSpec"},
		{"a credential is for the registries that name it", `
			1 fix cred=other
			`, "; 1 CredentialUnknown"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			h := parse(t, test.history)
			if got := h.summary(); got != test.want {
				t.Errorf("by the model\n%scomes to  %s\nwant      %s", h, got, test.want)
			}
			if err := h.checkOften(30); err != nil {
				t.Errorf("%s%v", h, err)
			}
		})
	}
}

// summary is what a history comes to, in one line.
func (h history) summary() string {
	var images []string
	models := h.models(func(string) {})
	for _, name := range h.names() {
		m := models[name]
		var made, open []string
		for _, r := range m.made {
			made = append(made, shortTag(r.Image.Reference)+"="+r.Version.String())
		}
		for _, r := range m.open {
			why := string(r.reason)
			switch {
			case m.held():
				why = "held"
			case why == "":
				why = "not looked at"
			}
			if r.carry != 0 {
				why += " carrying " + shortMode(r.carry)
			}
			open = append(open, shortTag(r.image.Reference)+" "+why)
		}
		text := strings.Join(made, " ")
		if open != nil {
			text += "; " + strings.Join(open, ", ")
		}
		if name != "a" {
			text = name + ": " + text
		}
		images = append(images, text)
	}
	return strings.Join(images, " / ")
}

// TestSupersededIsFinal: once a newer request stands in its place, pushing the image of the old one changes nothing any more,
// also while the newer one has no answer.
func TestSupersededIsFinal(t *testing.T) {
	h := parse(t, `
		1 fix
		gone2 incompatible
		3 fix
	`)
	s := state(h[:2], answering(outside{}))
	world := outside{}.world()
	known := map[string]release.Answer{"gone2": {Reason: release.ImageNotFound}}
	world.Look = func(l release.Look) (release.Answer, bool) {
		answer, ok := known[l.Image.Tag]
		return answer, ok
	}
	s, _, look := s.Observe(h.change(2)).Advance(world)
	if look == nil || look.Image.Tag != "3" || look.Commit != "c3" || look.Name != "a" || look.Registry.Host != "a.test" {
		t.Fatalf("the look asked for is %+v", look)
	}
	if len(s.Requests) != 1 || s.Requests[0].ID != "c3" || s.Requests[0].Carried != release.Incompatible {
		t.Fatalf("open are %+v", s.Requests)
	}
	known["gone2"] = release.Answer{Digest: digestOf("2")}
	known["3"] = release.Answer{Digest: digestOf("3")}
	s, made, look := s.Advance(world)
	if look != nil || len(made) != 1 || made[0].Version != version("2.0.0") || made[0].Request.ID != "c3" || len(s.Requests) != 0 {
		t.Errorf("released are %+v", made)
	}
}

// TestNothingIsAskedThatNeedsNoAnswer: refusals by rule or policy bother no registry, and neither does what waits behind others
// or is held.
func TestNothingIsAskedThatNeedsNoAnswer(t *testing.T) {
	for _, test := range []struct {
		history string
		outside outside
		asked   string
	}{
		{"1 fix \n 2 fix from=7.0.0", outside{}, "1"},
		{"1 fix \n 2 feature \n 3 feature from=1.0.0", outside{}, "1 2"},
		{"1@b fix", outside{deny: true}, ""},
		{"1 fix cred=other", outside{}, ""},
		{"1 fix", outside{digests: true}, ""},
		{"1 fix", outside{suspend: true}, ""},
		{"1 fix", outside{broken: true}, ""},
		{"1 fix suspend", outside{}, ""},
		{"1 fix \n down2 fix \n 3 fix", outside{}, "1 down2"},
		{"1 fix \n 1 fix note=n1 cred=key", outside{}, "1"},
	} {
		var asked []string
		world := test.outside.world()
		world.Look = func(l release.Look) (release.Answer, bool) {
			if !slices.Contains(asked, l.Image.Tag) {
				asked = append(asked, l.Image.Tag)
			}
			return test.outside.answer(l.Image), true
		}
		state(parse(t, test.history), world)
		if got := strings.Join(asked, " "); got != test.asked {
			t.Errorf("%q asks for %q, want %q", test.history, got, test.asked)
		}
	}
}

// TestStatesAreValues: two plans from one state know nothing of each other.
func TestStatesAreValues(t *testing.T) {
	h := parse(t, `
		down1 fix
		2 fix
		3 fix
		private4 fix
		private4 fix note=n4 cred=key
		private4 fix note=n4 platform=linux/arm64
		7 fix
	`)
	var s release.State
	for i := range 3 { // room for more behind the third
		s = s.Observe(h.change(i))
	}
	one, other := s.Observe(h.change(3)), s.Observe(h.change(6))
	if one.Backlog[3].ID != "c4" || other.Backlog[3].ID != "c7" {
		t.Errorf("the commits noted are %s and %s, want c4 and c7", one.Backlog[3].ID, other.Backlog[3].ID)
	}
	s = state(h[3:4], answering(outside{}))
	before := asJSON(s)
	for _, i := range []int{4, 5, 6} {
		s.Observe(h.change(i)).Advance(answering(outside{}))
		if after := asJSON(s); after != before {
			t.Errorf("line %d changed the state it was planned from:\n%s\n%s", i+1, before, after)
		}
	}
}
