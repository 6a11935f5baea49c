package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Person is who a commit is by.
type Person struct {
	Name, Email string
}

// Change is a commit to be made.
type Change struct {
	Branch string
	// Parent is the commit it is made on, and where the branch must be; zero makes the branch, which must not exist.
	Parent Hash
	// Files are the new contents by path; nil deletes, also what is not there. What is not named stays as it is.
	Files   map[string][]byte
	Message string
	Author  Person // the committer too
	When    time.Time
}

// Commit makes a commit and moves the branch to it, if the branch is at its parent still. There is always one, also of a change
// that changes no file. Nothing is merged, rebased or forced.
//
// Whatever goes wrong while pushing, the remote ref tells what happened: where it is the new commit there is no error. The
// error is ErrMoved where somebody else was faster, ErrRefused where the server does not let us, with its words, and
// otherwise what kept the push from being made. Where the ref could not be asked, the error says that the outcome is open.
func (r *Repo) Commit(ctx context.Context, change Change) (Hash, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !change.Parent.IsZero() && !r.store.has(change.Parent) {
		if err := r.fetch(ctx, fetchRequest{want: change.Parent, depth: 1}); err != nil {
			return Hash{}, err
		}
	}
	b := builder{store: r.store}
	h, err := b.commit(r, change)
	if err != nil {
		return Hash{}, fmt.Errorf("making a commit for %s of %s: %w", change.Branch, r.name, err)
	}
	ref := BranchRef(change.Branch)
	if err := r.push(ctx, ref, change.Parent, h, b.made); err != nil {
		return Hash{}, err
	}
	for _, o := range b.made {
		if _, err := r.store.put(o.kind, o.content); err != nil {
			return h, err
		}
	}
	r.tips[ref] = h
	return h, nil
}

// MayPush asks the server whether it takes pushes of this user at all, and pushes nothing. What its rules and hooks would say of
// a branch it does not tell before.
func (r *Repo) MayPush(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ask(ctx, "list", func() error {
		answer, err := r.remote.advertise(ctx, receivePack, version0)
		if err != nil {
			return err
		}
		defer answer.Close()
		_, err = decodeAdvertisement(answer)
		return err
	})
}

func (r *Repo) push(ctx context.Context, ref string, from, to Hash, objects []made) error {
	return r.ask(ctx, "push", func() error {
		err := r.upload(ctx, ref, from, to, objects)
		if err == nil {
			return nil
		}
		refs, unknown := r.advertised(ctx)
		if unknown != nil {
			return fmt.Errorf("%w; whether %s is on %s could not be asked", err, to, ref)
		}
		var no refusal
		switch {
		case refs[ref] == to:
			return nil
		case refs[ref] != from:
			return fmt.Errorf("%s: %w", ref, ErrMoved)
		case errors.As(err, &no):
			return fmt.Errorf("%s: %w; it says: %w", ref, ErrRefused, no)
		}
		return err
	})
}

// A builder makes the objects of one commit: those that its parent does not have at the same place.
type builder struct {
	store *store
	made  []made
}

// made is an object that a push carries.
type made struct {
	kind    plumbing.ObjectType
	content []byte
}

func (b *builder) make(kind plumbing.ObjectType, content []byte, old Hash) Hash {
	h := plumbing.ComputeHash(kind, content)
	if h != old {
		b.made = append(b.made, made{kind, content})
	}
	return h
}

func (b *builder) commit(r *Repo, change Change) (Hash, error) {
	var root Entry
	if !change.Parent.IsZero() {
		c, err := r.commit(change.Parent)
		if err != nil {
			return Hash{}, err
		}
		root = Entry{Hash: c.Tree, Kind: Dir}
	}
	top := newDir()
	for _, path := range slices.Sorted(maps.Keys(change.Files)) {
		if err := top.add(path, change.Files[path]); err != nil {
			return Hash{}, fmt.Errorf("path %q: %w", path, err)
		}
	}
	tree, err := b.tree(root, top)
	if err != nil {
		return Hash{}, err
	}
	if tree.IsZero() { // no files at all, which Git allows at the top only
		tree = b.make(plumbing.TreeObject, nil, root.Hash)
	}
	return b.make(plumbing.CommitObject, encodeCommit(tree, change), Hash{}), nil
}

