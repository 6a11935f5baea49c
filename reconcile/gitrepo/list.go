package gitrepo

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// maxAdvertisement bounds what a server may say of its refs, in bytes: some 500,000 of them.
const maxAdvertisement = 32 << 20

// listed asks for the refs of the given prefixes; of a server that does not know how to choose, it gets all. What speaks version
// 2 once is asked in it directly, and from the beginning where it then does not answer: another server may be there now.
func (r *Repo) listed(ctx context.Context, prefixes []string) (Refs, error) {
	if r.version2 {
		refs, err := r.lsRefs(ctx, prefixes)
		if err == nil || ctx.Err() != nil {
			return refs, err
		}
		r.version2 = false
	}
	refs, err := r.greet(ctx)
	if err != nil || refs != nil {
		return refs, err
	}
	refs, err = r.lsRefs(ctx, prefixes)
	r.version2 = err == nil
	return refs, err
}

// greet offers to speak version 2. The refs are those of a server that answers in version 0, and nil where it agrees.
func (r *Repo) greet(ctx context.Context) (Refs, error) {
	answer, err := r.remote.advertise(ctx, uploadPack, version2)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	in := bufio.NewReader(io.LimitReader(answer, maxAdvertisement))
	switch agrees, err := speaks2(in); {
	case err != nil:
		return nil, err
	case agrees:
		return nil, decodeVersion2(in)
	}
	return r.decodeVersion0(in)
}

// advertised lists all refs of the repository in version 0, and notes what the server can do in it.
func (r *Repo) advertised(ctx context.Context) (Refs, error) {
	answer, err := r.remote.advertise(ctx, uploadPack, version0)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	return r.decodeVersion0(answer)
}

func (r *Repo) decodeVersion0(answer io.Reader) (Refs, error) {
	adv, err := decodeAdvertisement(answer)
	if err != nil {
		return nil, err
	}
	if format := adv.Capabilities.Get("object-format"); len(format) > 0 {
		if err := checkFormat(format[0]); err != nil {
			return nil, err
		}
	}
	r.capabilities = adv.Capabilities
	return adv.References, nil
}

func checkFormat(format string) error {
	if format != "sha1" {
		return fmt.Errorf("the repository names its objects with %s; only sha1 is known", printable(format))
	}
	return nil
}

func decodeAdvertisement(answer io.Reader) (*packp.AdvRefs, error) {
	adv := packp.NewAdvRefs()
	err := adv.Decode(io.LimitReader(answer, maxAdvertisement))
	var said *pktline.ErrorLine
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		return adv, nil
	case errors.As(err, &said):
		return nil, complaint(said.Text)
	case err != nil:
		return nil, fmt.Errorf("%w: reading its refs: %w", ErrUnavailable, err)
	}
	return adv, nil
}

// speaks2 looks at the beginning of an advertisement. Over http some servers name the service first, as in version 0.
func speaks2(in *bufio.Reader) (bool, error) {
	length, err := in.Peek(4) // no more yet: over a stream, this may be all
	if err != nil {
		return false, wireError(err)
	}
	const service, version = "001e# service=" + uploadPack + "\n0000", "000eversion 2\n"
	switch string(length) {
	case version[:4]:
		found, _ := in.Peek(len(version))
		return string(found) == version, nil
	case service[:4]:
		if found, _ := in.Peek(len(service + version)); string(found) == service+version {
			_, err := in.Discard(len(service))
			return true, err
		}
	}
	return false, nil
}

// decodeVersion2 reads what a server says first in version 2: what it can do, and no refs.
func decodeVersion2(in io.Reader) error {
	scanner := pktline.NewScanner(in)
	first, lists := true, false
	for scanner.Scan() && len(scanner.Bytes()) > 0 {
		key, value, _ := strings.Cut(strings.TrimSpace(string(scanner.Bytes())), "=")
		switch {
		case first && key != "version 2":
			return fmt.Errorf("%w: it does not speak version 2 of Git's protocol any more", ErrUnavailable)
		case key == "ls-refs":
			lists = true
		case key == "object-format":
			if err := checkFormat(value); err != nil {
				return err
			}
		}
		first = false
	}
	if scanner.Err() != nil || first || len(scanner.Bytes()) > 0 {
		return wireError(cmp.Or(scanner.Err(), io.ErrUnexpectedEOF))
	}
	if !lists {
		return fmt.Errorf("%w: it does not support %q, which every Git server has", ErrUnavailable, "ls-refs")
	}
	return nil
}

// lsRefs asks for the refs of the given prefixes, of all where there are none, in version 2. The server may send others.
func (r *Repo) lsRefs(ctx context.Context, prefixes []string) (Refs, error) {
	var body bytes.Buffer
	lines := pktline.NewEncoder(&body)
	if err := lines.EncodeString("command=ls-refs\n"); err != nil {
		return nil, err
	}
	body.WriteString("0001") // between what is asked and how
	for _, prefix := range prefixes {
		if err := lines.Encodef("ref-prefix %s\n", prefix); err != nil {
			return nil, err
		}
	}
	if err := lines.Flush(); err != nil {
		return nil, err
	}
	answer, err := r.remote.call(ctx, uploadPack, version2, body.Bytes())
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	scanner := pktline.NewScanner(io.LimitReader(answer, maxAdvertisement))
	refs := Refs{}
	for scanner.Scan() {
		line := strings.TrimSuffix(string(scanner.Bytes()), "\n")
		if line == "" {
			return refs, nil
		}
		object, name, _ := strings.Cut(line, " ")
		h, err := ParseHash(object)
		if err != nil || name == "" {
			return nil, fmt.Errorf("%w: reading its refs: %q is none", ErrUnavailable, printable(line))
		}
		refs[name] = h
	}
	return nil, wireError(cmp.Or(scanner.Err(), io.ErrUnexpectedEOF))
}
