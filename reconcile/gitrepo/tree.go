package gitrepo

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Kind is what an entry of a tree is. The zero value is no entry.
type Kind uint8

// The kinds that Git has.
const (
	File Kind = iota + 1
	Executable
	Symlink
	Submodule // a commit of another repository; never followed
	Dir
)

var kindNames = [...]string{"none", "file", "executable file", "symbolic link", "submodule", "directory"}

func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return kindNames[0]
	}
	return kindNames[k]
}

// Entry is one name in a tree. A path is what Git has: bytes without NUL, elements separated by "/", nothing else is sure.
type Entry struct {
	Path string // from the root of the repository
	Hash Hash
	Kind Kind
}

// Delta is a path that is not the same in two commits. Of an entry that is new or gone one side is zero.
type Delta struct {
	Path     string
	Old, New Entry
}

// Bounds of what is read of one tree. A few objects of a stranger can name more entries than any memory holds.
const (
	maxEntries = 1 << 19
	maxDepth   = 512
)

// Files returns everything below a directory of a commit that is not a directory itself, sorted by path. An empty prefix is the
// whole tree; a prefix that names no directory has no files. The error is ErrTooLarge for more than 524,288 files.
func (r *Repo) Files(commit Hash, prefix string) ([]Entry, error) {
	top, ok, err := r.Lookup(commit, prefix)
	if err != nil || !ok || top.Kind != Dir {
		return nil, err
	}
	w := &walk{store: r.store}
	if err := w.diff(Entry{}, top, 0); err != nil {
		return nil, fmt.Errorf("reading the tree of %s: %w", commit, err)
	}
	entries := make([]Entry, len(w.deltas))
	for i, d := range w.deltas {
		entries[i] = d.New
	}
	return entries, nil
}

// Diff returns what differs between two commits, sorted by path; the zero hash is a commit without files. Only what is at or
// below one of the prefixes counts; without any, everything. A rename is one path gone and one new. What it reads is
// proportional to the directories that differ.
func (r *Repo) Diff(from, to Hash, prefixes ...string) ([]Delta, error) {
	if len(prefixes) == 0 {
		prefixes = []string{""}
	}
	w := &walk{store: r.store}
	for _, prefix := range outermost(prefixes) {
		before, _, err := r.Lookup(from, prefix)
		if err != nil {
			return nil, err
		}
		after, _, err := r.Lookup(to, prefix)
		if err != nil {
			return nil, err
		}
		if err := w.diff(before, after, 0); err != nil {
			return nil, fmt.Errorf("comparing the trees of %s and %s: %w", from, to, err)
		}
	}
	slices.SortFunc(w.deltas, func(a, b Delta) int { return cmp.Compare(a.Path, b.Path) })
	return w.deltas, nil
}

// outermost leaves out the prefixes that lie in others.
func outermost(prefixes []string) []string {
	clean := make([]string, len(prefixes))
	for i, p := range prefixes {
		clean[i] = strings.Trim(p, "/")
	}
	slices.Sort(clean)
	var out []string
	for _, p := range slices.Compact(clean) {
		if !slices.ContainsFunc(out, func(o string) bool { return o == "" || strings.HasPrefix(p, o+"/") }) {
			out = append(out, p)
		}
	}
	return out
}

// Lookup returns the entry of a path in a commit, and whether there is one. The empty path is the whole tree. Symbolic links
// on the way are not followed.
func (r *Repo) Lookup(commit Hash, path string) (Entry, bool, error) {
	if commit.IsZero() {
		return Entry{}, false, nil
	}
	c, err := r.commit(commit)
	if err != nil {
		return Entry{}, false, err
	}
	path = strings.Trim(path, "/")
	at := Entry{Hash: c.Tree, Kind: Dir}
	if path == "" {
		return at, true, nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if at.Kind != Dir {
			return Entry{}, false, nil
		}
		nodes, err := r.store.tree(at.Hash)
		if err != nil {
			return Entry{}, false, fmt.Errorf("reading %s of %s: %w", path, commit, err)
		}
		i := slices.IndexFunc(nodes, func(n node) bool { return n.name == name })
		if i < 0 {
			return Entry{}, false, nil
		}
		at = nodes[i].entry(at.Path)
	}
	return at, true, nil
}

// Blob returns the content of a file, or the target of a symbolic link. The error is ErrTooLarge for one of more than limit
// bytes, which is not read; a limit above 512 KiB is not kept for every file.
func (r *Repo) Blob(hash Hash, limit int64) ([]byte, error) {
	size, ok := r.store.size(hash)
	if !ok { // of the trees that are here, only what is too large to keep is missing
		return nil, fmt.Errorf("file %s: %w: over %d bytes, or not fetched", hash, ErrTooLarge, limit)
	}
	if size > limit {
		return nil, fmt.Errorf("file %s: %w: %d bytes, the limit is %d", hash, ErrTooLarge, size, limit)
	}
	content, err := r.store.getKind(plumbing.BlobObject, hash)
	if err != nil {
		return nil, fmt.Errorf("reading file: %w", err)
	}
	return content, nil
}

// Size is that of a file in a tree that is here, in bytes; of one that was too large to be kept it is only known to be larger than
// any limit of Blob.
func (r *Repo) Size(hash Hash) int64 {
	size, ok := r.store.size(hash)
	if !ok {
		return math.MaxInt64
	}
	return size
}

