package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
)

// A stream is a remote whose programs talk over a connection of their own: first they advertise, then they take one request.
type stream struct {
	dialer dialer
}

// A dialer starts a program at a repository, and tells it which version of the protocol is wanted if it can.
type dialer interface {
	dial(ctx context.Context, program, version string) (*conn, error)
}

// A conn is a running program. What it prints besides is kept to explain why it ended.
type conn struct {
	in     io.WriteCloser
	out    io.Reader
	stderr *tail
	stop   func() error // ends the program and waits for it
}

func (s stream) advertise(ctx context.Context, program, version string) (io.ReadCloser, error) {
	return s.open(ctx, program, version)
}

func (s stream) call(ctx context.Context, program, version string, request []byte) (io.ReadCloser, error) {
	t, err := s.open(ctx, program, version)
	if err != nil {
		return nil, err
	}
	if version == version2 {
		err = decodeVersion2(io.LimitReader(t, maxAdvertisement))
	} else {
		_, err = decodeAdvertisement(t)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	_, err = t.conn.in.Write(request)
	if err == nil {
		err = t.conn.in.Close()
	}
	if err != nil {
		t.Close()
		return nil, unavailable(ctx, err)
	}
	return t, nil
}

func (s stream) close() {}

func (s stream) open(ctx context.Context, program, version string) (*talk, error) {
	c, err := s.dialer.dial(ctx, program, version)
	if err != nil {
		return nil, err
	}
	t := &talk{ctx: ctx, conn: c, stop: sync.OnceValue(c.stop)}
	t.release = context.AfterFunc(ctx, func() { _ = t.stop() })
	return t, nil
}

// A talk is a conn that ends with its context.
type talk struct {
	ctx     context.Context
	conn    *conn
	started bool // the program has said something
	stop    func() error
	release func() bool
}

func (t *talk) Read(p []byte) (int, error) {
	n, err := t.conn.out.Read(p)
	if n > 0 {
		t.started = true
	}
	if err == nil {
		return n, nil
	}
	if t.ctx.Err() != nil {
		return n, context.Cause(t.ctx)
	}
	if errors.Is(err, io.EOF) && !t.started {
		_ = t.stop() // then all that it printed is here
		if text := t.conn.stderr.String(); text != "" {
			return n, &pktline.ErrorLine{Text: text}
		}
	}
	return n, err
}

func (t *talk) Close() error {
	t.release()
	_, _ = io.WriteString(t.conn.in, "0000") // where there was no request, this ends the talk in good order
	t.conn.in.Close()
	return t.stop()
}

// A tail keeps the last lines that a program printed.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - 4096; over > 0 {
		t.text = bytes.Clone(t.text[over:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

// local is a repository in the file system, bare or with a work tree. The git program of the machine serves it, as it does
// for git itself, so that locks, hooks and the rules for pushes to a branch that is checked out are those of git.
type local struct {
	path string
}

func (l local) dial(ctx context.Context, program, version string) (*conn, error) {
	if _, err := os.Stat(l.path); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "git", strings.TrimPrefix(program, "git-"), l.path)
	cmd.WaitDelay = time.Second // for what its children hold open
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") { // those that name a repository would win over the path
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "GIT_PROTOCOL="+version)
	c := &conn{stderr: &tail{}}
	cmd.Stderr = c.stderr
	var err error
	if c.in, err = cmd.StdinPipe(); err == nil {
		var out io.ReadCloser
		out, err = cmd.StdoutPipe()
		c.out = out
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%w: a local repository needs the git program: %w", ErrUnavailable, err)
	}
	c.stop = func() error {
		c.in.Close()
		// A program that was given all it needs ends by itself, and a push must not be cut off in the middle.
		patience := time.AfterFunc(5*time.Second, cancel)
		defer patience.Stop()
		defer cancel()
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return nil // said in its answer
		}
		return err
	}
	return c, nil
}
