package registry

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tidewaiter/reconcile/release"
)

// Bounds on what one layer unpacks to: what compresses better by far is made to keep others busy. A layer of zeros, which are
// the best that gzip can do, may unpack to over a gibibyte.
const (
	unpackedAtLeast = 1 << 30 // bytes that every layer may have
	unpackedRatio   = 100     // and so many times its compressed size
)

// zstdWindow bounds the memory that a zstd stream may ask for, in bytes. Builders stay below; zstd itself asks for permission
// above.
const zstdWindow = 8 << 20

// content shows that a layer is what its digest and its config say. It is downloaded once, whatever registries and repositories
// have it: what has the digest is the same everywhere. But where another registry takes long to send it, this one is asked too,
// so that a slow registry holds up its own images only.
func (v visit) content(ctx context.Context, layer blobRef) error {
	key := factKey{digest: layer.Digest, content: true}
	asked := false
	download := func() (fact, error) {
		asked = true
		return v.download(ctx, layer)
	}
	patient, cancel := context.WithTimeout(ctx, v.patience)
	defer cancel()
	f, err := v.fact(patient, key, download)
	if err != nil && !asked && ctx.Err() == nil {
		key.remote = v.remote
		f, err = v.fact(ctx, key, download)
	}
	switch {
	case err != nil:
		return err
	case f.size != layer.Size:
		return refuse(release.DigestMismatch, "it is not of the %d bytes that the manifest says", layer.Size)
	case f.diffID != layer.diffID:
		return refuse(release.ManifestInvalid, "it unpacks to %s, and the config says %s", f.diffID, layer.diffID)
	}
	return nil
}

// download reads a layer once, through its digest, unpacks it on the way, through the digest of that, and keeps neither. Memory
// is a few buffers and the window of the compression, however large the layer is: 3 MiB for gzip and 10 MiB for zstd at most
// (BenchmarkContent), for as many layers at a time as Options.PerRegistry lets be asked for.
func (v visit) download(ctx context.Context, layer blobRef) (fact, error) {
	reader, err := v.blob(ctx, layer.Digest)
	if err != nil {
		return fact{}, err
	}
	defer reader.Close()
	packed := &counting{Reader: io.LimitReader(reader, layer.Size+1), told: v.downloaded} // it compares the digest at the end
	sum := sha256.New()
	bound := max(unpackedAtLeast, unpackedRatio*layer.Size)
	unpacked, unpackErr := unpack(sum, packed, bound)
	if _, err := io.Copy(io.Discard, packed); err != nil { // what is left decides about the digest
		return fact{}, answered(err, release.LayerMissing)
	}
	switch {
	case packed.n > layer.Size: // the rest was not read, so nothing is known
		return fact{}, refuse(release.DigestMismatch, "it is longer than the %d bytes that the manifest says", layer.Size)
	case unpackErr != nil:
		return fact{}, refuse(release.ManifestInvalid, "it cannot be unpacked: %w", unpackErr)
	case unpacked > bound:
		return fact{}, refuse(release.ManifestInvalid, "it unpacks to more than %d bytes", bound)
	}
	return fact{size: packed.n, diffID: release.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))}, nil
}

// unpack copies what a layer holds when it is unpacked, at most a byte more than bound. As engines do, it tells by the first
// bytes how a layer is compressed, and not by what the manifest says.
func unpack(to io.Writer, from io.Reader, bound int64) (int64, error) {
	buffered := bufio.NewReaderSize(from, 64<<10)
	magic, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	plain := io.Reader(buffered)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		if plain, err = gzip.NewReader(buffered); err != nil {
			return 0, err
		}
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18}):
		decoder, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return 0, err
		}
		defer decoder.Close()
		plain = decoder
	}
	return io.Copy(to, io.LimitReader(plain, bound+1))
}

// counting counts what is read, and tells whoever shows it. The first error that is not the end stays.
type counting struct {
	io.Reader
	n    int64
	err  error
	told func(bytes int)
}

func (c *counting) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	c.told(n)
	c.err = err
	return n, err
}
