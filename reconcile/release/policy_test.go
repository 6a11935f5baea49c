package release_test

import (
	"reflect"
	"testing"

	"tidewaiter/reconcile/release"
)

var registries = []release.Registry{
	{Host: "docker.io"},
	{Host: "registry.acme.dev:5000", Repositories: []string{"ci", "shared/tools"}, Credentials: "acme-pull", Realms: []string{"auth.acme.dev"}},
	{Host: "registry.acme.dev:5000", Repositories: []string{"shared"}, Credentials: "shared-pull", PlainHTTP: true},
	{Host: "empty.acme.dev", Repositories: []string{}},
}

func TestJudge(t *testing.T) {
	bare := func(r release.Registry) release.Registry { r.Credentials = ""; return r }
	for _, test := range []struct {
		name, registry, repository, credentials string
		policy                                  release.Policy
		entry                                   release.Registry
		reason                                  release.Reason
	}{
		{name: "without a list any registry", registry: "ghcr.io", repository: "acme/x", entry: release.Registry{Host: "ghcr.io"}},
		{name: "without a list no credential", registry: "ghcr.io", repository: "acme/x", credentials: "acme-pull", reason: release.CredentialUnknown},
		{name: "an empty list is no registry", registry: "docker.io", repository: "acme/x", policy: release.Policy{Registries: []release.Registry{}}, reason: release.RegistryNotAllowed},
		{name: "a host that is listed", registry: "docker.io", repository: "acme/x", policy: release.Policy{Registries: registries}, entry: registries[0]},
		{name: "a host that is not", registry: "ghcr.io", repository: "acme/x", policy: release.Policy{Registries: registries}, reason: release.RegistryNotAllowed},
		{name: "another port is another host", registry: "registry.acme.dev", repository: "ci", policy: release.Policy{Registries: registries}, reason: release.RegistryNotAllowed},
		{name: "a repository that is listed", registry: "registry.acme.dev:5000", repository: "ci", policy: release.Policy{Registries: registries}, entry: bare(registries[1])},
		{name: "one below it", registry: "registry.acme.dev:5000", repository: "ci/go/1", policy: release.Policy{Registries: registries}, entry: bare(registries[1])},
		{name: "prefixes end at a slash", registry: "registry.acme.dev:5000", repository: "cicd", policy: release.Policy{Registries: registries}, reason: release.RegistryNotAllowed},
		{name: "what is above a prefix is not listed by it", registry: "registry.acme.dev:5000", repository: "tools", policy: release.Policy{Registries: registries}, reason: release.RegistryNotAllowed},
		{name: "no repositories are none", registry: "empty.acme.dev", repository: "x", policy: release.Policy{Registries: registries}, reason: release.RegistryNotAllowed},
		{name: "a credential where it is bound", registry: "registry.acme.dev:5000", repository: "ci/go", credentials: "acme-pull", policy: release.Policy{Registries: registries}, entry: registries[1]},
		{name: "the entry is that of the credential, not the first", registry: "registry.acme.dev:5000", repository: "shared/tools/x", credentials: "shared-pull", policy: release.Policy{Registries: registries}, entry: registries[2]},
		{name: "a credential for another repository", registry: "registry.acme.dev:5000", repository: "ci", credentials: "shared-pull", policy: release.Policy{Registries: registries}, reason: release.CredentialNotBound},
		{name: "a credential for another host", registry: "docker.io", repository: "acme/x", credentials: "acme-pull", policy: release.Policy{Registries: registries}, reason: release.CredentialNotBound},
		{name: "a credential nobody knows", registry: "docker.io", repository: "acme/x", credentials: "other", policy: release.Policy{Registries: registries}, reason: release.CredentialUnknown},
		{name: "a registry that is not listed comes first", registry: "ghcr.io", repository: "acme/x", credentials: "other", policy: release.Policy{Registries: registries}, reason: release.RegistryNotAllowed},
		{name: "a tag where a digest is required", registry: "docker.io", repository: "acme/x", policy: release.Policy{RequireDigest: true}, reason: release.InvalidSpec},
	} {
		t.Run(test.name, func(t *testing.T) {
			image := release.Image{Reference: release.Reference{Registry: test.registry, Repository: test.repository, Tag: "1"}, Credentials: test.credentials}
			entry, reason := test.policy.Judge(image)
			if reason != test.reason || !reflect.DeepEqual(entry, test.entry) {
				t.Errorf("%v with %q is %q by %+v, want %q by %+v", image, test.credentials, reason, entry, test.reason, test.entry)
			}
		})
	}
	image := release.Image{Reference: release.Reference{Registry: "docker.io", Repository: "acme/x", Tag: "1", Digest: release.Digest(someDigest)}}
	if _, reason := (release.Policy{RequireDigest: true}).Judge(image); reason != "" {
		t.Errorf("a pinned image where a digest is required is %q", reason)
	}
}

// TestEntryOfACredentialIsNotLentOut: an image that names no credential is never pulled with one.
func TestEntryOfACredentialIsNotLentOut(t *testing.T) {
	image := release.Image{Reference: release.Reference{Registry: "registry.acme.dev:5000", Repository: "ci", Tag: "1"}}
	policy := release.Policy{Registries: registries}
	if entry, _ := policy.Judge(image); entry.Credentials != "" {
		t.Errorf("the entry names the credential %q", entry.Credentials)
	}
	if registries[1].Credentials != "acme-pull" {
		t.Error("judging took the credential out of the policy")
	}
}

func TestRequired(t *testing.T) {
	policy := release.Policy{Platforms: []release.Platform{"linux/amd64", "linux/arm64"}}
	if got := policy.Required(release.Image{}); !reflect.DeepEqual(got, policy.Platforms) {
		t.Errorf("a spec that names no platforms requires %v", got)
	}
	own := []release.Platform{"linux/riscv64"}
	if got := policy.Required(release.Image{Platforms: own}); !reflect.DeepEqual(got, own) {
		t.Errorf("a spec that names its platforms requires %v", got)
	}
}
