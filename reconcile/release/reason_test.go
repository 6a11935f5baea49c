package release_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"tidewaiter/reconcile/release"
)

// What a refused request waits for, as the design lists it.
var kinds = map[release.Kind][]release.Reason{
	release.Waits: {
		release.InvalidSpec, release.DuplicateName, release.RegistryNotAllowed, release.CredentialNotBound, release.CredentialUnknown,
		release.UpgradeNotDeclared, release.VersionExists, release.UnknownBase, release.Suspended,
	},
	release.Retried: {
		release.ImageNotFound, release.AccessDenied, release.LayerMissing, release.PlatformMissing, release.DigestMismatch,
		release.ManifestInvalid, release.ImageTooLarge, release.UpgradeContradicted, release.UpgradeUnknown,
	},
	release.Transient: {release.RateLimited, release.RegistryUnavailable, release.InvalidPolicy},
	release.Ours:      {release.InternalError},
}

// What is no refusal of a request.
var states = []release.Reason{
	release.Released, release.AlreadyReleased, release.Delisted, release.Verifying, release.Ready, release.SpecsInvalid,
	release.HistoryRewritten, release.DelistingHeld, release.StatusMissing, release.StatusTampered,
}

func TestEveryRefusalIsOfOneKind(t *testing.T) {
	var all []release.Reason
	for kind, reasons := range kinds {
		all = append(all, reasons...)
		for _, r := range reasons {
			if r.Kind() != kind {
				t.Errorf("%s is of kind %d, want %d", r, r.Kind(), kind)
			}
		}
	}
	slices.Sort(all)
	if got := release.Refusals(); !slices.Equal(got, all) {
		t.Errorf("the refusals are %v, want %v", got, all)
	}
	for _, r := range append(states, "", "NoSuchReason") {
		if r.Kind() != 0 {
			t.Errorf("%q is of kind %d, but no refusal", r, r.Kind())
		}
	}
}

// TestAgain: what is looked at again by itself, and what no longer once the digest is pinned, since that content never changes.
func TestAgain(t *testing.T) {
	content := []release.Reason{
		release.PlatformMissing, release.ManifestInvalid, release.ImageTooLarge, release.UpgradeContradicted, release.UpgradeUnknown,
	}
	for _, r := range append(release.Refusals(), states...) {
		again := r.Kind() == release.Retried || r.Kind() == release.Transient || r.Kind() == release.Ours
		if got := r.Again(false); got != again {
			t.Errorf("a tag refused for %s is looked at again: %v", r, got)
		}
		if got, want := r.Again(true), again && !slices.Contains(content, r); got != want {
			t.Errorf("a pinned digest refused for %s is looked at again: %v", r, got)
		}
	}
}

// TestMessagesSayWhatToDo holds the texts that people read to their form: a sentence without capital and full stop, nothing in
// it that differs from image to image, one for each reason.
func TestMessagesSayWhatToDo(t *testing.T) {
	form := regexp.MustCompile(`^[a-z].*[a-zA-Z0-9]$`)
	seen := map[string]release.Reason{}
	for _, r := range append(release.Refusals(), states...) {
		text := r.Message()
		if !form.MatchString(text) || strings.ContainsAny(text, "%\"\n") || strings.Contains(text, "  ") {
			t.Errorf("the message of %s is %q", r, text)
		}
		if r.Kind() != 0 && !strings.Contains(text, "; ") {
			t.Errorf("the message of %s does not say what happens or what to do next: %q", r, text)
		}
		if other, ok := seen[text]; ok {
			t.Errorf("%s and %s say the same", r, other)
		}
		seen[text] = r
	}
}
