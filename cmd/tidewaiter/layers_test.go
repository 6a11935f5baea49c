package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers are the packages that each package may import, of this module; what is below those it may too.
var layers = map[string][]string{
	"tidewaiter/reconcile/release":               {},
	"tidewaiter/reconcile/contract":              {},
	"tidewaiter/reconcile/gitrepo":               {},
	"tidewaiter/reconcile/gitrepo/githttp":       {},
	"tidewaiter/reconcile/gitrepo/gittest":       {"tidewaiter/reconcile/gitrepo/githttp"},
	"tidewaiter/reconcile/registry":              {"tidewaiter/reconcile/contract", "tidewaiter/reconcile/release"},
	"tidewaiter/reconcile/registry/registrytest": {"tidewaiter/reconcile/release"},
	"tidewaiter/schema":                          {"tidewaiter/reconcile/contract", "tidewaiter/reconcile/release"},
	"tidewaiter/catalog-example":                 {},
	"tidewaiter/reconcile/review":                {"tidewaiter/reconcile/contract", "tidewaiter/reconcile/release", "tidewaiter/schema"},
	"tidewaiter/reconcile/web":                   {"tidewaiter/reconcile/contract", "tidewaiter/reconcile/release", "tidewaiter/reconcile/review", "tidewaiter/schema"},
	"tidewaiter/reconcile": {
		"tidewaiter/reconcile/contract", "tidewaiter/reconcile/gitrepo", "tidewaiter/reconcile/registry", "tidewaiter/reconcile/release",
		"tidewaiter/reconcile/review",
		"tidewaiter/reconcile/web", "tidewaiter/schema",
	},
}

// TestImportsPointOneWay: cmd → reconcile → web → review → schema, gitrepo, registry → release, contract → the standard library. What is
// pure stays so, and each outside world has one door.
func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "tidewaiter/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		allowed, known := layers[fields[0]]
		if !known {
			if fields[0] != "tidewaiter/cmd/tidewaiter" {
				t.Errorf("%s has no place among the layers", fields[0])
			}
			continue
		}
		for _, imported := range fields[1:] {
			pure := fields[0] == "tidewaiter/reconcile/release" || fields[0] == "tidewaiter/reconcile/contract"
			switch {
			case strings.HasPrefix(imported, "tidewaiter/") && !slices.Contains(allowed, imported):
				t.Errorf("%s imports %s", fields[0], imported)
			case pure && (strings.Contains(imported, ".") || slices.Contains([]string{"os", "net", "net/http", "os/exec", "context"}, imported)):
				t.Errorf("%s is pure and imports %s", fields[0], imported)
			}
		}
	}
}
