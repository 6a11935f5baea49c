package schema

import (
	"time"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/release"
)

// Record is all that is kept of a release, for ever: what was asked and by whom it was approved, what was verified, and what
// the image promises. Its JSON form is that of the file but for apiVersion, kind and metadata.
type Record struct {
	// Name and Version are the file's metadata.
	Name    string          `json:"name,omitempty"`
	Version release.Version `json:"version,omitzero"`
	// Reference is what to pull: registry/repository[:tag]@digest.
	Reference  string         `json:"reference"`
	Digest     release.Digest `json:"digest"`
	MediaType  string         `json:"mediaType"` // of the index or manifest that the digest names
	Mode       Modes          `json:"mode"`
	Baseline   *Baseline      `json:"baseline,omitempty"` // nil for a first release
	ReleasedAt time.Time      `json:"releasedAt"`
	Request    RequestCommit  `json:"request"`
	ApprovedBy Approval       `json:"approvedBy"`
	// Image and Upgrade are the blocks of the spec, decoded.
	Image   release.Image   `json:"image"`
	Upgrade release.Upgrade `json:"upgrade"`
	// Verify is what was verified of the layers: that they are there (layers) or also that they are right (content).
	Verify    string             `json:"verify"`
	Size      int64              `json:"size"` // compressed, of all platforms together, in bytes
	Platforms []PlatformImage    `json:"platforms"`
	Contract  contract.Contract  `json:"contract"`
	Findings  []contract.Finding `json:"findings,omitempty"`
}

// Modes are the mode asked for, the greatest one carried from superseded requests, 0 for none, and the one applied.
type Modes struct {
	Asked   release.Mode `json:"asked"`
	Carried release.Mode `json:"carried,omitzero"`
	Applied release.Mode `json:"applied"`
}

// Baseline is the release that the image was compared with.
type Baseline struct {
	Version release.Version `json:"version"`
	Digest  release.Digest  `json:"digest"`
}

// RequestCommit is the first-parent commit that asked for the release.
type RequestCommit struct {
	Commit string    `json:"commit"` // full, lower-case hex
	Time   time.Time `json:"time"`   // of the committer
}

// Approval says who approved a release, and who says so.
type Approval struct {
	Author    string `json:"author"`
	Committer string `json:"committer"`
	// Source is git where the names are the commit's, forge where the forge's API confirmed them, and signature where they
	// are those of a verified signature.
	Source      string `json:"source"`
	PullRequest string `json:"pullRequest,omitempty"` // its number or link, where the forge said
}

// PlatformImage is the manifest of one platform.
type PlatformImage struct {
	Platform release.Platform `json:"platform"`
	Digest   release.Digest   `json:"digest"`
	Size     int64            `json:"size"` // compressed: config and layers, in bytes
}

// Release is what the planner needs to know of a record.
func (r Record) Release() release.Release {
	return release.Release{
		Version: r.Version,
		Digest:  r.Digest,
		Mode:    r.Mode.Applied,
		Image:   r.Image,
		Upgrade: r.Upgrade,
		Request: release.Commit{ID: r.Request.Commit, Author: r.ApprovedBy.Author, Committer: r.ApprovedBy.Committer, Time: r.Request.Time},
		Time:    r.ReleasedAt,
	}
}

// releaseFile is a record as it is written.
type releaseFile struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Record
}

// EncodeRelease writes a record. The error is a value that has no text, like an unknown mode.
func EncodeRelease(r Record) ([]byte, error) {
	file := releaseFile{APIVersion, "Release", metadata{r.Name, r.Version}, r}
	file.Name, file.Version = "", release.Version{}
	return encode(file)
}

// DecodeRelease reads what EncodeRelease wrote. The error names the place in the file.
func DecodeRelease(path string, data []byte) (Record, error) {
	var file releaseFile
	err := decodeWritten(path, data, schemas["Release"](), &file)
	file.Name, file.Version = file.Metadata.Name, file.Metadata.Version
	return file.Record, err
}
