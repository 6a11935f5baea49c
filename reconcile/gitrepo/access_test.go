package gitrepo_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
)

func TestPassword(t *testing.T) {
	s, _ := catalog(t)
	s.SetUser("waiter", "hunter2")
	file := write(t, t.TempDir(), "password", "hunter2\n")
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git"), Username: "waiter", PasswordFile: file})
	tip(t, r, "main")
	at := commit(t, r, gitrepo.Hash{}, nil)

	s.SetUser("waiter", "rotated hunter2")
	_, err := r.Refs(t.Context(), "main")
	wantError(t, err, gitrepo.ErrAuth, "401", s.Repo("catalog.git"))
	_, err = r.Commit(t.Context(), change(at, nil))
	wantError(t, err, gitrepo.ErrAuth)
	write(t, filepath.Dir(file), "password", "rotated hunter2\r\n")
	commit(t, r, at, nil) // without a restart

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, err = r.Refs(t.Context(), "main")
	wantError(t, err, os.ErrNotExist, "password file")
	write(t, filepath.Dir(file), "password", "\n")
	if _, err = r.Refs(t.Context(), "main"); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("an empty password file: got error %v", err)
	}

	none := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	_, err = none.Refs(t.Context(), "main")
	wantError(t, err, gitrepo.ErrAuth, "asks for a user and a password")

	// A token needs no name, but something has to be said for one.
	write(t, filepath.Dir(file), "password", "token")
	s.SetUser("git", "token")
	tip(t, open(t, gitrepo.Options{URL: s.Repo("catalog.git"), PasswordFile: file}), "main")
}

func TestPasswordInURL(t *testing.T) {
	s, _ := catalog(t)
	s.SetUser("waiter", "hunter2")
	r := open(t, gitrepo.Options{URL: s.RepoAs("catalog.git", "waiter", "hunter2")})
	tip(t, r, "main")
	if strings.Contains(r.String(), "hunter2") || !strings.Contains(r.String(), "waiter:xxxxx@") {
		t.Errorf("the repository calls itself %s", r)
	}
	s.SetUser("waiter", "other")
	_, err := r.Refs(t.Context(), "main")
	wantError(t, err, gitrepo.ErrAuth, "waiter:xxxxx@")
	s.Server.Close()
	_, err = r.Refs(t.Context(), "main")
	wantError(t, err, gitrepo.ErrUnavailable, "refused")
}

func TestWrongAnswers(t *testing.T) {
	s, _ := catalog(t)
	for name, c := range map[string]struct {
		fault gittest.Fault
		kind  error
		says  string
	}{
		"forbidden": {gittest.Refuse(403), gitrepo.ErrAuth, "injected refusal"},
		"not found": {gittest.Refuse(404), gitrepo.ErrNotFound, "404"},
		"gone":      {gittest.Refuse(410), gitrepo.ErrNotFound, "410"},
		"too many":  {gittest.Refuse(429), gitrepo.ErrUnavailable, "429"},
		"broken":    {gittest.Refuse(500), gitrepo.ErrUnavailable, "500"},
		"a page":    {page, gitrepo.ErrNotFound, "text/html"},
		"cut":       {gittest.Cut(80), gitrepo.ErrUnavailable, ""},
		"nothing":   {gittest.Cut(0), gitrepo.ErrUnavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
			s.Fail("/info/refs", c.fault)
			defer s.Heal()
			_, err := r.Refs(t.Context(), "main")
			wantError(t, err, c.kind, c.says)
		})
	}
	r := open(t, gitrepo.Options{URL: s.Repo("missing.git")})
	_, err := r.Refs(t.Context(), "main")
	wantError(t, err, gitrepo.ErrNotFound, "missing.git")
}

func page(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write([]byte("<html>sign in</html>"))
}

// A repository may move on its host. A redirect to any other must not take the password there, nor the pushes.
func TestRedirects(t *testing.T) {
	s, _ := catalog(t)
	s.SetUser("waiter", "hunter2")
	file := write(t, t.TempDir(), "password", "hunter2")
	old := gitrepo.Options{URL: s.Repo("old.git"), Username: "waiter", PasswordFile: file}

	s.Fail("/old.git", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, strings.Replace(r.URL.RequestURI(), "/old.git", "/catalog.git", 1), http.StatusMovedPermanently)
	})
	r := open(t, old)
	tip(t, r, "main")
	at := commit(t, r, gitrepo.Hash{}, nil)

	var reached []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached = append(reached, r.URL.Path+" "+r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	away := func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, elsewhere.URL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}
	s.Fail("/old.git", away)
	_, err := open(t, old).Refs(t.Context(), "main")
	wantError(t, err, gitrepo.ErrUnavailable, "has moved to "+elsewhere.URL)
	s.Fail("/git-receive-pack", away)
	_, err = r.Commit(t.Context(), change(at, nil))
	wantError(t, err, gitrepo.ErrUnavailable, "has moved to "+elsewhere.URL)
	if len(reached) != 0 {
		t.Errorf("the other host was asked %q", reached)
	}
}