// A dir is what changes in a directory, by name.
type dir struct {
	files map[string][]byte // nil deletes
	dirs  map[string]dir
}

func newDir() dir { return dir{map[string][]byte{}, map[string]dir{}} }

func (d dir) add(path string, content []byte) error {
	name, rest, deeper := strings.Cut(path, "/")
	if err := checkName(name); err != nil {
		return err
	}
	if !deeper {
		d.files[name] = content
		return nil
	}
	if d.files[name] != nil {
		return fmt.Errorf("%q cannot be a file and a directory", name)
	}
	if _, ok := d.dirs[name]; !ok {
		d.dirs[name] = newDir()
	}
	return d.dirs[name].add(rest, content)
}

// checkName refuses names that git refuses to check out.
func checkName(name string) error {
	switch lower := strings.ToLower(name); {
	case name == "" || name == "." || name == "..", lower == ".git", strings.HasPrefix(lower, "git~"):
		return fmt.Errorf("%q cannot be the name of a file", name)
	case strings.ContainsRune(name, 0):
		return errors.New("a name cannot hold NUL")
	}
	return nil
}

// tree makes the tree of a directory as it is after a change, and those below. It is zero for one without files.
func (b *builder) tree(old Entry, change dir) (Hash, error) {
	var nodes []node
	if old.Kind == Dir {
		var err error
		if nodes, err = b.store.tree(old.Hash); err != nil {
			return Hash{}, err
		}
	}
	before := map[string]node{} // those that change
	nodes = slices.DeleteFunc(nodes, func(n node) bool {
		_, file := change.files[n.name]
		_, below := change.dirs[n.name]
		if file || below {
			before[n.name] = n
		}
		return file || below
	})
	for name, content := range change.files {
		switch was := before[name]; {
		case was.kind == Dir:
			return Hash{}, fmt.Errorf("%s is a directory, not a file", was.entry(old.Path).Path)
		case content != nil:
			nodes = append(nodes, node{name, b.make(plumbing.BlobObject, content, was.hash), File})
		}
	}
	for name, below := range change.dirs {
		was := before[name]
		_, deleted := change.files[name]
		if was.kind != 0 && was.kind != Dir && !deleted {
			return Hash{}, fmt.Errorf("%s is a %s, nothing can be below it", was.entry(old.Path).Path, was.kind)
		}
		h, err := b.tree(was.entry(old.Path), below)
		if err != nil {
			return Hash{}, err
		}
		if !h.IsZero() {
			nodes = append(nodes, node{name, h, Dir})
		}
	}
	if len(nodes) == 0 {
		return Hash{}, nil
	}
	slices.SortFunc(nodes, node.compare)
	return b.make(plumbing.TreeObject, encodeTree(nodes), old.Hash), nil
}

func encodeCommit(tree Hash, change Change) []byte {
	var s strings.Builder
	fmt.Fprintf(&s, "tree %s\n", tree)
	if !change.Parent.IsZero() {
		fmt.Fprintf(&s, "parent %s\n", change.Parent)
	}
	who := fmt.Sprintf("%s <%s> %d %s", nameable(change.Author.Name), nameable(change.Author.Email),
		change.When.Unix(), change.When.Format("-0700"))
	fmt.Fprintf(&s, "author %s\ncommitter %s\n\n", who, who)
	message := strings.ReplaceAll(strings.ToValidUTF8(change.Message, "\uFFFD"), "\x00", "")
	s.WriteString(strings.TrimRight(message, "\n") + "\n")
	return []byte(s.String())
}

// nameable leaves out what would end a name or an address in a commit.
func nameable(s string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c == '<' || c == '>' {
			return -1
		}
		return c
	}, s))
}
