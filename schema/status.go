package schema

import (
	"tidewaiter/reconcile/release"
)

// statusFile is a status as it is written.
type statusFile[S any] struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Metadata   *metadata `json:"metadata,omitempty"`
	Status     S         `json:"status"`
}

type metadata struct {
	Name    string          `json:"name"`
	Version release.Version `json:"version,omitzero"`
}

// EncodeImageStatus writes the status of the image of a name. The error is a value that has no text, like an unknown mode.
func EncodeImageStatus(name string, s release.ImageStatus) ([]byte, error) {
	return encode(statusFile[release.ImageStatus]{APIVersion, "ImageStatus", &metadata{Name: name}, s})
}

// DecodeImageStatus reads what EncodeImageStatus wrote. The error names the place in the file.
func DecodeImageStatus(path string, data []byte) (name string, s release.ImageStatus, err error) {
	file := statusFile[release.ImageStatus]{Metadata: new(metadata)}
	err = decodeWritten(path, data, schemas["ImageStatus"](), &file)
	return file.Metadata.Name, file.Status, err
}

// EncodeCatalogStatus writes the status of a catalog. The error is a value that has no text.
func EncodeCatalogStatus(s release.CatalogStatus) ([]byte, error) {
	return encode(statusFile[release.CatalogStatus]{APIVersion: APIVersion, Kind: "CatalogStatus", Status: s})
}

// DecodeCatalogStatus reads what EncodeCatalogStatus wrote. The error names the place in the file.
func DecodeCatalogStatus(path string, data []byte) (release.CatalogStatus, error) {
	var file statusFile[release.CatalogStatus]
	err := decodeWritten(path, data, schemas["CatalogStatus"](), &file)
	return file.Status, err
}
