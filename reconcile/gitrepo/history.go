package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Commit is what a commit says of itself. Names are free text: they say no more than Git knows.
type Commit struct {
	Hash      Hash
	Parents   []Hash // the first one is the branch it was made on
	Tree      Hash
	Author    string // without the address
	Committer string
	Time      time.Time // of the committer
	Message   string
}

// Refs are the refs asked for that exist, by full name.
type Refs map[string]Hash

// Branch returns the tip of a branch; zero where it does not exist.
func (r Refs) Branch(name string) Hash { return r[BranchRef(name)] }

// BranchRef is the full name of a branch. A full name is returned as it is.
func BranchRef(branch string) string {
	if strings.HasPrefix(branch, "refs/") {
		return branch
	}
	return "refs/heads/" + branch
}

// compactAbove is how many bytes the object cache may grow between two compactions, beside what was kept.
const compactAbove = 64 << 20

// Refs asks for the tips of refs, which takes one request, and one more until it is known that the server speaks version 2. A name is that of a branch, or a full one in which a "*" stands for
// any text: refs/pull/*/head. An empty repository has no refs, which is no error.
//
// It also is the moment when the object cache may shrink: then only the newest commit seen of each ref stays readable, until
// Chain or Fork fetches others again.
func (r *Repo) Refs(ctx context.Context, names ...string) (Refs, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	refs, err := r.refs(ctx, names)
	if err != nil {
		return nil, err
	}
	for _, kept := range []map[string]Hash{r.tips, r.heads} {
		maps.DeleteFunc(kept, func(name string, _ Hash) bool {
			_, exists := refs[name]
			return !exists && matches(names, name)
		})
	}
	if r.store.bytes() > 2*r.compacted+compactAbove {
		if err := r.compact(); err != nil {
			return nil, err
		}
	}
	return refs, nil
}

func (r *Repo) refs(ctx context.Context, names []string) (Refs, error) {
	var prefixes []string
	for _, name := range names {
		prefix, _, _ := strings.Cut(BranchRef(name), "*")
		prefixes = append(prefixes, prefix)
	}
	refs := Refs{}
	err := r.ask(ctx, "list", func() error {
		all, err := r.listed(ctx, prefixes)
		for name, hash := range all {
			if matches(names, name) {
				refs[name] = hash
			}
		}
		return err
	})
	return refs, err
}

func matches(names []string, ref string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		before, after, pattern := strings.Cut(BranchRef(name), "*")
		if !pattern {
			return before == ref
		}
		return len(ref) >= len(before)+len(after) && strings.HasPrefix(ref, before) && strings.HasSuffix(ref, after)
	})
}

func (r *Repo) compact() error {
	tips := slices.AppendSeq(slices.Collect(maps.Values(r.tips)), maps.Values(r.heads))
	if err := r.store.compact(tips); err != nil {
		return err
	}
	r.compacted = r.store.bytes()
	r.shallow = map[Hash]bool{}
	for _, tip := range tips {
		r.cut(tip)
	}
	return nil
}

// Chain returns the first-parent commits after one up to and including another, oldest first; where from is zero, the tip alone.
// They and from itself are readable afterwards, with their trees and files, until the next call of Refs. The tip is that of a
// branch, or of a ref by its full name, as Refs gave it; from is a commit that the caller has worked up to.
//
// What is missing is fetched: the newest commits first and then older ones, four times as many with each request, until from
// is among them. The error is ErrRewritten when it never is, and ErrMoved when the server no longer has the tip.
func (r *Repo) Chain(ctx context.Context, branch string, tip, from Hash) ([]Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.store.has(tip) {
		depth := 1
		if !from.IsZero() {
			depth = 2
		}
		if err := r.fetch(ctx, fetchRequest{want: tip, depth: depth}); err != nil {
			return nil, err
		}
	}
	r.tips[BranchRef(branch)] = tip
	if from.IsZero() {
		c, err := r.commit(tip)
		return []Commit{c}, err
	}
	var last Hash
	for depth := 8; ; depth *= 4 {
		chain, end, err := r.firstParents(tip, from)
		if err != nil {
			return nil, err
		}
		if end == from {
			slices.Reverse(chain)
			return chain, nil
		}
		if end.IsZero() || end == last || r.descends(from, end) { // end == last: the server itself has no more
			return nil, fmt.Errorf("%s of %s, from %s to %s: %w", branch, r.name, from, tip, ErrRewritten)
		}
		last = end
		for depth <= len(chain) {
			depth *= 4
		}
		if err := r.fetch(ctx, fetchRequest{want: tip, depth: depth}); err != nil {
			return nil, err
		}
	}
}

