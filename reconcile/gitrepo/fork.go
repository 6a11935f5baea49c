package gitrepo

import (
	"context"
	"fmt"
	"maps"
	"math"
	"time"
)

// firstDepth is how many commits of a head Fork asks for at first: more than most pull requests have.
const firstDepth = 16

// maxCommitSize bounds a commit of a stranger, in bytes; its message and its parents are kept in memory.
const maxCommitSize = 256 << 10

// Fork makes a head readable that somebody wants to merge into base, a tip that Chain made readable: the head, the commit where it
// leaves the history of base, and what lies between. The head is named by its ref in full and its hash as Refs gave it. It stays
// readable until Refs finds its ref gone or the cache is compacted; calling Fork again makes it so again.
//
// It returns the best common ancestor of both, and the commits that head has and base does not, merges included and parents before
// children. Those of a head that base contains are none, and the fork is the head. No history is looked at further back than most
// commits, of which a head may have that many of its own. What is missing is fetched in growing steps: of the base first, so that
// what comes with the head is its own, and counts as such.
//
// The error is ErrNoFork where no such commit is found, ErrTooLarge for a head over the bounds of Options.MaxPack, and ErrMoved when
// the server no longer has the head or, where its history was needed, the base. Whatever the error, nothing of the head is kept.
func (r *Repo) Fork(ctx context.Context, ref string, head, base Hash, most int) (fork Hash, commits []Commit, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end, shallow := r.store.bytes(), maps.Clone(r.shallow)
	forget := func() {
		r.store.rewind(end)
		r.shallow = maps.Clone(shallow)
	}
	defer func() {
		if err == nil {
			r.heads[ref] = head
			return
		}
		delete(r.heads, ref)
		forget()
	}()
	last := most + 1 // the fork itself
	for depth, asked := firstDepth, 0; ; depth *= 4 {
		theirs, own, err := r.compare(head, base, most)
		if err != nil {
			return Hash{}, nil, err
		}
		gap := min(theirs.gap, own.gap)
		if own.settled(theirs) || gap >= last || asked == last {
			fork, ok := own.best(theirs)
			if !ok {
				return Hash{}, nil, fmt.Errorf("%s of %s: %w", printable(ref), r.name, ErrNoFork)
			}
			return fork, own.oldestFirst(head), nil
		}
		for depth <= gap {
			depth *= 4
		}
		asked = min(depth, last)
		if theirs.gap < asked {
			forget() // or what is kept of the base would lie behind it
			if err := r.fetch(ctx, fetchRequest{want: base, depth: asked}); err != nil {
				return Hash{}, nil, err
			}
			end, shallow = r.store.bytes(), maps.Clone(r.shallow)
		}
		if own.gap < asked || !r.store.has(head) {
			request := fetchRequest{want: head, depth: asked, limit: r.maxPack}
			for _, h := range []Hash{head, r.heads[ref]} {
				if r.store.has(h) {
					request.haves = append(request.haves, h)
				}
			}
			if err := r.fetch(ctx, request); err != nil {
				return Hash{}, nil, err
			}
		}
	}
}

// A history is what is here of a commit and its ancestors, over any parents.
type history struct {
	commits map[Hash]Commit
	gap     int       // all of so many generations is here, the commit itself being the first; whole where nothing is missing
	edge    time.Time // of the newest commit with a parent that is not here
	endless bool      // whether it has more commits than were wanted
	met     []Hash    // commits at which it was not followed, because they were known
}

// whole is the gap of a history that lacks nothing.
const whole = math.MaxInt

// compare reads the history of a base, and what a head has besides, as far as both are here.
func (r *Repo) compare(head, base Hash, most int) (theirs, own history, err error) {
	theirs, err = r.history(base, nil, most+1, math.MaxInt, maxObject)
	if err != nil {
		return history{}, history{}, err
	}
	own, err = r.history(head, theirs.commits, most+1, most, maxCommitSize)
	return theirs, own, err
}

// history walks so many generations back from a commit, but not into what is known. One of more commits than most ends early.
func (r *Repo) history(from Hash, known map[Hash]Commit, generations, most int, maxSize int64) (history, error) {
	h := history{commits: map[Hash]Commit{}, gap: whole}
	if _, is := known[from]; is {
		h.met = []Hash{from}
		return h, nil
	}
	if !r.store.has(from) {
		h.gap = 0
		return h, nil
	}
	level := []Hash{from}
	for generation := 1; len(level) > 0; generation++ {
		var next []Hash
		for _, at := range level {
			if _, seen := h.commits[at]; seen {
				continue
			}
			if size, _ := r.store.size(at); size > maxSize {
				return history{}, fmt.Errorf("commit %s: %w: %d bytes, the limit is %d", at, ErrTooLarge, size, maxSize)
			}
			c, err := r.commit(at)
			if err != nil {
				return history{}, err
			}
			h.commits[at] = c
			if h.endless = len(h.commits) > most; h.endless {
				return h, nil
			}
			for _, parent := range c.Parents {
				switch _, is := known[parent]; {
				case is:
					h.met = append(h.met, parent)
				case generation < generations && r.store.has(parent):
					next = append(next, parent)
				default:
					h.gap = min(h.gap, generation)
					if c.Time.After(h.edge) {
						h.edge = c.Time
					}
				}
			}
		}
		level = next
	}
	return h, nil
}

// settled reports whether to know more of a base's history would change nothing. What a head has besides may turn out to be that of
// the base where this goes on at commits as new as those; their times are believed so far, as Git itself does.
func (h history) settled(base history) bool {
	switch {
	case h.endless || h.gap != whole:
		return false
	case len(h.commits) == 0 || base.gap == whole:
		return true
	}
	for _, c := range h.commits {
		if !c.Time.After(base.edge) {
			return false
		}
	}
	return true
}

// best is the newest of the commits at which a history met that of a base and that is no ancestor of another, if there is one.
func (h history) best(base history) (best Hash, ok bool) {
	if h.endless || h.gap != whole {
		return Hash{}, false
	}
	older := map[Hash]bool{}
	var open []Hash
	for _, at := range h.met {
		open = append(open, base.commits[at].Parents...)
	}
	for len(open) > 0 {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		if !older[at] {
			older[at] = true
			open = append(open, base.commits[at].Parents...)
		}
	}
	for _, at := range h.met {
		if !older[at] && (!ok || base.commits[at].Time.After(base.commits[best].Time)) {
			best, ok = at, true
		}
	}
	return best, ok
}

// oldestFirst returns the commits of a history from its head, each after its parents.
func (h history) oldestFirst(head Hash) []Commit {
	var commits []Commit
	listed := map[Hash]bool{}
	var list func(Hash)
	list = func(at Hash) {
		c, is := h.commits[at]
		if !is || listed[at] {
			return
		}
		listed[at] = true
		for _, parent := range c.Parents {
			list(parent)
		}
		commits = append(commits, c)
	}
	list(head)
	return commits
}
