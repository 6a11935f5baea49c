// Package schema turns the bytes of a catalog's files into values and back.
//
// What people write, kinds Image and Catalog, is judged by the JSON Schemas kept beside this file, whose descriptions are the
// documentation for authors, and by a few rules that no schema can say. Every mistake is reported at once, each as a [Problem] with
// file, line and column, in a stable order, and with what to do about it. No input, however hostile, makes the package panic,
// take long or expand: anchors, aliases, tags and merge keys are refused, and files are bounded by [MaxFileSize].
//
// What the daemon writes, kinds ImageStatus, CatalogStatus and Release, is encoded canonically: one value has one encoding,
// and decoding gives the value back. A field that is not known or has another type is an error there too, but bounds and
// patterns are not checked again: what was written once must stay readable.
//
// The package knows nothing of Git, registries or other files: whether a name is unique, a category is allowed or a logo exists
// is for those to say who see the whole catalog.
package schema

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// APIVersion is the version of all formats.
const APIVersion = "tidewaiter/v1"

// MaxFileSize bounds the files that people write, in bytes.
const MaxFileSize = 256 << 10

//go:embed *.schema.json
var files embed.FS

// kinds are in the order in which people meet them.
var kinds = []string{"Image", "Catalog", "ImageStatus", "CatalogStatus", "Release"}

// schemas holds the schema of each kind, compiled when it is first used.
var schemas = func() map[string]func() *jsonschema.Schema {
	all := map[string]func() *jsonschema.Schema{}
	for _, kind := range kinds {
		all[kind] = sync.OnceValue(func() *jsonschema.Schema { return compile(kind) })
	}
	return all
}()

// Kinds lists the kinds of files that have a schema.
func Kinds() []string { return slices.Clone(kinds) }

// JSONSchema returns the JSON Schema (draft 2020-12) of a kind, in whatever case it is written. It refers to no other file.
func JSONSchema(kind string) ([]byte, error) {
	for _, k := range kinds {
		if strings.EqualFold(k, kind) {
			return files.ReadFile(fileOf(k))
		}
	}
	return nil, fmt.Errorf("unknown kind %q: want %s", kind, list(kinds, "or"))
}

func fileOf(kind string) string { return strings.ToLower(kind) + ".schema.json" }

// compile compiles a schema of this package. Annotations are kept: titles say in words what patterns want.
func compile(kind string) *jsonschema.Schema {
	url := "embed:///" + fileOf(kind)
	file, err := files.Open(fileOf(kind))
	if err != nil {
		panic(err) // the binary was built without it
	}
	defer file.Close()
	c := jsonschema.NewCompiler()
	c.ExtractAnnotations = true
	if err := c.AddResource(url, file); err != nil {
		panic(err)
	}
	return c.MustCompile(url)
}