// CommitAt returns a commit that Chain or Fork made readable.
func (r *Repo) CommitAt(h Hash) (Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.commit(h)
}

// firstParents walks from a commit back as far as the store goes. The end is from where it was met, the oldest commit of the
// chain where its first parent is not here, or zero where the history ends.
func (r *Repo) firstParents(tip, from Hash) (chain []Commit, end Hash, err error) {
	for at := tip; at != from; {
		c, err := r.commit(at)
		if err != nil {
			return nil, Hash{}, err
		}
		chain = append(chain, c)
		if len(c.Parents) == 0 {
			return chain, Hash{}, nil
		}
		if !r.store.has(c.Parents[0]) {
			return chain, at, nil
		}
		at = c.Parents[0]
	}
	return chain, from, nil
}

// descends reports whether one commit is known to have another among its ancestors, over any parents. Then the second cannot
// have the first, and to look further back for it is no use.
func (r *Repo) descends(commit, ancestor Hash) bool {
	seen := map[Hash]bool{}
	for open := []Hash{commit}; len(open) > 0; {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		if seen[at] || !r.store.has(at) {
			continue
		}
		seen[at] = true
		c, err := r.commit(at)
		if err != nil {
			return false
		}
		if slices.Contains(c.Parents, ancestor) {
			return true
		}
		open = append(open, c.Parents...)
	}
	return false
}

// fetch downloads a commit and its ancestors to a depth, as far as they are missing.
func (r *Repo) fetch(ctx context.Context, request fetchRequest) error {
	haves := slices.AppendSeq(request.haves, maps.Values(r.tips))
	slices.SortFunc(haves, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
	request.haves = slices.Compact(haves)
	for h := range r.shallow {
		request.shallow = append(request.shallow, h)
	}
	return r.ask(ctx, "fetch", func() error {
		cut, err := r.download(ctx, request)
		if err != nil {
			return err
		}
		for h := range r.shallow {
			delete(r.shallow, h)
			r.cut(h)
		}
		for _, h := range cut {
			r.cut(h)
		}
		if !r.store.has(request.want) {
			return fmt.Errorf("%w: its answer lacks commit %s", ErrUnavailable, request.want)
		}
		return nil
	})
}

// cut notes a commit whose parents are not all here.
func (r *Repo) cut(h Hash) {
	c, err := r.commit(h)
	if err == nil && slices.ContainsFunc(c.Parents, func(p Hash) bool { return !r.store.has(p) }) {
		r.shallow[h] = true
	}
}

func (r *Repo) commit(h Hash) (Commit, error) {
	content, err := r.store.getKind(plumbing.CommitObject, h)
	if err != nil {
		return Commit{}, fmt.Errorf("reading commit: %w", err)
	}
	return parseCommit(h, content)
}

var errCommit = errors.New("malformed")

// parseCommit reads a commit object: header lines, those that go on begin with a space, then a blank line and the message.
func parseCommit(h Hash, content []byte) (Commit, error) {
	c := Commit{Hash: h}
	header, message, _ := bytes.Cut(content, []byte("\n\n"))
	c.Message = strings.ToValidUTF8(string(message), "\uFFFD")
	for line := range bytes.SplitSeq(header, []byte("\n")) {
		key, value, _ := bytes.Cut(line, []byte(" "))
		var who object.Signature
		switch string(key) {
		case "tree":
			c.Tree = plumbing.NewHash(string(value))
		case "parent":
			c.Parents = append(c.Parents, plumbing.NewHash(string(value)))
		case "author":
			who.Decode(value)
			c.Author = strings.ToValidUTF8(who.Name, "\uFFFD")
		case "committer":
			who.Decode(value)
			c.Committer, c.Time = strings.ToValidUTF8(who.Name, "\uFFFD"), who.When
		}
	}
	if c.Tree.IsZero() {
		return Commit{}, fmt.Errorf("commit %s: %w", h, errCommit)
	}
	return c, nil
}
