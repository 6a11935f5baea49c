// Package gittest gives tests real Git servers, with faults, and a person who works with the plain git program. Nothing in it
// imitates Git. Commits made here are the same in every run: names and times are fixed.
package gittest

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tidewaiter/reconcile/gitrepo/githttp"
)

// Server serves bare repositories over http from a temporary directory.
type Server struct {
	*httptest.Server
	t    testing.TB
	root string

	mu       sync.Mutex
	users    map[string]string
	requests []string
	faults   map[string]Fault
	ended    chan struct{}

	connections atomic.Int64
}

// Connections returns how many connections were made so far.
func (s *Server) Connections() int { return int(s.connections.Load()) }

// Fault answers a request in place of the server, or with its help.
type Fault func(w http.ResponseWriter, r *http.Request, server http.Handler)

// NewServer starts a server on the loopback interface. Everybody may read and push until SetUser is called.
func NewServer(t testing.TB) *Server {
	t.Helper()
	return start(t, (*httptest.Server).Start)
}

// NewTLSServer is NewServer over https; its certificate is that of httptest.
func NewTLSServer(t testing.TB) *Server {
	t.Helper()
	return start(t, (*httptest.Server).StartTLS)
}

func start(t testing.TB, listen func(*httptest.Server)) *Server {
	t.Helper()
	s := &Server{t: t, root: t.TempDir(), users: map[string]string{}, faults: map[string]Fault{}, ended: make(chan struct{})}
	backend, err := githttp.Handler(s.root, s.allow)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, backend)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that give up are what tests are about
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	listen(s.Server)
	t.Cleanup(func() {
		close(s.ended)
		s.Server.CloseClientConnections()
		s.Server.Close()
	})
	return s
}

func (s *Server) allow(user, password string, push bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.users) == 0 {
		return true
	}
	want, known := s.users[user]
	return known && want == password
}

// SetUser lets a user in with a password, in place of the one before, and from then on nobody without.
func (s *Server) SetUser(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[user] = password
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, backend http.Handler) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
	var fault Fault
	for where, f := range s.faults {
		if strings.Contains(r.URL.RequestURI(), where) {
			fault = f
		}
	}
	s.mu.Unlock()
	if fault != nil {
		fault(w, r, backend)
		return
	}
	backend.ServeHTTP(w, r)
}

// Requests returns what was asked since the last call, as "GET /path?query".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := s.requests
	s.requests = nil
	return requests
}

// Fail makes every request whose path and query contain where meet the fault, until Heal. The places are "/info/refs",
// "POST"-ed "/git-upload-pack" for fetches and for refs in version 2, and "/git-receive-pack" for pushes.
func (s *Server) Fail(where string, fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[where] = fault
}

// Heal takes all faults away.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// Refuse answers with a status and does nothing.
func Refuse(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, "injected refusal", status)
	}
}

// LoseAnswer does what was asked and answers 502.
func LoseAnswer(w http.ResponseWriter, r *http.Request, server http.Handler) {
	server.ServeHTTP(httptest.NewRecorder(), r)
	http.Error(w, "injected loss", http.StatusBadGateway)
}

// Hang never answers, until the client gives up or the server ends.
func (s *Server) Hang(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	select {
	case <-r.Context().Done():
	case <-s.ended:
	}
}

// Cut does what was asked, sends so many bytes of the answer and breaks the connection.
func Cut(bytes int) Fault {
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, r)
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		body := answer.Body.Bytes()
		w.Write(body[:min(bytes, len(body))])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Create makes an empty bare repository whose first branch is main.
func (s *Server) Create(name string) {
	s.t.Helper()
	Git(s.t, s.root, "init", "--quiet", "--bare", "--initial-branch=main", name)
}

// Dir is the directory of a repository on the server.
func (s *Server) Dir(name string) string { return filepath.Join(s.root, name) }

// Repo is the URL of a repository.
func (s *Server) Repo(name string) string { return s.URL + "/" + name }

// RepoAs is the URL of a repository with a user and a password in it.
func (s *Server) RepoAs(name, user, password string) string {
	u, err := url.Parse(s.Repo(name))
	if err != nil {
		s.t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// Hook installs a shell script as a hook of a repository: "pre-receive", for example, to protect a branch.
func (s *Server) Hook(name, hook, script string) {
	s.t.Helper()
	path := filepath.Join(s.Dir(name), "hooks", hook)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o777); err != nil {
		s.t.Fatal(err)
	}
}

// Protect makes the server refuse pushes to a branch, with the words given, until the hook is replaced.
func (s *Server) Protect(name, branch, words string) {
	s.t.Helper()
	s.Hook(name, "pre-receive", fmt.Sprintf(`while read old new ref; do
	if [ "$ref" = 'refs/heads/%s' ]; then echo %q >&2; exit 1; fi
done`, branch, words))
}

// Reviews makes so many heads of pull requests in a repository, each of a commit of its own on main.
func (s *Server) Reviews(name string, heads int) {
	s.t.Helper()
	var stream strings.Builder
	for i := range heads {
		fmt.Fprintf(&stream, "commit refs/pull/%d/head\ncommitter C <c@example.com> 1800000000 +0000\ndata <<.\n%[1]d\n.\nfrom refs/heads/main^0\n", i+1)
	}
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin = s.Dir(name), strings.NewReader(stream.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("git fast-import: %v\n%s", err, out)
	}
	Git(s.t, s.Dir(name), "pack-refs", "--all")
}

// Git runs the git program in a directory, with no configuration but the one given here, and returns what it prints.
func Git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	return run(t, dir, nil, args...)
}

func run(t testing.TB, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = slices.Concat(cleanEnv(), env)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func cleanEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") })
	return append(env, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Ada Author", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Cleo Committer", "GIT_COMMITTER_EMAIL=cleo@example.com")
}

// Fsck fails the test unless every object of a repository on this machine is whole and well-formed.
func Fsck(t testing.TB, dir string) {
	t.Helper()
	if out := Git(t, dir, "fsck", "--strict", "--no-dangling"); out != "" {
		t.Errorf("git fsck --strict: %s", out)
	}
}

// Count lets requests through and adds up the bytes of the answers.
func Count(bytes *int) Fault {
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		server.ServeHTTP(&counter{w, bytes}, r)
	}
}

type counter struct {
	http.ResponseWriter
	bytes *int
}

func (c *counter) Write(p []byte) (int, error) {
	*c.bytes += len(p)
	return c.ResponseWriter.Write(p)
}

// Without lets requests through as if they did not have a header.
func Without(header string) Fault {
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		r.Header.Del(header)
		server.ServeHTTP(w, r)
	}
}

// Before does something and then lets the request through.
func Before(do func()) Fault {
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		do()
		server.ServeHTTP(w, r)
	}
}
