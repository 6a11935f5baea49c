package schema

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Bytes that are no text are refused where they are, whatever an editor would show there.
func TestNotText(t *testing.T) {
	for name, test := range map[string]struct{ data, want string }{
		"NUL":            {"kind: Image\nspec: a\x00b\n", "x.yaml:2:8: there is a control character here; YAML is text; remove it"},
		"escape":         {"kind: \x1b[31mImage\n", "x.yaml:1:7: there is a control character here; YAML is text; remove it"},
		"second BOM":     {"\ufeffkind: é\ufeff\n", "x.yaml:1:8: there is a control character here; YAML is text; remove it"},
		"Latin-1":        {"kind: Image\n# caf\xe9\n", "x.yaml:2:6: this is not UTF-8; save the file as UTF-8 text"},
		"UTF-16":         {"\xff\xfek\x00i\x00", "x.yaml:1:1: this is not UTF-8; save the file as UTF-8 text"},
		"C1":             {"kind: \u009b\n", "x.yaml:1:7: there is a control character here; YAML is text; remove it"},
		"noncharacter":   {"kind: \uffff\n", "x.yaml:1:7: there is a control character here; YAML is text; remove it"},
		"picture":        {"\x89PNG\r\n\x1a\n", "x.yaml:1:1: this is not UTF-8; save the file as UTF-8 text"},
		"a file too big": {strings.Repeat("#", MaxFileSize+1024), "x.yaml:1:1: the file has 257 KiB; keep it to 256 KiB"},
	} {
		got, spec, problems := DecodeImage("x.yaml", []byte(test.data))
		if got != "" || spec != nil || len(problems) != 1 || problems[0].String() != test.want {
			t.Errorf("%s: an author is told %v, want %s", name, problems, test.want)
		}
	}
}

// A file written on Windows is as good as any.
func TestWindows(t *testing.T) {
	data := "\ufeff" + strings.ReplaceAll(imageExample, "\n", "\r\n")
	_, spec, problems := DecodeImage("x.yaml", []byte(data))
	if problems != nil || spec.Description != "## Usage\nMount the sources.\n" {
		t.Errorf("%+v %v", spec, problems)
	}
}

// The largest file of the worst content is judged in bounded time and with a bounded answer. It takes some tenths of a second;
// what the bound is there to catch, a reader that is quadratic or worse, takes minutes.
func TestHostileFiles(t *testing.T) {
	patterns := []string{
		"[", "{", "{a: ", "- ", "? ", "- - ", "[]: ", "&a ", "*a ", "!a ", "'", "\"", "|\n", "- |\n", "#\n", "- #\n", "a:\n", "a: b: ", "---\n", "...\n", "\t", " ", "\n",
		"apiVersion: tidewaiter/v1\n", "spec: {}\n", "\"\\", "%a\n", "é", "a,", "{a,", "<<: a\n", "- yes\n", "a: *a\n",
	}
	heads := []string{"", "spec:\n  labels: [", "spec:\n  withdrawn:\n", "spec:\n  upgrade: {notes: \""}
	for _, head := range heads {
		for _, pattern := range patterns {
			data := head + strings.Repeat(pattern, (MaxFileSize-len(head))/len(pattern))
			start := time.Now()
			_, spec, problems := DecodeImage("x.yaml", []byte(data))
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("%q and then %q takes %v", head, pattern, took)
			}
			if spec != nil || len(problems) == 0 || len(problems) > maxProblems+1 {
				t.Errorf("%q and then %q: %d problems", head, pattern, len(problems))
			}
			for _, p := range problems {
				if len(p.String()) > 1000 {
					t.Errorf("%q and then %q: a problem has %d bytes", head, pattern, len(p.String()))
				}
			}
		}
	}
}

// The problems of a file are the same ones in the same order however often it is read.
func TestStableOrder(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, _, first := DecodeImage(path, data)
		for range 5 {
			if _, _, again := DecodeImage(path, data); lines(again) != lines(first) {
				t.Errorf("%s: told\n%s\nand then\n%s", path, lines(first), lines(again))
			}
		}
	}
}

func seeds(f *testing.F, more ...string) {
	f.Helper()
	paths, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(paths) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range more {
		f.Add([]byte(text))
	}
}

func checkProblems(t *testing.T, valid bool, problems []Problem) {
	t.Helper()
	if valid == (len(problems) > 0) {
		t.Fatalf("valid %t, and problems %v", valid, problems)
	}
	for i, p := range problems {
		if p.Line < 1 || p.Column < 1 || p.Message == "" || p.Path != "x.yaml" {
			t.Fatalf("a problem without a place: %+v", p)
		}
		if strings.ContainsAny(p.String(), "\x00\n\r\x1b") {
			t.Fatalf("a problem that is more than a line of text: %q", p)
		}
		if i > 0 && i < maxProblems && (problems[i-1].Line > p.Line || problems[i-1].Line == p.Line && problems[i-1].Column > p.Column) {
			t.Fatalf("problems out of order: %v", problems)
		}
	}
}

func FuzzDecodeImage(f *testing.F) {
	seeds(f, imageExample, smallImage)
	form := schemas["Image"]().Properties["metadata"].Properties["name"]
	f.Fuzz(func(t *testing.T, data []byte) {
		name, spec, problems := DecodeImage("x.yaml", data)
		checkProblems(t, spec != nil, problems)
		if name != "" && form.Validate(name) != nil {
			t.Fatalf("name %q has not the form of one", name)
		}
		if spec == nil {
			return
		}
		if spec.Name != name || spec.Image.Registry == "" || spec.Upgrade.Mode == 0 {
			t.Fatalf("a valid spec lacks something: %+v", spec)
		}
		for _, field := range pointable {
			if line, column := spec.Position(field); line < 1 || column < 1 {
				t.Fatalf("%s is nowhere", field)
			}
		}
		if _, err := EncodeImageStatus(name, statusOf(spec)); err != nil {
			t.Fatalf("a valid spec cannot be written to a status: %v", err)
		}
	})
}

func FuzzDecodeCatalog(f *testing.F) {
	seeds(f, catalogExample)
	f.Fuzz(func(t *testing.T, data []byte) {
		catalog, problems := DecodeCatalog("x.yaml", data)
		checkProblems(t, catalog != nil, problems)
		if catalog == nil {
			return
		}
		for _, r := range catalog.Policy.Registries {
			if r.Host == "" || r.Repositories != nil && len(r.Repositories) == 0 {
				t.Fatalf("an entry that says nothing, or everything: %+v", r)
			}
		}
		if catalog.Policy.MaxImageSize < 0 {
			t.Fatalf("a size below nothing: %d", catalog.Policy.MaxImageSize)
		}
	})
}
