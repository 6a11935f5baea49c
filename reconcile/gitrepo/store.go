package gitrepo

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxObject is the size in bytes above which an object is not kept. It bounds the memory that one file of a stranger can
// take. Git makes no delta of an object against one over 32 times its size, so every object below half a mebibyte, which no
// file of a catalog exceeds, can be put together without one that was left out.
const maxObject = 16 << 20

// A store keeps objects by their hash in one file that has no name any more: however the process ends, nothing is left.
// Only the index is in memory, some 60 bytes an object. Objects are never changed; compact forgets.
type store struct {
	dir string

	mu       sync.RWMutex
	file     *os.File
	end      int64 // where the next object goes
	index    map[Hash]location
	deflater *flate.Writer
	deflated bytes.Buffer
}

type location struct {
	offset int64
	packed int32 // bytes in the file
	size   int32 // bytes when inflated
	kind   plumbing.ObjectType
}

var errNoObject = errors.New("the object is not in the cache")

func newStore(dir string) (*store, error) {
	file, err := unnamedFile(dir)
	if err != nil {
		return nil, err
	}
	deflater, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	return &store{dir: dir, file: file, index: map[Hash]location{}, deflater: deflater}, nil
}

func unnamedFile(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "tidewaiter-objects-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Close()
}

func (s *store) has(h Hash) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.index[h]
	return ok
}

// size returns the size of an object when inflated.
func (s *store) size(h Hash) (int64, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, ok := s.index[h]
	return int64(at.size), ok
}

// bytes returns how much of the file is in use.
func (s *store) bytes() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.end
}

// put keeps an object, and says under which name.
func (s *store) put(kind plumbing.ObjectType, content []byte) (Hash, error) {
	h := plumbing.ComputeHash(kind, content)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.index[h]; ok {
		return h, nil
	}
	s.deflated.Reset()
	s.deflater.Reset(&s.deflated)
	if _, err := s.deflater.Write(content); err != nil {
		return h, err
	}
	if err := s.deflater.Close(); err != nil {
		return h, err
	}
	at := location{s.end, int32(s.deflated.Len()), int32(len(content)), kind}
	return h, s.append(h, at, s.deflated.Bytes())
}

func (s *store) append(h Hash, at location, packed []byte) error {
	if _, err := s.file.WriteAt(packed, at.offset); err != nil {
		return fmt.Errorf("writing the object cache: %w", err)
	}
	s.end += int64(len(packed))
	s.index[h] = at
	return nil
}

// rewind forgets all that was put since the store had so many bytes, and gives the room back.
func (s *store) rewind(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == bytes {
		return
	}
	kept := map[Hash]location{} // another map: one does not shrink
	for h, at := range s.index {
		if at.offset < bytes {
			kept[h] = at
		}
	}
	s.index, s.end = kept, bytes
	_ = s.file.Truncate(bytes) // what stays there is written over
}

// get returns an object of any kind. The error is errNoObject for one that is not there.
func (s *store) get(h Hash) (plumbing.ObjectType, []byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.read(h)
}

func (s *store) read(h Hash) (plumbing.ObjectType, []byte, error) {
	at, ok := s.index[h]
	if !ok {
		return 0, nil, fmt.Errorf("%s: %w", h, errNoObject)
	}
	packed := make([]byte, at.packed)
	if _, err := s.file.ReadAt(packed, at.offset); err != nil {
		return 0, nil, fmt.Errorf("reading the object cache: %w", err)
	}
	content := make([]byte, at.size)
	inflater := inflaters.Get().(io.Reader)
	defer inflaters.Put(inflater)
	if err := inflater.(flate.Resetter).Reset(bytes.NewReader(packed), nil); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(inflater, content); err != nil {
		return 0, nil, fmt.Errorf("reading the object cache: %w", err)
	}
	return at.kind, content, nil
}

// inflaters are reused, because each is forty times as large as the usual object.
var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

// getKind returns an object that must be of one kind.
func (s *store) getKind(kind plumbing.ObjectType, h Hash) ([]byte, error) {
	found, content, err := s.get(h)
	if err == nil && found != kind {
		err = fmt.Errorf("%s is a %s, not a %s", h, found, kind)
	}
	return content, err
}

// compact forgets all but the given commits, their trees and their files, and gives the room back.
func (s *store) compact(commits []Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := unnamedFile(s.dir)
	if err != nil {
		return err
	}
	next := &store{file: file, index: map[Hash]location{}}
	for _, h := range commits {
		if err := s.copyTo(next, h); err != nil {
			file.Close()
			return err
		}
	}
	s.file.Close()
	s.file, s.end, s.index = next.file, next.end, next.index
	return nil
}

func (s *store) copyTo(next *store, h Hash) error {
	at, ok := s.index[h]
	if !ok {
		return nil // a submodule, or too large to be kept
	}
	if _, done := next.index[h]; done {
		return nil
	}
	packed := make([]byte, at.packed)
	if _, err := s.file.ReadAt(packed, at.offset); err != nil {
		return fmt.Errorf("reading the object cache: %w", err)
	}
	at.offset = next.end
	if err := next.append(h, at, packed); err != nil {
		return err
	}
	switch at.kind {
	case plumbing.CommitObject:
		_, content, err := s.read(h)
		if err != nil {
			return err
		}
		c, err := parseCommit(h, content)
		if err != nil {
			return err
		}
		return s.copyTo(next, c.Tree)
	case plumbing.TreeObject:
		_, content, err := s.read(h)
		if err != nil {
			return err
		}
		nodes, err := parseTree(h, content)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if err := s.copyTo(next, n.hash); err != nil {
				return err
			}
		}
	}
	return nil
}
