package gitrepo_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
)

// history writes commits straight into a repository with git fast-import, which takes any path that Git can hold. Each commit
// is all its files: path to mode and content.
func history(t testing.TB, dir, branch string, commits []map[string]file) {
	t.Helper()
	var stream bytes.Buffer
	for i, files := range commits {
		fmt.Fprintf(&stream, "commit refs/heads/%s\nmark :%d\ncommitter C <c@example.com> %d +0000\ndata 1\nx\n", branch, i+1, 1700000000+i)
		if i > 0 {
			fmt.Fprintf(&stream, "from :%d\n", i)
		}
		stream.WriteString("deleteall\n")
		for path, f := range files {
			if f.mode == "160000" {
				fmt.Fprintf(&stream, "M 160000 %s %s\n", f.content, quoted(path))
				continue
			}
			fmt.Fprintf(&stream, "M %s inline %s\ndata %d\n%s\n", f.mode, quoted(path), len(f.content), f.content)
		}
	}
	cmd := exec.Command("git", "fast-import", "--quiet", "--force")
	cmd.Dir, cmd.Stdin = dir, &stream
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v\n%s", err, out)
	}
}

type file struct{ mode, content string }

func quoted(path string) string {
	var s strings.Builder
	s.WriteByte('"')
	for _, c := range []byte(path) {
		fmt.Fprintf(&s, `\%03o`, c)
	}
	return s.String() + `"`
}

var kinds = map[string]gitrepo.Kind{
	"100644": gitrepo.File, "100755": gitrepo.Executable, "120000": gitrepo.Symlink, "160000": gitrepo.Submodule,
}

// listed is what git ls-tree says of a commit.
func listed(t testing.TB, dir, commit string) (entries []gitrepo.Entry) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSuffix(gittest.Git(t, dir, "ls-tree", "-r", "-z", "--full-tree", commit), "\x00"), "\x00") {
		if line == "" {
			continue
		}
		meta, path, _ := strings.Cut(line, "\t")
		fields := strings.Fields(meta)
		entries = append(entries, gitrepo.Entry{Path: path, Hash: hash(t, fields[2]), Kind: kinds[fields[0]]})
	}
	return entries
}

// differing is what git diff-tree says of two commits.
func differing(t testing.TB, dir, from, to string, paths ...string) (deltas []gitrepo.Delta) {
	t.Helper()
	args := append([]string{"--literal-pathspecs", "diff-tree", "-r", "--raw", "--no-renames", "--no-abbrev", "-z", from, to, "--"}, paths...)
	fields := strings.Split(strings.TrimSuffix(gittest.Git(t, dir, args...), "\x00"), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		meta, path := strings.Fields(strings.TrimPrefix(fields[i], ":")), fields[i+1]
		side := func(mode, h string) gitrepo.Entry {
			if mode == "000000" {
				return gitrepo.Entry{}
			}
			return gitrepo.Entry{Path: path, Hash: hash(t, h), Kind: kinds[mode]}
		}
		before, after := side(meta[0], meta[2]), side(meta[1], meta[3])
		deltas = append(deltas, gitrepo.Delta{Path: path, Old: before, New: after})
	}
	slices.SortFunc(deltas, func(a, b gitrepo.Delta) int { return strings.Compare(a.Path, b.Path) })
	return deltas
}

