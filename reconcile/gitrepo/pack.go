package gitrepo

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// unpack puts the objects of a pack into the store, all of them or, where it fails, none. The pack may be thin: deltas may
// be against objects that the store has. Objects over maxObject are left out, and so are deltas against those. The error is
// ErrTooLarge where all objects together have more bytes than the limit; a small pack can hold very large ones, and very many.
//
// It reads in one pass, because a server that was told ofs-delta writes the base before the delta.
func (s *store) unpack(pack io.Reader, limit int64) (err error) {
	end := s.bytes()
	defer func() {
		if err != nil {
			s.rewind(end)
		}
	}()
	left := limit
	take := func(size int64) error {
		if left -= size; left < 0 {
			return fmt.Errorf("%w: more than %d bytes when unpacked", ErrTooLarge, limit)
		}
		return nil
	}
	scanner := packfile.NewScanner(pack)
	_, count, err := scanner.Header()
	if err != nil {
		return broken(err)
	}
	at := map[int64]Hash{} // by offset; zero for what was left out
	var data bytes.Buffer
	for range count {
		header, err := scanner.NextObjectHeader()
		if err != nil {
			return broken(err)
		}
		if err := cmp.Or(take(perObject), take(header.Length)); err != nil {
			return err
		}
		data.Reset()
		var sink io.Writer = &data
		if header.Length > maxObject {
			sink = io.Discard
		}
		if _, _, err := scanner.NextObject(sink); err != nil {
			return broken(err)
		}
		if header.Length > maxObject {
			at[header.Offset] = Hash{}
			continue
		}
		kind, content := header.Type, data.Bytes()
		if kind.IsDelta() {
			base := header.Reference
			if kind == plumbing.OFSDeltaObject {
				base = at[header.OffsetReference]
			}
			kind, content, err = s.patch(base, content)
			if errors.Is(err, errNoObject) {
				at[header.Offset] = Hash{}
				continue
			}
			if err != nil {
				return broken(err)
			}
			if err := take(int64(len(content))); err != nil {
				return err
			}
		}
		h, err := s.put(kind, content)
		if err != nil {
			return err
		}
		at[header.Offset] = h
	}
	if _, err := scanner.Checksum(); err != nil {
		return broken(err)
	}
	return nil
}

// perObject is what an object counts at least when unpacked, in bytes: some hundred of them are kept in memory for it, and as many
// while unpacking.
const perObject = 2 << 10

// unpackedBound is how many bytes a pack may have when unpacked that may have so many itself. 0 is no bound.
func unpackedBound(limit int64) int64 {
	if limit == 0 || limit > math.MaxInt64/16 {
		return math.MaxInt64
	}
	return 16 * limit
}

func broken(err error) error {
	return fmt.Errorf("%w: its pack cannot be read: %w", ErrUnavailable, err)
}

// patch applies a delta. The error is errNoObject where the base is not there or the result would be too large.
func (s *store) patch(base Hash, delta []byte) (plumbing.ObjectType, []byte, error) {
	kind, content, err := s.get(base)
	if err != nil {
		return 0, nil, err
	}
	_, n := binary.Uvarint(delta) // the size of the base
	if n <= 0 {
		return 0, nil, packfile.ErrInvalidDelta
	}
	if size, n := binary.Uvarint(delta[n:]); n > 0 && size > maxObject {
		return 0, nil, errNoObject
	}
	content, err = packfile.PatchDelta(content, delta)
	return kind, content, err
}

// encodePack writes a pack of whole objects. There is no search for deltas: it costs more time than the bytes it saves.
func encodePack(w io.Writer, objects []made) error {
	sum := sha1.New() // what the format asks for; it guards against accidents only
	out := io.MultiWriter(w, sum)
	header := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(objects)))
	if _, err := out.Write(header); err != nil {
		return err
	}
	deflater, err := zlib.NewWriterLevel(nil, zlib.BestSpeed)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if _, err := out.Write(entryHeader(o.kind, len(o.content))); err != nil {
			return err
		}
		deflater.Reset(out)
		if _, err := deflater.Write(o.content); err != nil {
			return err
		}
		if err := deflater.Close(); err != nil {
			return err
		}
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// entryHeader is the kind and size in front of an object: 4 bits of the size beside the kind, then 7 bits a byte.
func entryHeader(kind plumbing.ObjectType, size int) []byte {
	header := []byte{byte(kind)<<4 | byte(size&0x0f)}
	for size >>= 4; size > 0; size >>= 7 {
		header[len(header)-1] |= 0x80
		header = append(header, byte(size&0x7f))
	}
	return header
}
