package release

import (
	"slices"
	"strings"
)

// Policy is what catalog.yaml says; its zero value is what holds without one.
type Policy struct {
	// Registries are those that specs may name; nil means any public one.
	Registries []Registry
	// Platforms are required of images whose spec names none.
	Platforms []Platform
	// Content asks that layers are downloaded and hashed, not only looked up.
	Content bool
	// MaxImageSize bounds the compressed size of one platform's image in bytes; 0 is no bound.
	MaxImageSize int64
	// RequireDigest refuses specs that name a tag only.
	RequireDigest bool
	// InheritUpgrade lets an upgrade block that an earlier release used up stand for a new release.
	InheritUpgrade bool
	// AllowUnknownUpgrade releases images that could not be compared with the release they upgrade.
	AllowUnknownUpgrade bool
	// ReviewWithCredentials lets unmerged specs use the credentials bound here.
	ReviewWithCredentials bool
	// Categories are those that specs may use; nil means any.
	Categories []string
	// DebugProjects maps the name of a debug project to its URL template.
	DebugProjects map[string]string
	// UpgradeChecks maps a rule of the upgrade checks to its level: deny, warn or info.
	UpgradeChecks map[string]string
	// Suspend holds all releases.
	Suspend bool
}

// Registry is one registry that specs may name.
type Registry struct {
	Host         string   // normalised
	Repositories []string // prefixes on "/" boundaries; nil means all
	Credentials  string   // the credential for this host and these repositories, and for nothing else
	Realms       []string // hosts of token servers besides the registry's own domain
	PlainHTTP    bool
}

// Covers reports whether r is about the host and repository of a reference. A prefix covers whole path elements only:
// "ci" covers ci and ci/go, never cicd.
func (r Registry) Covers(ref Reference) bool {
	return r.Host == ref.Registry && (r.Repositories == nil || slices.ContainsFunc(r.Repositories, func(prefix string) bool {
		return ref.Repository == prefix || strings.HasPrefix(ref.Repository, prefix+"/")
	}))
}

// Judge says whether the policy lets an image be looked at, without asking anybody: the registry entry that covers it, the
// one bound to its credential where it names one, and the reason it is refused, empty where it is not. Without a list of
// registries the entry is only the host's name.
func (p Policy) Judge(image Image) (Registry, Reason) {
	if p.RequireDigest && image.Digest == "" {
		return Registry{}, InvalidSpec
	}
	entry := Registry{Host: image.Registry}
	if p.Registries != nil {
		i := slices.IndexFunc(p.Registries, func(r Registry) bool { return r.Covers(image.Reference) })
		if i < 0 {
			return Registry{}, RegistryNotAllowed
		}
		entry = p.Registries[i]
	}
	if image.Credentials == "" {
		entry.Credentials = ""
		return entry, ""
	}
	named := func(r Registry) bool { return r.Credentials == image.Credentials }
	if !slices.ContainsFunc(p.Registries, named) {
		return Registry{}, CredentialUnknown
	}
	i := slices.IndexFunc(p.Registries, func(r Registry) bool { return named(r) && r.Covers(image.Reference) })
	if i < 0 {
		return Registry{}, CredentialNotBound
	}
	return p.Registries[i], ""
}

// Required are the platforms that an image must have under the policy.
func (p Policy) Required(image Image) []Platform {
	if len(image.Platforms) > 0 {
		return image.Platforms
	}
	return p.Platforms
}
