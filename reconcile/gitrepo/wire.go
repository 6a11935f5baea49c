package gitrepo

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// The two programs of a Git server.
const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// The versions of the protocol, as a program is told which one is wanted: in the header Git-Protocol or in GIT_PROTOCOL.
// In version 1 there is nothing of use.
const (
	version0 = ""
	version2 = "version=2"
)

// A remote is a way to the two programs at a repository. What it returns ends with the context.
type remote interface {
	// advertise returns what the program says first: the refs, and what it can do. It may answer in version 0 always.
	advertise(ctx context.Context, program, version string) (io.ReadCloser, error)
	// call sends one request and returns what the program says to it.
	call(ctx context.Context, program, version string, request []byte) (io.ReadCloser, error)
	// close ends what is kept open between calls.
	close()
}

// agent names this program to servers.
const agent = "agent=tidewaiter"

// A fetchRequest asks for a commit and its ancestors to a depth; the commit itself is depth 1. Haves are commits that are here
// with all they need, except for the parents of the shallow ones. The answer may have limit bytes, any number where that is 0.
type fetchRequest struct {
	want           Hash
	depth          int
	haves, shallow []Hash
	limit          int64
}

// download asks for a pack, unpacks it into the store, and returns the commits whose parents the server left out.
func (r *Repo) download(ctx context.Context, request fetchRequest) (cut []Hash, err error) {
	if r.capabilities == nil {
		if _, err := r.advertised(ctx); err != nil {
			return nil, err
		}
	}
	for _, needed := range []capability.Capability{capability.Shallow, capability.Sideband64k, capability.OFSDelta} {
		if !r.capabilities.Supports(needed) {
			return nil, fmt.Errorf("%w: it does not support %q, which every Git server has", ErrUnavailable, needed)
		}
	}
	var body bytes.Buffer
	lines := pktline.NewEncoder(&body)
	lines.Encodef("want %s shallow ofs-delta thin-pack side-band-64k no-progress %s\n", request.want, agent)
	for _, h := range request.shallow {
		lines.Encodef("shallow %s\n", h)
	}
	lines.Encodef("deepen %d\n", request.depth)
	lines.Flush()
	for _, h := range request.haves {
		lines.Encodef("have %s\n", h)
	}
	if err := lines.EncodeString("done\n"); err != nil {
		return nil, err
	}

	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	answer, err := r.remote.call(ctx, uploadPack, version0, body.Bytes())
	if err != nil {
		return nil, err
	}
	all := &bounded{answer, request.limit}
	if request.limit == 0 {
		all.left = math.MaxInt64
	}
	defer func() {
		if err != nil {
			giveUp() // or a program that has more to say would be waited for
		}
		answer.Close()
		if all.left < 0 {
			err = fmt.Errorf("%w: more than %d bytes to download", ErrTooLarge, request.limit)
		}
	}()
	in := bufio.NewReaderSize(all, 64<<10)
	scanner := pktline.NewScanner(in)
	for scanner.Scan() && len(scanner.Bytes()) > 0 {
		if hash, is := strings.CutPrefix(strings.TrimSpace(string(scanner.Bytes())), "shallow "); is {
			h, err := ParseHash(hash)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
			cut = append(cut, h)
		}
	}
	for { // one line for what we have in common, sometimes more; then the pack, whose lines begin with a small number
		ahead, err := in.Peek(5)
		if scanner.Err() != nil || err != nil {
			return nil, wireError(cmp.Or(scanner.Err(), err))
		}
		if ahead[4] < ' ' {
			break
		}
		scanner.Scan()
	}
	var remarks bytes.Buffer
	pack := sideband.NewDemuxer(sideband.Sideband64k, in)
	pack.Progress = &remarks
	if err := r.store.unpack(pack, unpackedBound(request.limit)); err != nil {
		if remark := printable(remarks.String()); remark != "" {
			return nil, fmt.Errorf("%w; it says: %s", err, remark)
		}
		return nil, err
	}
	return cut, nil
}

// bounded ends a reader with an error once it gave more than was left to it, which then is negative.
type bounded struct {
	io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}

// wireError names an error that ended an answer early.
func wireError(err error) error {
	var said *pktline.ErrorLine
	if errors.As(err, &said) {
		return complaint(said.Text)
	}
	return fmt.Errorf("%w: its answer ends too early: %w", ErrUnavailable, err)
}

// A refusal is what a server said to an update of a ref that it did not make.
type refusal struct {
	reason  string // of the ref, or of the whole push
	remarks string // what hooks printed
}

func (e refusal) Error() string {
	text := printable(e.reason)
	if e.remarks != "" {
		text += ": " + printable(e.remarks)
	}
	if strings.Contains(e.reason, "currently checked out") {
		text += " (the repository has a work tree on this branch; push to a bare repository, or choose another branch)"
	}
	return text
}

// upload asks to move one ref from a commit to another, where zero stands for a ref that does not exist, and sends a pack with
// what the server lacks. The server moves the ref only if it still is at the old commit. The error is a refusal where the
// server said no; any other leaves open what happened.
func (r *Repo) upload(ctx context.Context, ref string, from, to Hash, objects []made) error {
	var body bytes.Buffer
	lines := pktline.NewEncoder(&body)
	lines.Encodef("%s %s %s\x00report-status side-band-64k %s\n", from, to, ref, agent)
	if err := lines.Flush(); err != nil {
		return err
	}
	if err := encodePack(&body, objects); err != nil {
		return err
	}
	answer, err := r.remote.call(ctx, receivePack, version0, body.Bytes())
	if err != nil {
		return err
	}
	defer answer.Close()
	var remarks bytes.Buffer
	report := sideband.NewDemuxer(sideband.Sideband64k, io.LimitReader(answer, maxAdvertisement))
	report.Progress = &remarks
	scanner := pktline.NewScanner(report)
	for scanner.Scan() && len(scanner.Bytes()) > 0 {
		line := strings.TrimSpace(string(scanner.Bytes()))
		status, rest, _ := strings.Cut(line, " ")
		switch {
		case status == "unpack" && rest != "ok":
			return refusal{"the server could not take the objects: " + rest, remarks.String()}
		case status == "ng":
			_, reason, _ := strings.Cut(rest, " ")
			return refusal{reason, remarks.String()}
		case status == "ok" && rest == ref:
			return nil
		}
	}
	return wireError(cmp.Or(scanner.Err(), io.ErrUnexpectedEOF))
}

// complaint names an error that a server told in its own words.
func complaint(text string) error {
	lower := strings.ToLower(text)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(lower, part) {
				return true
			}
		}
		return false
	}
	kind := ErrUnavailable
	switch {
	case has("not our ref"):
		kind = ErrMoved
	case has("not found", "does not appear to be a git repository", "no such repository", "does not exist", "could not be found", "not exported"):
		kind = ErrNotFound
	case has("permission", "denied", "not authorized", "unauthorized", "access"):
		kind = ErrAuth
	}
	return fmt.Errorf("%w: it says: %s", kind, printable(text))
}

// printable makes one line of a server's words, at most 500 bytes, without control characters: they reach logs and terminals.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case !unicode.IsPrint(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}
