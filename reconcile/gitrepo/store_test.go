package gitrepo

import (
	"bytes"
	"compress/zlib"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"tidewaiter/reconcile/gitrepo/gittest"
)

func testStore(t testing.TB) *store {
	t.Helper()
	s, err := newStore("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A daemon runs for months: what it read long ago must not stay on disk and in memory for ever, and what it still works with
// must not go.
func TestCompaction(t *testing.T) {
	server := gittest.NewServer(t)
	server.Create("catalog.git")
	author := gittest.NewAuthor(t, server.Repo("catalog.git"))
	author.Write("images/a.yaml", "one\n")
	author.Commit("first")
	first := plumbing.NewHash(author.Push())
	author.Git("push", "--quiet", "origin", "HEAD:refs/pull/1/head")
	r, err := Open(Options{URL: server.Repo("catalog.git"), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	read := func(ref string, from Hash) Hash {
		t.Helper()
		refs, err := r.Refs(t.Context(), "main", "status", "refs/pull/*/head")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Chain(t.Context(), ref, refs.Branch(ref), from); err != nil {
			t.Fatal(err)
		}
		return refs.Branch(ref)
	}
	read("main", Hash{})
	read("refs/pull/1/head", Hash{})
	status, err := r.Commit(t.Context(), Change{Branch: "status", Files: map[string][]byte{"x": []byte("1")}, When: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	author.Write("images/a.yaml", "two\n")
	author.Commit("second")
	author.Push()
	second := read("main", first)
	author.Git("push", "--quiet", "origin", ":refs/pull/1/head")

	noise := make([]byte, maxObject)
	rand.Read(noise)
	for i := 0; r.store.bytes() <= compactAbove; i++ {
		noise[0] = byte(i)
		if _, err := r.store.put(plumbing.BlobObject, noise); err != nil {
			t.Fatal(err)
		}
	}
	read("status", Hash{})
	if used := r.store.bytes(); used > 4096 {
		t.Errorf("the cache uses %d bytes after it was compacted", used)
	}
	if info, err := r.store.file.Stat(); err != nil || info.Size() != r.store.bytes() {
		t.Errorf("the file of the cache has %d bytes, %v", info.Size(), err)
	}
	for _, tip := range []Hash{second, status} {
		if files, err := r.Files(tip, ""); err != nil || len(files) != 1 {
			t.Errorf("the tip %s has files %v, %v", tip, files, err)
		} else if _, err := r.Blob(files[0].Hash, 100); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Files(first, ""); !errors.Is(err, errNoObject) {
		t.Errorf("the commit before the tip: got error %v", err)
	}
	if len(r.tips) != 2 {
		t.Errorf("the tips %v are kept, want main and status; the pull request is closed", r.tips)
	}

	// What was forgotten is fetched again where it is asked for, and new commits are written and fetched on top.
	if chain, err := r.Chain(t.Context(), "main", second, first); err != nil || len(chain) != 1 {
		t.Errorf("the chain from the forgotten commit is %v, %v", chain, err)
	}
	if deltas, err := r.Diff(first, second); err != nil || len(deltas) != 1 {
		t.Errorf("the differences from the forgotten commit are %v, %v", deltas, err)
	}
	author.Write("images/a.yaml", "three\n")
	author.Commit("third")
	author.Push()
	third := read("main", second)
	if deltas, err := r.Diff(second, third); err != nil || len(deltas) != 1 {
		t.Errorf("the differences are %v, %v", deltas, err)
	}
	if _, err := r.Commit(t.Context(), Change{Branch: "status", Parent: status, When: time.Unix(0, 0)}); err != nil {
		t.Error(err)
	}
	gittest.Fsck(t, server.Dir("catalog.git"))
}

// A head that is read stays so as long as its ref is there, however much was read since. One that was given up leaves neither an
// object nor a byte, and what was learnt of the base on the way is kept.
func TestHeadsAreKeptAndGivenUp(t *testing.T) {
	server := gittest.NewServer(t)
	server.Create("catalog.git")
	author := gittest.NewAuthor(t, server.Dir("catalog.git"))
	commit := func(content string) Hash {
		author.Write("images/a.yaml", content)
		return plumbing.NewHash(author.Commit("x"))
	}
	for i := range 20 {
		commit(strings.Repeat("main\n", i+1))
	}
	author.Push()
	author.Git("checkout", "--quiet", "--detach", "HEAD~4")
	commit("one")
	good := commit("two")
	author.Git("push", "--quiet", "origin", "HEAD:refs/pull/1/head")
	noise := make([]byte, 1_000_000)
	rand.Read(noise)
	huge := commit(string(noise))
	author.Git("push", "--quiet", "origin", "HEAD:refs/pull/2/head")

	r := openAt(t, Options{URL: server.Repo("catalog.git"), MaxPack: 200_000})
	look := func() Refs {
		t.Helper()
		refs, err := r.Refs(t.Context(), "main", "refs/pull/*/head")
		if err != nil {
			t.Fatal(err)
		}
		return refs
	}
	base := look().Branch("main")
	if _, err := r.Chain(t.Context(), "main", base, Hash{}); err != nil {
		t.Fatal(err)
	}
	giveUp := func() {
		t.Helper()
		if _, _, err := r.Fork(t.Context(), "refs/pull/2/head", huge, base, 50); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("got error %v", err)
		}
		if r.store.has(huge) {
			t.Error("a commit of what was given up is there")
		}
	}
	giveUp()
	end, objects, shallow := r.store.bytes(), len(r.store.index), maps.Clone(r.shallow)
	server.Requests()
	giveUp()
	if requests := server.Requests(); len(requests) != 1 {
		t.Errorf("the second time it asked %q, want nothing of the base", requests)
	}
	if info, err := r.store.file.Stat(); err != nil || r.store.bytes() != end || len(r.store.index) != objects || info.Size() != end || !maps.Equal(r.shallow, shallow) {
		t.Errorf("it leaves %d bytes more, a file of %d, %d objects more and %d cut commits, %v",
			r.store.bytes()-end, info.Size(), len(r.store.index)-objects, len(r.shallow), err)
	}
	if _, own, err := r.Fork(t.Context(), "refs/pull/1/head", good, base, 50); err != nil || len(own) != 2 {
		t.Fatalf("the head has %v, %v", own, err)
	}

	fill := func() {
		t.Helper()
		noise := make([]byte, maxObject)
		rand.Read(noise)
		for i := 0; r.store.bytes() <= 2*r.compacted+compactAbove; i++ {
			noise[0] = byte(i)
			if _, err := r.store.put(plumbing.BlobObject, noise); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill()
	look()
	if files, err := r.Files(good, ""); err != nil || len(files) != 1 {
		t.Errorf("after it was compacted, the head has files %v, %v", files, err)
	}
	if _, own, err := r.Fork(t.Context(), "refs/pull/1/head", good, base, 50); err != nil || len(own) != 2 {
		t.Errorf("after it was compacted, the head has %v, %v", own, err)
	}
	author.Git("push", "--quiet", "origin", ":refs/pull/1/head")
	fill()
	look()
	if _, err := r.Files(good, ""); !errors.Is(err, errNoObject) || len(r.heads) != 0 {
		t.Errorf("the head whose ref is gone: got error %v, and %v are kept", err, r.heads)
	}
}

// entry is one object of a pack, its delta base included.
func entry(kind plumbing.ObjectType, base []byte, content []byte) []byte {
	var b bytes.Buffer
	b.Write(entryHeader(kind, len(content)))
	b.Write(base)
	z := zlib.NewWriter(&b)
	z.Write(content)
	z.Close()
	return b.Bytes()
}

func pack(entries ...[]byte) []byte {
	p := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(entries)))
	p = append(p, slices.Concat(entries...)...)
	sum := sha1.Sum(p)
	return append(p, sum[:]...)
}

// insert is a delta that says what the result is, whatever the base.
func insert(base, result string) []byte {
	delta := binary.AppendUvarint(nil, uint64(len(base)))
	delta = binary.AppendUvarint(delta, uint64(len(result)))
	return append(append(delta, byte(len(result))), result...)
}

func TestUnpack(t *testing.T) {
	blob := func(s string) Hash { return plumbing.ComputeHash(plumbing.BlobObject, []byte(s)) }
	here, absent := blob("here"), blob("absent")
	huge := bytes.Repeat([]byte("x"), maxObject+1)
	good := entry(plumbing.BlobObject, nil, []byte("good"))
	flipped := pack(good)
	flipped[len(flipped)-1] ^= 1

	for name, c := range map[string]struct {
		pack []byte
		want []string // nil where it must fail and leave nothing
	}{
		"empty":                     {pack(), []string{}},
		"thin":                      {pack(entry(plumbing.REFDeltaObject, here[:], insert("here", "there"))), []string{"there"}},
		"chain":                     {pack(good, entry(plumbing.OFSDeltaObject, []byte{byte(len(good))}, insert("good", "better"))), []string{"good", "better"}},
		"huge is left out":          {pack(entry(plumbing.BlobObject, nil, huge), good), []string{"good"}},
		"delta of what is left out": {pack(entry(plumbing.REFDeltaObject, absent[:], insert("absent", "x")), good), []string{"good"}},
		"delta that grows too large": {pack(entry(plumbing.REFDeltaObject, here[:],
			binary.AppendUvarint(binary.AppendUvarint(nil, 4), maxObject+1)), good), []string{"good"}},
		"no pack":               {[]byte("not a pack at all, just some words of a proxy"), nil},
		"nothing":               {nil, nil},
		"cut":                   {pack(good, good)[:30], nil},
		"checksum":              {flipped, nil},
		"delta is nonsense":     {pack(good, entry(plumbing.REFDeltaObject, here[:], []byte{4, 4, 0xff, 0xff})), nil},
		"delta of another base": {pack(good, entry(plumbing.REFDeltaObject, here[:], insert("other size", "x"))), nil},
		"delta of no size":      {pack(good, entry(plumbing.REFDeltaObject, here[:], nil)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t)
			if _, err := s.put(plumbing.BlobObject, []byte("here")); err != nil {
				t.Fatal(err)
			}
			err := s.unpack(bytes.NewReader(c.pack), unpackedBound(0))
			if c.want == nil {
				if !errors.Is(err, ErrUnavailable) || s.has(blob("good")) {
					t.Errorf("got error %v, and an object is there: %t", err, s.has(blob("good")))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, content := range c.want {
				if kind, got, err := s.get(blob(content)); err != nil || kind != plumbing.BlobObject || string(got) != content {
					t.Errorf("got a %s %q, %v; want %q", kind, got, err, content)
				}
			}
			if len(s.index) != len(c.want)+1 {
				t.Errorf("the store has %d objects, want %d", len(s.index), len(c.want)+1)
			}
		})
	}
}

func TestParseCommitOddities(t *testing.T) {
	tree := strings.Repeat("a", 40)
	signed := "tree " + tree + "\nauthor A <a@b> 1 +0100\ncommitter  <> 2 -0000\ngpgsig -----BEGIN\n tree " + strings.Repeat("b", 40) + "\n author X <x> 3 +0000\n -----END\n\nsubject\n\nbody"
	c, err := parseCommit(Hash{}, []byte(signed))
	if err != nil || c.Tree.String() != tree || c.Author != "A" || c.Committer != "" || c.Time.Unix() != 2 || c.Message != "subject\n\nbody" {
		t.Errorf("a signed commit: got %+v, %v", c, err)
	}
	latin, err := parseCommit(Hash{}, []byte("tree "+tree+"\nauthor J\xf6rg <j> 1 +0000\nencoding ISO-8859-1\n\ngr\xfc\xdfe"))
	if err != nil || latin.Author != "J\uFFFDrg" || latin.Message != "gr\uFFFDe" {
		t.Errorf("a commit in another encoding: got %+v, %v", latin, err)
	}
	if _, err := parseCommit(Hash{}, []byte("author A <a@b> 1 +0000\n\nno tree")); err == nil {
		t.Error("a commit without a tree was read")
	}
}

// What is written under a path is read under the same, whatever its bytes, and a path that git would not check out is refused.
func FuzzPaths(f *testing.F) {
	for _, path := range []string{
		"a", "releases/go-builder/1.0.0.yaml", "a/b/c/d", "é/日本", `q"uote/back\slash`, "new\nline", " ", "\xff", "..", "a/../b", "/", "a//b",
		".git", "x/.GiT/y", "git~1", ".gitignore", ".gitmodules", "a\x00b", "-", "a-b/a.b", strings.Repeat("d/", 200) + "f",
	} {
		f.Add(path, "beside")
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		s := testStore(t)
		r := &Repo{store: s}
		write := func(files map[string][]byte, parent Hash) (Hash, error) {
			b := builder{store: s}
			h, err := b.commit(r, Change{Files: files, Parent: parent, When: time.Unix(0, 0)})
			for _, o := range b.made {
				if _, err := s.put(o.kind, o.content); err != nil {
					t.Fatal(err)
				}
			}
			return h, err
		}
		first, err := write(map[string][]byte{one: []byte("1")}, Hash{})
		if err != nil {
			return
		}
		for element := range strings.SplitSeq(one, "/") {
			if element == "" || element == "." || element == ".." || strings.EqualFold(element, ".git") || strings.Contains(element, "\x00") {
				t.Fatalf("%q was written", one)
			}
		}
		second, err := write(map[string][]byte{other: []byte("2")}, first)
		if err != nil {
			return
		}
		want := []string{one, other}
		slices.Sort(want)
		files, err := r.Files(second, "")
		if strings.Count(one, "/") >= maxDepth || strings.Count(other, "/") >= maxDepth {
			return
		}
		var got []string
		for _, e := range files {
			got = append(got, e.Path)
		}
		if err != nil || !slices.Equal(got, slices.Compact(want)) {
			t.Fatalf("got files %q, %v; want %q", got, err, want)
		}
		deltas, err := r.Diff(first, second)
		if err != nil || len(deltas) != 1 || deltas[0].Path != other {
			t.Fatalf("got differences %q, %v; want %q", deltas, err, other)
		}
	})
}

// A tree of any bytes is read or refused, and one that is as git writes it comes out the same.
func FuzzTree(f *testing.F) {
	hash := strings.Repeat("h", 20)
	for _, tree := range []string{"", "100644 a\x00" + hash, "40000 a\x00" + hash + "100644 a.b\x00" + hash, "100644 b\x00" + hash + "100644 a\x00" + hash, "100664 a\x00" + hash, "100644 \x00" + hash, "9 a\x00"} {
		f.Add([]byte(tree))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		nodes, err := parseTree(Hash{}, content)
		if err != nil {
			return
		}
		again, err := parseTree(Hash{}, encodeTree(nodes))
		if err != nil || !slices.Equal(again, nodes) {
			t.Fatalf("got %v, then %v, %v", nodes, again, err)
		}
	})
}

// A pack of any bytes is read or refused; refused, it leaves nothing.
func FuzzUnpack(f *testing.F) {
	here := plumbing.ComputeHash(plumbing.BlobObject, []byte("here"))
	f.Add(pack())
	f.Add(pack(entry(plumbing.BlobObject, nil, []byte("x")), entry(plumbing.REFDeltaObject, here[:], insert("here", "there"))))
	f.Add(pack(entry(plumbing.BlobObject, nil, []byte("x")), entry(plumbing.OFSDeltaObject, []byte{10}, insert("x", "y"))))
	f.Fuzz(func(t *testing.T, content []byte) {
		s := testStore(t)
		if _, err := s.put(plumbing.BlobObject, []byte("here")); err != nil {
			t.Fatal(err)
		}
		if err := s.unpack(bytes.NewReader(content), unpackedBound(0)); err != nil && len(s.index) != 1 {
			t.Fatalf("a pack that fails with %v leaves %d objects", err, len(s.index)-1)
		}
		for h := range s.index {
			if _, _, err := s.get(h); err != nil {
				t.Fatal(err)
			}
		}
	})
}