// A walk collects the differences of trees.
type walk struct {
	store  *store
	deltas []Delta
}

// diff compares two entries of one path. Either may be zero, and neither is read where both are the same.
func (w *walk) diff(a, b Entry, depth int) error {
	if a.Hash == b.Hash && a.Kind == b.Kind {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("%w: directories nested more than %d deep", ErrTooLarge, maxDepth)
	}
	file := Delta{Path: cmp.Or(a.Path, b.Path), Old: a, New: b}
	if a.Kind == Dir {
		file.Old = Entry{}
	}
	if b.Kind == Dir {
		file.New = Entry{}
	}
	if file.Old != file.New {
		if len(w.deltas) == maxEntries {
			return fmt.Errorf("%w: more than %d files", ErrTooLarge, maxEntries)
		}
		w.deltas = append(w.deltas, file)
	}
	before, err := w.nodes(a)
	if err != nil {
		return err
	}
	after, err := w.nodes(b)
	if err != nil {
		return err
	}
	for len(before) > 0 || len(after) > 0 {
		var old, new node
		if len(after) == 0 || len(before) > 0 && before[0].compare(after[0]) <= 0 {
			old = before[0]
		}
		if len(before) == 0 || len(after) > 0 && after[0].compare(before[0]) <= 0 {
			new = after[0]
		}
		if old.kind != 0 {
			before = before[1:]
		}
		if new.kind != 0 {
			after = after[1:]
		}
		if old == new {
			continue
		}
		if err := w.diff(old.entry(a.Path), new.entry(b.Path), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) nodes(e Entry) ([]node, error) {
	if e.Kind != Dir {
		return nil, nil
	}
	return w.store.tree(e.Hash)
}

// A node is an entry as its tree has it.
type node struct {
	name string
	hash Hash
	kind Kind
}

func (n node) entry(dir string) Entry {
	if n.kind == 0 {
		return Entry{}
	}
	path := n.name
	if dir != "" {
		path = dir + "/" + n.name
	}
	return Entry{path, n.hash, n.kind}
}

// compare orders nodes as Git does: by name, where that of a directory ends in "/". Walking in this order gives sorted paths.
func (n node) compare(m node) int {
	shorter := min(len(n.name), len(m.name))
	if c := cmp.Compare(n.name[:shorter], m.name[:shorter]); c != 0 {
		return c
	}
	return cmp.Compare(n.at(shorter), m.at(shorter))
}

func (n node) at(i int) int {
	switch {
	case i < len(n.name):
		return int(n.name[i])
	case n.kind == Dir:
		return '/'
	}
	return -1
}

func (s *store) tree(h Hash) ([]node, error) {
	content, err := s.getKind(plumbing.TreeObject, h)
	if err != nil {
		return nil, err
	}
	return parseTree(h, content)
}

var errTree = errors.New("malformed")

// parseTree reads a tree object: octal mode, space, name, NUL, 20 bytes of hash, and so on. The nodes come in Git's order,
// also from a tree that was not written so.
func parseTree(h Hash, content []byte) ([]node, error) {
	nodes := make([]node, 0, len(content)/40)
	names := string(content) // shared by all nodes
	at := 0
	for at < len(content) {
		space := bytes.IndexByte(content[at:], ' ')
		if space < 0 {
			return nil, fmt.Errorf("tree %s: %w", h, errTree)
		}
		kind := kindOf(names[at : at+space])
		at += space + 1
		end := bytes.IndexByte(content[at:], 0)
		if end < 1 || kind == 0 || at+end+1+len(Hash{}) > len(content) {
			return nil, fmt.Errorf("tree %s: %w", h, errTree)
		}
		n := node{name: names[at : at+end], kind: kind}
		at += end + 1
		at += copy(n.hash[:], content[at:])
		nodes = append(nodes, n)
	}
	if !slices.IsSortedFunc(nodes, node.compare) {
		slices.SortFunc(nodes, node.compare)
	}
	return nodes, nil
}

// kindOf reads a mode as Git does: the type decides, and of the permissions only the owner's execute bit.
func kindOf(mode string) Kind {
	var bits uint32
	for _, digit := range []byte(mode) {
		if digit < '0' || digit > '7' || bits > 0o77777 {
			return 0
		}
		bits = bits<<3 | uint32(digit-'0')
	}
	switch bits & 0o170000 {
	case 0o040000:
		return Dir
	case 0o120000:
		return Symlink
	case 0o160000:
		return Submodule
	case 0o100000:
		if bits&0o100 != 0 {
			return Executable
		}
		return File
	}
	return 0
}

var modes = map[Kind]string{File: "100644", Executable: "100755", Symlink: "120000", Submodule: "160000", Dir: "40000"}

// encodeTree writes a tree object of nodes in Git's order.
func encodeTree(nodes []node) []byte {
	content := make([]byte, 0, len(nodes)*64)
	for _, n := range nodes {
		content = append(content, modes[n.kind]...)
		content = append(content, ' ')
		content = append(content, n.name...)
		content = append(content, 0)
		content = append(content, n.hash[:]...)
	}
	return content
}
