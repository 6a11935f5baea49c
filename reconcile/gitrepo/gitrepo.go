// Package gitrepo is one remote Git repository: it lists refs, reads trees, walks first parents, and commits by
// compare-and-swap. There is no work tree and no clone of the history: the newest commits are kept in one temporary file
// that nothing depends on.
//
// It promises that
//   - listing refs is one request, after the first time, and nothing else is asked where nothing moved; of a server that speaks
//     version 2 of Git's protocol only refs are sent that may be meant;
//   - history is downloaded from the newest commit back to the one the caller knows, in growing steps, and no further;
//   - the head of a pull request, which is a stranger's, is read within bounds of bytes, objects and commits, and one that exceeds
//     them leaves nothing behind;
//   - a commit lands on exactly the parent it was made for, or not at all. What an error leaves in doubt is settled by asking
//     the remote ref; where that fails too, the error says so and the next look at the refs tells;
//   - nothing in a repository is executed or followed: no hooks, no submodules, no LFS, no includes;
//   - host keys of ssh servers are checked, a password goes to the host it was given for and to no other, and neither
//     appears in an error;
//   - a server that hangs is left when the context ends.
//
// It speaks Git's protocol over https, ssh, and to the git program for local paths. Refs are listed in version 2 where the server
// agrees (one of ssh must accept the variable GIT_PROTOCOL), and fetching and pushing is done in version 0, which every server speaks.
//
// It does not know what the files mean, who wrote a commit (names in commits are free text), or repositories with SHA-256
// object names, which it refuses.
package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// Hash names an object. The zero value stands for none: an absent branch, no parent, an empty tree.
type Hash = plumbing.Hash

// ParseHash reads a full hash in hexadecimal.
func ParseHash(s string) (Hash, error) {
	if !plumbing.IsHash(s) {
		return Hash{}, fmt.Errorf("commit %q: want 40 hexadecimal digits", s)
	}
	return plumbing.NewHash(s), nil
}

// What can go wrong, beside a context that ends. Each is wrapped with what was being done and where.
var (
	ErrNotFound    = errors.New("no such repository; check the URL, and that the credentials may see it")
	ErrAuth        = errors.New("access denied; check the user and the password file or ssh key, and what they may do")
	ErrHostKey     = errors.New("the ssh host key is not the one expected")
	ErrUnavailable = errors.New("the Git server cannot be reached or does not answer as one")
	ErrMoved       = errors.New("the branch has moved; read it again")
	ErrRefused     = errors.New("the server refuses the push; let this user push to the branch, or choose another status branch")
	ErrRewritten   = errors.New("history was rewritten: the known commit is not on the branch's first-parent chain")
	ErrNoFork      = errors.New("it has no commit in common with the branch it is to be merged into, as far as was looked; rebase it on that branch")
	ErrTooLarge    = errors.New("too large")
	ErrCAFile      = errors.New("the CA file cannot be used")
)

// Options say where a repository is and how to get in. Files are read again at every use, so that a rotated secret needs no
// restart.
type Options struct {
	// URL is https://, http://, ssh://, user@host:path, file:// or a local path, which may be a work tree.
	URL string
	// Username and PasswordFile are for https; the user is git where none is given. A trailing line end of the file is not part
	// of the password. They take precedence over a user and password in the URL.
	Username, PasswordFile string
	// SSHKeyFile is an unencrypted private key, KnownHostsFile the host keys to trust, in the format of OpenSSH. Both are
	// required for ssh.
	SSHKeyFile, KnownHostsFile string
	// CAFile holds PEM certificates that are trusted for https besides the system's.
	CAFile string
	// Dir is where the disposable object cache lies; empty means the system's temporary directory.
	Dir string
	// MaxPack bounds what Fork downloads of a stranger: so many bytes in one answer, and 16 times as many when unpacked, where each
	// object counts as 2 KiB more than it has. 0 is no bound. The branches that Chain reads have none.
	MaxPack int64
	// Observe, if set, hears about every operation that asks the server: list, fetch or push.
	Observe func(operation string, err error, took time.Duration)
}

// Repo is one repository. It is safe for concurrent use: calls that ask the server wait for each other, calls that only read
// do not wait for them.
type Repo struct {
	remote  remote
	name    string // the URL without a password
	observe func(string, error, time.Duration)
	store   *store
	maxPack int64

	mu sync.Mutex // held by whatever asks the server; guards the rest
	// capabilities are what the server last said it can do in version 0; nil before it was asked.
	capabilities *capability.List
	// version2 is whether the server last listed its refs in version 2.
	version2 bool
	// tips are the newest commits seen of each ref. What they need is kept when the store is compacted.
	tips map[string]Hash
	// heads are the newest commits that Fork made readable of each ref; kept like tips, and nothing is said of them to the server
	// but where the same ref is asked for, because there may be thousands.
	heads map[string]Hash
	// shallow are the commits in the store with a parent that is not.
	shallow map[Hash]bool
	// compacted is how many bytes the store had after it was last compacted.
	compacted int64
}

// Open prepares for a repository. It asks no server; the error is about the options or the temporary directory.
func Open(o Options) (*Repo, error) {
	remote, name, err := newRemote(o)
	if err != nil {
		return nil, err
	}
	store, err := newStore(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("making the object cache: %w", err)
	}
	observe := o.Observe
	if observe == nil {
		observe = func(string, error, time.Duration) {}
	}
	return &Repo{
		remote: remote, name: name, observe: observe, store: store,
		maxPack: o.MaxPack, tips: map[string]Hash{}, heads: map[string]Hash{}, shallow: map[Hash]bool{},
	}, nil
}

// Close gives up the object cache and idle connections.
func (r *Repo) Close() error {
	r.remote.close()
	return r.store.Close()
}

// String is the repository's URL without a password.
func (r *Repo) String() string { return r.name }

// ask runs one operation on the server, reports it, and says in the error what was done and where.
func (r *Repo) ask(ctx context.Context, operation string, do func() error) error {
	start := time.Now()
	err := do()
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) { // then what follows from it may be what failed
		err = fmt.Errorf("%w: %w", err, cause)
	}
	r.observe(operation, err, time.Since(start))
	if err != nil {
		return fmt.Errorf("%s %s: %w", verbs[operation], r.name, err)
	}
	return nil
}

var verbs = map[string]string{"list": "listing the refs of", "fetch": "fetching from", "push": "pushing to"}

// Skew is how far this machine's clock is ahead of the server's, to a second or two, and whether that is known: only http tells.
func (r *Repo) Skew() (time.Duration, bool) {
	remote, ok := r.remote.(*httpRemote)
	if !ok {
		return 0, false
	}
	remote.mu.Lock()
	defer remote.mu.Unlock()
	if remote.skew == nil {
		return 0, false
	}
	return *remote.skew, true
}
