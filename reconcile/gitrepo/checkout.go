package gitrepo

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// Checkout is a directory in the work tree of somebody's clone. It is read without the git program, and nothing in it is changed or
// executed.
type Checkout struct {
	repo   *git.Repository
	prefix string // of the directory in the repository
}

// OpenCheckout opens the clone that a directory is in. The error is that there is none.
func OpenCheckout(dir string) (*Checkout, error) {
	repo, err := git.PlainOpenWithOptions(dir, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if err != nil {
		return nil, fmt.Errorf("opening the clone that %s is in: %w", dir, err)
	}
	tree, err := repo.Worktree()
	if err != nil {
		return nil, fmt.Errorf("opening the clone that %s is in: %w", dir, err)
	}
	top, err := filepath.EvalSymlinks(tree.Filesystem.Root())
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, err
	}
	prefix, err := filepath.Rel(top, dir)
	return &Checkout{repo, filepath.ToSlash(prefix)}, err
}

// Origin is the URL of the remote "origin", empty where there is none.
func (c *Checkout) Origin() string {
	origin, err := c.repo.Remote(git.DefaultRemoteName)
	if err != nil || len(origin.Config().URLs) == 0 {
		return ""
	}
	return origin.Config().URLs[0]
}

// Fork resolves a base, a branch or anything else that git rev-parse knows, and says where HEAD leaves it: the base's commit, the
// best common ancestor, and the commits that HEAD has and that does not, the oldest first. At most so many of them, the newest.
func (c *Checkout) Fork(base string, most int) (tip, fork Hash, commits []Commit, err error) {
	resolved, err := c.repo.ResolveRevision(plumbing.Revision(base))
	if err != nil {
		return Hash{}, Hash{}, nil, fmt.Errorf("base %q is no commit of this clone: %w; fetch it first", base, err)
	}
	head, err := c.repo.Head()
	if err != nil {
		return Hash{}, Hash{}, nil, fmt.Errorf("reading HEAD: %w", err)
	}
	from, err := c.repo.CommitObject(*resolved)
	if err != nil {
		return Hash{}, Hash{}, nil, fmt.Errorf("reading %s: %w", base, err)
	}
	to, err := c.repo.CommitObject(head.Hash())
	if err != nil {
		return Hash{}, Hash{}, nil, fmt.Errorf("reading HEAD: %w", err)
	}
	common, err := from.MergeBase(to)
	if err != nil || len(common) == 0 {
		return Hash{}, Hash{}, nil, fmt.Errorf("HEAD and %s have no commit in common; fetch all history, as with fetch-depth: 0", base)
	}
	commits, err = c.commits(to, common[0].Hash, most)
	return *resolved, common[0].Hash, commits, err
}

func (c *Checkout) commits(tip *object.Commit, since Hash, most int) ([]Commit, error) {
	known := map[Hash]bool{}
	old, err := c.repo.Log(&git.LogOptions{From: since})
	if err != nil {
		return nil, fmt.Errorf("reading the history of %s: %w", since, err)
	}
	if err := old.ForEach(func(commit *object.Commit) error { known[commit.Hash] = true; return nil }); err != nil && !errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fmt.Errorf("reading the history of %s: %w", since, err)
	}
	var commits []Commit
	err = object.NewCommitPreorderIter(tip, known, nil).ForEach(func(commit *object.Commit) error {
		commits = append(commits, Commit{
			Hash: commit.Hash, Parents: commit.ParentHashes, Tree: commit.TreeHash,
			Author: commit.Author.Name, Committer: commit.Committer.Name, Time: commit.Committer.When, Message: commit.Message,
		})
		if len(commits) == most {
			return storer.ErrStop
		}
		return nil
	})
	if err != nil && !errors.Is(err, plumbing.ErrObjectNotFound) { // the end of a shallow clone
		return nil, fmt.Errorf("reading the history of HEAD: %w", err)
	}
	slices.Reverse(commits)
	return commits, nil
}

// Lookup returns the entry of a path of the directory in a commit, and whether there is one. The empty path is the directory.
func (c *Checkout) Lookup(commit Hash, name string) (Entry, bool, error) {
	found, err := c.repo.CommitObject(commit)
	if err != nil {
		return Entry{}, false, fmt.Errorf("reading commit %s: %w", commit, err)
	}
	name = strings.Trim(name, "/")
	at := Entry{Path: name, Hash: found.TreeHash, Kind: Dir}
	inside := path.Join(c.prefix, name)
	if inside == "." {
		return at, true, nil
	}
	for element := range strings.SplitSeq(inside, "/") {
		if at.Kind != Dir {
			return Entry{}, false, nil
		}
		tree, err := c.repo.TreeObject(at.Hash)
		if err != nil {
			return Entry{}, false, fmt.Errorf("reading %s of %s: %w", name, commit, err)
		}
		entry, err := tree.FindEntry(element)
		if err != nil { // there is none, all else is here already
			return Entry{}, false, nil
		}
		at.Hash, at.Kind = entry.Hash, kindOf(entry.Mode.String())
	}
	return at, true, nil
}

// Files returns everything below a directory in a commit that is not a directory itself, sorted by path. A prefix that names no
// directory has no files. Paths are those in the directory of the checkout.
func (c *Checkout) Files(commit Hash, prefix string) ([]Entry, error) {
	top, ok, err := c.Lookup(commit, prefix)
	if err != nil || !ok || top.Kind != Dir {
		return nil, err
	}
	tree, err := c.repo.TreeObject(top.Hash)
	if err != nil {
		return nil, fmt.Errorf("reading %s of %s: %w", prefix, commit, err)
	}
	var entries []Entry
	walker := object.NewTreeWalker(tree, true, nil)
	defer walker.Close()
	for {
		name, entry, err := walker.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading %s of %s: %w", prefix, commit, err)
		}
		if kind := kindOf(entry.Mode.String()); kind != Dir {
			entries = append(entries, Entry{path.Join(prefix, name), entry.Hash, kind})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	return entries, nil
}

// Blob returns the content of a file. The error is ErrTooLarge for one of more than limit bytes.
func (c *Checkout) Blob(hash Hash, limit int64) ([]byte, error) {
	blob, err := c.repo.BlobObject(hash)
	if err != nil {
		return nil, fmt.Errorf("reading file %s: %w", hash, err)
	}
	if blob.Size > limit {
		return nil, fmt.Errorf("file %s: %w: %d bytes, the limit is %d", hash, ErrTooLarge, blob.Size, limit)
	}
	reader, err := blob.Reader()
	if err != nil {
		return nil, fmt.Errorf("reading file %s: %w", hash, err)
	}
	defer reader.Close()
	return io.ReadAll(reader)
}

// HashOf is the hash that a file of this content has.
func HashOf(content []byte) Hash { return plumbing.ComputeHash(plumbing.BlobObject, content) }
