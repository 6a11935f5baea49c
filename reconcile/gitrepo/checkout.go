package gitrepo

import (
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"

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

// Fork resolves a base, a branch or anything else that git rev-parse knows, and says where HEAD leaves it.
func (c *Checkout) Fork(base string) (tip, fork Hash, err error) {
	resolved, err := c.repo.ResolveRevision(plumbing.Revision(base))
	if err != nil {
		return Hash{}, Hash{}, fmt.Errorf("base %q is no commit of this clone: %w; fetch it first", base, err)
	}
	head, err := c.repo.Head()
	if err != nil {
		return Hash{}, Hash{}, fmt.Errorf("reading HEAD: %w", err)
	}
	from, err := c.repo.CommitObject(*resolved)
	if err != nil {
		return Hash{}, Hash{}, fmt.Errorf("reading %s: %w", base, err)
	}
	to, err := c.repo.CommitObject(head.Hash())
	if err != nil {
		return Hash{}, Hash{}, fmt.Errorf("reading HEAD: %w", err)
	}
	common, err := from.MergeBase(to)
	if err != nil || len(common) == 0 {
		return Hash{}, Hash{}, fmt.Errorf("HEAD and %s have no commit in common; fetch all history, as with fetch-depth: 0", base)
	}
	return *resolved, common[0].Hash, nil
}

// Commits are those without a second parent that HEAD has and another commit does not, the oldest first; at most so many.
func (c *Checkout) Commits(since Hash, most int) ([]Hash, error) {
	head, err := c.repo.Head()
	if err != nil {
		return nil, fmt.Errorf("reading HEAD: %w", err)
	}
	known := map[Hash]bool{}
	old, err := c.repo.Log(&git.LogOptions{From: since})
	if err != nil {
		return nil, fmt.Errorf("reading the history of %s: %w", since, err)
	}
	if err := old.ForEach(func(commit *object.Commit) error { known[commit.Hash] = true; return nil }); err != nil && !errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fmt.Errorf("reading the history of %s: %w", since, err)
	}
	var commits []Hash
	tip, err := c.repo.CommitObject(head.Hash())
	if err != nil {
		return nil, fmt.Errorf("reading HEAD: %w", err)
	}
	err = object.NewCommitPreorderIter(tip, known, nil).ForEach(func(commit *object.Commit) error {
		if len(commit.ParentHashes) < 2 {
			commits = append(commits, commit.Hash)
		}
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

// Parent is the first parent of a commit, zero where it has none.
func (c *Checkout) Parent(commit Hash) (Hash, error) {
	object, err := c.repo.CommitObject(commit)
	if err != nil || len(object.ParentHashes) == 0 {
		return Hash{}, err
	}
	return object.ParentHashes[0], nil
}

// Files are the regular files at and below a path of the directory in a commit, by their paths in the directory.
func (c *Checkout) Files(commit Hash, name string) (map[string]Hash, error) {
	files := map[string]Hash{}
	found, err := c.repo.CommitObject(commit)
	if err != nil {
		return nil, fmt.Errorf("reading commit %s: %w", commit, err)
	}
	tree, err := found.Tree()
	if err != nil {
		return nil, fmt.Errorf("reading the tree of %s: %w", commit, err)
	}
	entry, err := tree.FindEntry(path.Join(c.prefix, name))
	switch {
	case errors.Is(err, object.ErrEntryNotFound), errors.Is(err, object.ErrDirectoryNotFound):
		return files, nil
	case err != nil:
		return nil, fmt.Errorf("reading %s of %s: %w", name, commit, err)
	case entry.Mode.IsRegular():
		files[name] = entry.Hash
		return files, nil
	}
	below, err := c.repo.TreeObject(entry.Hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return files, nil // neither a file nor a directory
	} else if err != nil {
		return nil, fmt.Errorf("reading %s of %s: %w", name, commit, err)
	}
	err = below.Files().ForEach(func(f *object.File) error {
		if f.Mode.IsRegular() {
			files[path.Join(name, f.Name)] = f.Hash
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s of %s: %w", name, commit, err)
	}
	return files, nil
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
