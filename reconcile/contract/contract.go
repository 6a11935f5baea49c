// Package contract describes what an image promises to its users, compares two of these descriptions and says which upgrade
// mode the difference needs.
//
// It is pure: bytes of manifests and configs in, values out. It promises that what cannot matter to users changes nothing: the
// order of an index, attestations, two spellings of one platform, of root or of the default signal, and the format, Docker's or
// OCI's, that an image is kept in. A contract is small and complete, so that it can stand for an image that is gone.
//
// It sees manifests and configs only. What scripts and binaries do it cannot know: that no finding was made is all it says, never
// that there is nothing to find.
//
// A contract holds no values of environment variables but those of PATH and LANG. Of the others, and of health checks and build
// triggers, it holds a hash, salted with the image's name and the key, which tells that a value changed and hides one that
// cannot be guessed. Label values are not kept at all. Contracts made under two names cannot be compared.
package contract

import "time"

// Contract is what an image promises. New makes one of an image; its first three fields are of the image's spec, and for
// whoever knows that to set.
type Contract struct {
	// Repository is where the spec says the image is, registry/repository. One that is empty is never compared.
	Repository string `json:"repository,omitempty"`
	// ContractEnv and ContractLabels are the environment keys and labels that users were told to rely on.
	ContractEnv    []string `json:"contractEnv,omitempty"`
	ContractLabels []string `json:"contractLabels,omitempty"`

	// Index is true for an index, and false for a single manifest.
	Index bool `json:"index,omitempty"`
	// Images are in the order of their first platforms. No platform is in two of them.
	Images []Image `json:"images"`
}

// Image is what the manifests and configs of one or more platforms promise alike. What is unset is empty.
type Image struct {
	Platforms []Platform `json:"platforms"` // sorted by name
	// ArtifactType is the manifest's artifactType, or else the config's media type; empty for a container image.
	ArtifactType string `json:"artifactType,omitempty"`
	// Base is the annotation org.opencontainers.image.base.name of the manifest, of its entry in the index or of the index.
	Base       string   `json:"base,omitempty"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	User       string   `json:"user,omitempty"`    // user[:group]; empty for root
	Workdir    string   `json:"workdir,omitempty"` // empty for /
	Ports      []string `json:"ports,omitempty"`   // number/protocol, sorted
	Volumes    []string `json:"volumes,omitempty"` // paths, sorted
	// Env maps each key to the salted hash of its value, 16 hex digits; PATH and LANG to the value itself.
	Env         map[string]string `json:"env,omitempty"`
	Labels      []string          `json:"labels,omitempty"`     // the keys, sorted
	StopSignal  string            `json:"stopSignal,omitempty"` // without SIG; empty for TERM
	Shell       []string          `json:"shell,omitempty"`
	OnBuild     string            `json:"onbuild,omitempty"`     // a salted hash
	Healthcheck string            `json:"healthcheck,omitempty"` // a salted hash
}

// Platform is one platform of an image, and what differs between platforms by nature.
type Platform struct {
	Name string `json:"platform"` // os/architecture[/variant], normalised: arm64 stands for arm64/v8
	// Config is the os/architecture that the config says, where the index says another.
	Config string `json:"config,omitempty"`
	Size   int64  `json:"size"` // compressed, in bytes: config and layers
	// Created is when the config says that the image was built, in UTC to the second. It is zero where that is missing, or
	// one of the dates before 1981 that reproducible builds write.
	Created time.Time `json:"created,omitzero"`
}