// The law of Diff and Files: they say what git diff-tree and git ls-tree say, for trees of any names and kinds. The names are
// few and share prefixes, so that files become directories and the order of "a-b", "a.b" and "a/b" matters.
func TestTreesAreWhatGitSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "a-b", "a.b", "a0", "ab", "é", "日本", "q\"uote", "new\nline", "tab\t", " ", "\\", "%20", ".gitignore", "git", "\xff\xfe", "\x01"}
	modes := []string{"100644", "100644", "100755", "120000", "160000"}
	for round := range 12 {
		files := map[string]file{}
		var commits []map[string]file
		for range 8 {
			for range 1 + random.IntN(12) {
				var elements []string
				for range 1 + random.IntN(3) {
					elements = append(elements, names[random.IntN(len(names))])
				}
				path := strings.Join(elements, "/")
				if random.IntN(4) == 0 {
					delete(files, path)
					continue
				}
				for other := range files { // a file and a directory cannot have one name
					if strings.HasPrefix(other, path+"/") || strings.HasPrefix(path, other+"/") {
						delete(files, other)
					}
				}
				f := file{modes[random.IntN(len(modes))], fmt.Sprint(random.IntN(5))}
				if f.mode == "160000" {
					f.content = strings.Repeat(fmt.Sprint(1+random.IntN(9)), 40)
				}
				files[path] = f
			}
			snapshot := map[string]file{}
			for path, f := range files {
				snapshot[path] = f
			}
			commits = append(commits, snapshot)
		}
		dir := filepath.Join(t.TempDir(), "r.git")
		gittest.Git(t, t.TempDir(), "init", "--quiet", "--bare", "--initial-branch=main", dir)
		history(t, dir, "main", commits)
		all := strings.Fields(gittest.Git(t, dir, "rev-list", "--reverse", "main"))
		r := open(t, gitrepo.Options{URL: dir})
		if _, err := r.Chain(t.Context(), "main", hash(t, all[len(all)-1]), hash(t, all[0])); err != nil {
			t.Fatal(err)
		}
		for i, c := range all {
			got, err := r.Files(hash(t, c), "")
			if want := listed(t, dir, c); err != nil || len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("round %d: files of commit %d: %v\ngot  %q\nwant %q", round, i, err, got, want)
			}
			other := all[random.IntN(len(all))]
			for _, prefixes := range [][]string{nil, {"a"}, {"a/a", "ab", "a"}, {"a.b/é", "日本"}} {
				got, err := r.Diff(hash(t, c), hash(t, other), prefixes...)
				if want := differing(t, dir, c, other, prefixes...); err != nil || len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
					t.Fatalf("round %d: differences below %q: %v\ngot  %q\nwant %q", round, prefixes, err, got, want)
				}
			}
			for _, e := range got {
				if found, ok, err := r.Lookup(hash(t, c), e.Path); err != nil || !ok || found != e {
					t.Fatalf("round %d: looking up %q: got %v, %t, %v; want %v", round, e.Path, found, ok, err, e)
				}
			}
		}
	}
}

func TestLookup(t *testing.T) {
	s, _ := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	main := tip(t, r, "main")
	for path, want := range map[string]gitrepo.Kind{
		"": gitrepo.Dir, "/": gitrepo.Dir, "images": gitrepo.Dir, "images/": gitrepo.Dir, "images/lang/go.yaml": gitrepo.File,
		"image": 0, "images/a.yaml/x": 0, "images/../README.md": 0, "images//a.yaml": 0,
	} {
		got, ok, err := r.Lookup(main, path)
		if err != nil || ok != (want != 0) || got.Kind != want {
			t.Errorf("%q: got a %s, %t, %v; want a %s", path, got.Kind, ok, err, want)
		}
	}
	for prefix, want := range map[string]int{"": 3, "images": 2, "images/": 2, "images/lang": 1, "image": 0, "README.md": 0} {
		if got, err := r.Files(main, prefix); err != nil || len(got) != want {
			t.Errorf("files below %q: got %v, %v; want %d", prefix, got, err, want)
		}
	}
	for _, prefixes := range [][]string{{"images", "images/lang", "images/lang/"}, {"images/lang", "images"}, {"", "images", "README.md"}} {
		want := 2
		if prefixes[0] == "" {
			want = 3
		}
		if got, err := r.Diff(gitrepo.Hash{}, main, prefixes...); err != nil || len(got) != want {
			t.Errorf("from nothing, below %q: got %v, %v; want %d files, each once", prefixes, got, err, want)
		}
	}
}

