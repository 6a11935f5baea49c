package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// writePolicy writes catalog.yaml: it names every registry that was started, with its credential where it has one and -unbound does
// not leave it out, and the lines given are added to its spec.
func writePolicy(s *stage, _ *testscript.TestScript, args []string) (string, error) {
	unbound := len(args) > 0 && args[0] == "-unbound"
	if unbound {
		args = args[1:]
	}
	var b strings.Builder
	b.WriteString("apiVersion: tidewaiter/v1\nkind: Catalog\nmetadata:\n  name: acme\nspec:\n  registries:\n")
	for _, h := range s.registries {
		fmt.Fprintf(&b, "    - host: %s\n", h.host)
		if h.user != "" && !unbound {
			fmt.Fprintf(&b, "      credentials: %s\n", h.name)
		}
	}
	for _, line := range args {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	s.author.Write("catalog.yaml", b.String())
	return "", nil
}

// The fields of a spec that scripts give, in the blocks and the order that they are written in.
var specFields = []struct {
	block  string
	fields []string
}{
	{"", []string{"title", "summary", "description", "category", "withdrawn", "suspend"}},
	{"image", []string{"registry", "repository", "tag", "digest", "credentials", "platforms"}},
	{"upgrade", []string{"mode", "from", "notes", "accept"}},
}

// writeSpec writes the spec of an image, each value as it stands. What is not given is that of a spec that is fine: the
// repository is team/NAME on the first registry, the mode compatible-feature, and the notes name the tag, so that a new tag
// comes with a new declaration. The file is images/NAME.yaml, or path=FILE.
func writeSpec(s *stage, _ *testscript.TestScript, args []string) (string, error) {
	name := args[0]
	values := map[string]string{"summary": name + " for everybody", "repository": "team/" + name, "mode": "compatible-feature"}
	if len(s.registries) > 0 {
		values["registry"] = s.registries[0].host
	}
	file := "images/" + name + ".yaml"
	for _, arg := range args[1:] {
		field, value, ok := strings.Cut(arg, "=")
		known := slices.ContainsFunc(specFields, func(b struct {
			block  string
			fields []string
		}) bool {
			return slices.Contains(b.fields, field)
		})
		switch {
		case field == "path" && ok:
			file = value
		case known && ok:
			values[field] = value
		default:
			return "", fmt.Errorf("%s: no such field, or no value", arg)
		}
	}
	if values["notes"] == "" {
		values["notes"] = fmt.Sprintf("Upgrade to %s.", values["tag"])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: tidewaiter/v1\nkind: Image\nmetadata:\n  name: %s\nspec:\n", name)
	for _, block := range specFields {
		indent := "  "
		if block.block != "" {
			fmt.Fprintf(&b, "  %s:\n", block.block)
			indent = "    "
		}
		for _, field := range block.fields {
			if values[field] != "" {
				fmt.Fprintf(&b, "%s%s: %s\n", indent, field, values[field])
			}
		}
	}
	s.author.Write(file, b.String())
	return "", nil
}

// commit commits the work tree to the branch that is checked out, and pushes nothing.
func commit(s *stage, _ *testscript.TestScript, args []string) (string, error) {
	s.author.Commit(args[0])
	return "", nil
}

// merge brings the work tree into main as a pull request is merged, with a merge commit, and pushes it. The first commit of all
// has nothing to be merged into.
func merge(s *stage, _ *testscript.TestScript, args []string) (string, error) {
	if len(args) != 1 {
		return "", errors.New("want a message")
	}
	if s.author.Git("branch", "--list", "main") == "" {
		s.author.Commit(args[0])
	} else {
		s.author.Branch("pull-request")
		s.author.Commit(args[0])
		s.author.Merge("pull-request", "merge")
	}
	s.author.Push()
	return "", nil
}

// git runs a git command in the clone.
func git(s *stage, _ *testscript.TestScript, args []string) (string, error) {
	return s.author.Git(args...) + "\n", nil
}
