package release

// Reason names why a request, an image or a catalog stands where it stands. Status files, pages, logs and metric labels use
// these words and no others.
type Reason string

// Why an image is as it should be, or on its way.
const (
	Released        Reason = "Released"
	AlreadyReleased Reason = "AlreadyReleased"
	Delisted        Reason = "Delisted"
	Verifying       Reason = "Verifying"
)

// Refusals.
const (
	InvalidSpec         Reason = "InvalidSpec"
	DuplicateName       Reason = "DuplicateName"
	RegistryNotAllowed  Reason = "RegistryNotAllowed"
	CredentialNotBound  Reason = "CredentialNotBound"
	CredentialUnknown   Reason = "CredentialUnknown"
	UpgradeNotDeclared  Reason = "UpgradeNotDeclared"
	VersionExists       Reason = "VersionExists"
	UnknownBase         Reason = "UnknownBase"
	Suspended           Reason = "Suspended"
	ImageNotFound       Reason = "ImageNotFound"
	AccessDenied        Reason = "AccessDenied"
	LayerMissing        Reason = "LayerMissing"
	PlatformMissing     Reason = "PlatformMissing"
	DigestMismatch      Reason = "DigestMismatch"
	ManifestInvalid     Reason = "ManifestInvalid"
	ImageTooLarge       Reason = "ImageTooLarge"
	UpgradeContradicted Reason = "UpgradeContradicted"
	UpgradeUnknown      Reason = "UpgradeUnknown"
	RateLimited         Reason = "RateLimited"
	RegistryUnavailable Reason = "RegistryUnavailable"
	InvalidPolicy       Reason = "InvalidPolicy"
	InternalError       Reason = "InternalError"
)

// What stands in the way of a whole catalog.
const (
	Ready            Reason = "Ready"
	SpecsInvalid     Reason = "SpecsInvalid"
	HistoryRewritten Reason = "HistoryRewritten"
	DelistingHeld    Reason = "DelistingHeld"
	StatusMissing    Reason = "StatusMissing"
	StatusTampered   Reason = "StatusTampered"
)

// What an audit finds of a release that a channel serves.
const (
	IndexMoved    Reason = "IndexMoved"
	ContentMoved  Reason = "ContentMoved"
	TagGone       Reason = "TagGone"
	DigestMissing Reason = "DigestMissing"
)

// DigestChangedSinceReview is said of a release with another digest than the one that reviewers saw. It decides nothing.
const DigestChangedSinceReview Reason = "DigestChangedSinceReview"

// Kind is what has to happen before a refused request is looked at again.
type Kind uint8

const (
	// Waits is for a commit or a policy change: the author's mistake.
	Waits Kind = iota + 1
	// Retried is looked at again with growing pauses: the world's answer, which a push of the image may change.
	Retried
	// Transient is neither: nobody knows yet. It supersedes nothing and its queue waits.
	Transient
	// Ours is our own error. It is logged and counted, never written to Git, and it supersedes nothing.
	Ours
)

