// Package catalogexample holds the example catalog, for the demo.
package catalogexample

import "embed"

// Files are those of the catalog, as somebody who copies it has them.
//
//go:embed README.md catalog.yaml images dockerfiles logos .github .gitlab-ci.yml
var Files embed.FS
