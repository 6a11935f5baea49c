package registry

import (
	"fmt"

	"github.com/regclient/regclient/types/ref"

	"tidewaiter/reconcile/release"
)

// ParseReference reads an image reference as docker pull takes it: a host where there is one, a tag, which is latest where
// there is none, a digest or both.
func ParseReference(text string) (release.Reference, error) {
	parsed, err := ref.New(text)
	if err != nil || parsed.Scheme != "reg" {
		return release.Reference{}, fmt.Errorf("%q is no image reference; want one like redis:8 or registry.acme.dev/ci/app:1.2", text)
	}
	return release.NewReference(parsed.Registry, parsed.Repository, parsed.Tag, release.Digest(parsed.Digest))
}