// The CA of one repository is nothing to another, so it cannot be a setting of the process.
func TestCA(t *testing.T) {
	s := gittest.NewTLSServer(t)
	s.Create("catalog.git")
	ca := write(t, t.TempDir(), "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	with := open(t, gitrepo.Options{URL: s.Repo("catalog.git"), CAFile: ca})
	without := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	for range 2 {
		refs(t, with, "main")
		_, err := without.Refs(t.Context(), "main")
		wantError(t, err, gitrepo.ErrUnavailable, "certificate")
	}
	none := write(t, t.TempDir(), "none.pem", "no certificate")
	if _, err := gitrepo.Open(gitrepo.Options{URL: s.Repo("catalog.git"), CAFile: none, Dir: t.TempDir()}); err == nil {
		t.Error("a CA file without a certificate was taken")
	}
}

func TestSSH(t *testing.T) {
	s, a := catalog(t)
	server := gittest.StartSSH(t)
	options := gitrepo.Options{URL: server.Repo(s.Dir("catalog.git")), SSHKeyFile: server.KeyFile, KnownHostsFile: server.KnownHosts}

	t.Run("read and write", func(t *testing.T) {
		r := open(t, options)
		first := tip(t, r, "main")
		at := commit(t, r, gitrepo.Hash{}, map[string][]byte{"x": []byte("1")})
		at = commit(t, r, at, map[string][]byte{"x": []byte("2")})
		a.Write("images/a.yaml", "ssh\n")
		a.Commit("second")
		second := hash(t, a.Push())
		if c, err := r.Chain(t.Context(), "main", second, first); err != nil || len(c) != 1 {
			t.Errorf("the chain is %v, %v", c, err)
		}
		if d, err := r.Diff(first, second); err != nil || len(d) != 1 {
			t.Errorf("the differences are %v, %v", d, err)
		}
		if got := refs(t, r, "status").Branch("status"); got != at {
			t.Errorf("status is at %s, want %s", got, at)
		}
		_, err := r.Commit(t.Context(), change(first, nil))
		wantError(t, err, gitrepo.ErrMoved)
		gittest.Fsck(t, s.Dir("catalog.git"))
	})
	t.Run("protected", func(t *testing.T) {
		s.Protect("catalog.git", "locked", "ask the build team")
		c := change(gitrepo.Hash{}, nil)
		c.Branch = "locked"
		_, err := open(t, options).Commit(t.Context(), c)
		wantError(t, err, gitrepo.ErrRefused, "ask the build team")
	})
	t.Run("missing repository", func(t *testing.T) {
		o := options
		o.URL = server.Repo(s.Dir("missing.git"))
		_, err := open(t, o).Refs(t.Context(), "main")
		wantError(t, err, gitrepo.ErrNotFound, "missing.git")
	})
	t.Run("strange path", func(t *testing.T) {
		name := `it's $(touch x) "q"!.git`
		s.Create(name)
		o := options
		o.URL = server.Repo(strings.ReplaceAll(s.Dir(name), " ", "%20"))
		refs(t, open(t, o), "main")
	})
	t.Run("unknown host", func(t *testing.T) {
		o := options
		o.KnownHostsFile = write(t, t.TempDir(), "known_hosts", "")
		_, err := open(t, o).Refs(t.Context(), "main")
		_, port, _ := net.SplitHostPort(server.Address)
		wantError(t, err, gitrepo.ErrHostKey, "is not in "+o.KnownHostsFile, "ssh-keyscan -p "+port)
	})
	t.Run("changed host key", func(t *testing.T) {
		o := options
		_, other, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public := gittest.WriteKey(t, t.TempDir(), "other", other)
		host, port, _ := net.SplitHostPort(server.Address)
		o.KnownHostsFile = write(t, t.TempDir(), "known_hosts", fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(public)))
		_, err = open(t, o).Refs(t.Context(), "main")
		wantError(t, err, gitrepo.ErrHostKey, "has another key")
	})
	t.Run("key not accepted", func(t *testing.T) {
		o := options
		_, other, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		gittest.WriteKey(t, dir, "other", other)
		o.SSHKeyFile = filepath.Join(dir, "other")
		_, err = open(t, o).Refs(t.Context(), "main")
		wantError(t, err, gitrepo.ErrAuth, "does not accept the key", server.User)
	})
	t.Run("encrypted key", func(t *testing.T) {
		o := options
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("hunter2"))
		if err != nil {
			t.Fatal(err)
		}
		o.SSHKeyFile = write(t, t.TempDir(), "key", string(pem.EncodeToMemory(block)))
		if _, err := open(t, o).Refs(t.Context(), "main"); err == nil || !strings.Contains(err.Error(), "use a key without a passphrase") {
			t.Errorf("got error %v", err)
		}
	})
}

// A host that takes connections and says nothing hangs ssh before there is anything of Git.
func TestSSHHangs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	gittest.WriteKey(t, dir, "key", key)
	r := open(t, gitrepo.Options{
		URL:        "ssh://git@" + listener.Addr().String() + "/x.git",
		SSHKeyFile: filepath.Join(dir, "key"), KnownHostsFile: write(t, dir, "known_hosts", ""),
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = r.Refs(ctx, "main")
	wantError(t, err, context.DeadlineExceeded)
	wantError(t, err, gitrepo.ErrUnavailable)
}

// A local git that hangs, in a hook say, is ended with the context.
func TestLocalHangs(t *testing.T) {
	s, _ := catalog(t)
	s.Hook("catalog.git", "pre-receive", "sleep 60")
	r := open(t, gitrepo.Options{URL: s.Dir("catalog.git")})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := r.Commit(ctx, change(gitrepo.Hash{}, nil))
	wantError(t, err, context.DeadlineExceeded)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s to give up", took)
	}
	if got := refs(t, r, "status").Branch("status"); !got.IsZero() {
		t.Errorf("status is at %s after a push that was ended", got)
	}
}