func TestBlobLimit(t *testing.T) {
	s := gittest.NewServer(t)
	s.Create("catalog.git")
	gittest.Git(t, s.Dir("catalog.git"), "config", "core.compression", "1")
	gittest.Git(t, s.Dir("catalog.git"), "config", "core.bigFileThreshold", "50m") // else the server takes seconds to look for a delta
	const text = "0123456789abcdef"
	history(t, s.Dir("catalog.git"), "main", []map[string]file{{
		"small":         {"100644", strings.Repeat("x", 1000)},
		"huge":          {"100644", strings.Repeat(text, 100<<20/16)},
		"large":         {"100644", strings.Repeat(text, 20<<20/16)},
		"larger":        {"100644", strings.Repeat(text, 20<<20/16) + "and a delta of it"},
		"images/a.yaml": {"100644", "beside the huge ones\n"},
	}})
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	var main gitrepo.Hash
	const room = 64 << 20 // what reading the repository may allocate at once
	if peak := peakHeap(func() { main = tip(t, r, "main") }); peak > room {
		t.Errorf("fetching a file of 100 MB took %d MiB of memory", peak>>20)
	}
	blob := func(path string, limit int64) ([]byte, error) {
		e, ok, err := r.Lookup(main, path)
		if err != nil || !ok {
			t.Fatal(path, ok, err)
		}
		return r.Blob(e.Hash, limit)
	}
	if got, err := blob("small", 1000); err != nil || len(got) != 1000 {
		t.Errorf("a file of exactly the limit: got %d bytes, %v", len(got), err)
	}
	if got, err := blob("images/a.yaml", 1000); err != nil || string(got) != "beside the huge ones\n" {
		t.Errorf("a file beside the huge ones: got %q, %v", got, err)
	}
	_, err := blob("small", 999)
	wantError(t, err, gitrepo.ErrTooLarge, "1000 bytes, the limit is 999")
	for _, path := range []string{"huge", "large", "larger"} {
		_, err := blob(path, 1<<18)
		wantError(t, err, gitrepo.ErrTooLarge)
	}
}

// A few small trees can name more files than there are atoms; reading them must end.
func TestTreeBomb(t *testing.T) {
	s, a := catalog(t)
	tree := a.Git("rev-parse", "HEAD^{tree}")
	for range 12 {
		var list strings.Builder
		for i := range 16 {
			fmt.Fprintf(&list, "040000 tree %s\td%d\n", tree, i)
		}
		tree = input(t, a.Dir, list.String(), "mktree")
	}
	a.Git("push", "--quiet", "origin", a.Git("commit-tree", "-m", "bomb", tree)+":refs/heads/bomb")
	history(t, s.Dir("catalog.git"), "deep", []map[string]file{{strings.Repeat("d/", 600) + "f": {"100644", "x"}}})
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	for _, branch := range []string{"bomb", "deep"} {
		c := tip(t, r, branch)
		_, err := r.Files(c, "")
		wantError(t, err, gitrepo.ErrTooLarge)
		if got, err := r.Diff(c, c); err != nil || len(got) != 0 {
			t.Errorf("%s compared with itself: %v, %v", branch, got, err)
		}
	}
}

func input(t testing.TB, dir, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(args, err)
	}
	return strings.TrimSpace(string(out))
}

func TestNotFetched(t *testing.T) {
	s, _ := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	main := tip(t, r, "main")
	other := hash(t, strings.Repeat("1", 40))
	_, filesErr := r.Files(other, "")
	_, diffErr := r.Diff(main, other)
	_, _, lookupErr := r.Lookup(other, "images")
	for _, err := range []error{filesErr, diffErr, lookupErr} {
		if err == nil || errors.Is(err, gitrepo.ErrTooLarge) {
			t.Errorf("a commit that was never fetched: got error %v", err)
		}
	}
	e, _, err := r.Lookup(main, "images")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Blob(e.Hash, 1<<20); err == nil {
		t.Error("a directory was read as a file")
	}
	if _, err := r.Files(e.Hash, ""); err == nil {
		t.Error("a directory was read as a commit")
	}
}
