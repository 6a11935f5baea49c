package schema

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each file under testdata is what an author got wrong; the file beside it is all that the author is told.
func TestProblems(t *testing.T) {
	for kind, decode := range map[string]func(path string, data []byte) string{
		"image": func(path string, data []byte) string {
			name, spec, problems := DecodeImage(path, data)
			return fmt.Sprintf("name %q, valid %t\n%s", name, spec != nil, lines(problems))
		},
		"catalog": func(path string, data []byte) string {
			catalog, problems := DecodeCatalog(path, data)
			return fmt.Sprintf("valid %t\n%s", catalog != nil, lines(problems))
		},
	} {
		paths, err := filepath.Glob("testdata/" + kind + "/*.yaml")
		if err != nil || len(paths) == 0 {
			t.Fatal("no cases", err)
		}
		for _, path := range paths {
			t.Run(path, func(t *testing.T) {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				compareGolden(t, strings.TrimSuffix(path, ".yaml")+".golden", decode(filepath.Base(path), data))
			})
		}
	}
}

// compareGolden compares what an author is shown with a file, or writes that anew.
func compareGolden(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("an author is shown\n%s\nwant\n%s", got, want)
	}
}

func lines(problems []Problem) string {
	var s strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&s, p)
	}
	return s.String()
}