var refusals = map[Reason]struct {
	kind Kind
	text string
}{
	InvalidSpec:         {Waits, "the spec has mistakes; correct them at the places named and merge"},
	DuplicateName:       {Waits, "another file has this metadata.name; rename or remove one of the two"},
	RegistryNotAllowed:  {Waits, "catalog.yaml does not list this registry or repository; add it to spec.registries, or move the image"},
	CredentialNotBound:  {Waits, "catalog.yaml binds this credential to another registry or repository; name the one bound to this image"},
	CredentialUnknown:   {Waits, "no registry in catalog.yaml has a credential of this name; add it there, or correct the name"},
	UpgradeNotDeclared:  {Waits, "the upgrade block is that of an earlier release; declare this change with its own mode and notes"},
	VersionExists:       {Waits, "the version this upgrade makes is released already; upgrade from the newest release of that line"},
	UnknownBase:         {Waits, "upgrade.from names a version that was never released; name one that was, or leave it out"},
	Suspended:           {Waits, "releases are suspended; remove suspend: true to go on, nothing is lost"},
	ImageNotFound:       {Retried, "the registry has no such image; push the image, then it is verified again, or correct the reference"},
	AccessDenied:        {Retried, "the registry refuses the pull; make the image public, or name a credential that may read it"},
	LayerMissing:        {Retried, "a layer or config of the image is not in the registry; push the image again, then it is verified again"},
	PlatformMissing:     {Retried, "the image lacks a required platform; push an image that has it, or change image.platforms"},
	DigestMismatch:      {Retried, "what the registry serves is not what the digest says; push the image again, or correct image.digest"},
	ManifestInvalid:     {Retried, "the manifest, index or config cannot be used; push the image again with a tool that follows OCI or Docker schema 2"},
	ImageTooLarge:       {Retried, "the image is larger than maxImageSize in catalog.yaml; push a smaller one, or raise the limit"},
	UpgradeContradicted: {Retried, "the image changes more than its upgrade mode says; declare the mode that is right, or accept the findings"},
	UpgradeUnknown:      {Retried, "the image could not be compared with the release it upgrades; make both readable, or set unknownUpgrade: allow"},
	RateLimited:         {Transient, "the registry limits the rate of requests; it is asked again when it allows"},
	RegistryUnavailable: {Transient, "the registry does not answer; it is asked again"},
	InvalidPolicy:       {Transient, "catalog.yaml cannot be used; correct it, then releases go on"},
	InternalError:       {Ours, "tidewaiter could not do its own part; see its log"},
}

// Kind returns what has to happen before a request refused for r is looked at again; 0 where r is no refusal.
func (r Reason) Kind() Kind { return refusals[r].kind }

// Again reports whether a request refused for r is looked at again by itself. What a pinned digest holds never changes, so a
// refusal about that waits for a commit.
func (r Reason) Again(pinned bool) bool {
	switch r {
	case PlatformMissing, ManifestInvalid, ImageTooLarge, UpgradeContradicted, UpgradeUnknown:
		return !pinned
	}
	return r.Kind() == Retried || r.Kind() == Transient || r.Kind() == Ours
}

// Refusals lists every reason for which a request can be refused, sorted.
func Refusals() []Reason { return sortedKeys(refusals) }

// Message says what the reason means and what to do next. It is the same for every image, so that a status that holds it does
// not flicker and no text of a stranger gets into one.
func (r Reason) Message() string {
	if refusal, ok := refusals[r]; ok {
		return refusal.text
	}
	return states[r]
}

var states = map[Reason]string{
	Released:                 "the newest request is released",
	AlreadyReleased:          "the image is the one already released, so no new version was made; push a new image and declare it as an upgrade",
	Delisted:                 "the spec was deleted; channels are empty, exact versions still resolve",
	Verifying:                "the pull is being verified",
	Ready:                    "every spec is valid and releases go on",
	SpecsInvalid:             "some files under images/ cannot be used; correct them at the places named",
	HistoryRewritten:         "the branch no longer holds the commit observed last; put it back, or accept with --accept-rewrite and the commit to go on from",
	DelistingHeld:            "one commit deletes more than half of the specs; restore them, or accept with --accept-delisting and that commit",
	StatusMissing:            "the status branch lacks what was written there; restore it, nothing is released until then",
	IndexMoved:               "the tag names another index of the same images; channels serve what was released",
	ContentMoved:             "the tag names another image now; channels serve what was released, declare an upgrade to release the new one",
	TagGone:                  "the registry no longer has the tag; channels serve the digest, see that it is not collected as garbage",
	DigestMissing:            "the registry no longer has what channels serve; push it again to the letter, or withdraw the version",
	DigestChangedSinceReview: "the tag was pushed again between the review and the merge; look at the new image, and set requireDigest to rule it out",
	StatusTampered:           "somebody else changed the status files; revert that commit, nothing is released until then",
}
