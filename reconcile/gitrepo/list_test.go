package gitrepo

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"tidewaiter/reconcile/gitrepo/gittest"
)

func openAt(t testing.TB, o Options) *Repo {
	t.Helper()
	o.Dir = t.TempDir()
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// names lists refs, which must work, and returns what they are called.
func names(t testing.TB, r *Repo, patterns ...string) []string {
	t.Helper()
	refs, err := r.Refs(t.Context(), patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(refs))
}

// Whatever the way and the version, the same refs are there: those asked for that the server shows, and no others.
func TestEveryWayListsTheSame(t *testing.T) {
	s := gittest.NewServer(t)
	s.Create("empty.git")
	s.Create("catalog.git")
	a := gittest.NewAuthor(t, s.Dir("catalog.git"))
	a.Commit("first")
	a.Git("tag", "--annotate", "--message", "x", "v1")
	a.Git("push", "--quiet", "origin", "main", "v1", "HEAD:refs/heads/mainline", "HEAD:refs/heads/release/1", "HEAD:refs/pull/1/head",
		"HEAD:refs/pull/1/merge", "HEAD:refs/pull/2/head", "HEAD:refs/pull/22/head", "HEAD:refs/pullet/1/head")
	gittest.Git(t, s.Dir("catalog.git"), "config", "transfer.hideRefs", "refs/pull/2")
	s.Fail("/old/", func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/old")
		gittest.Without("Git-Protocol")(w, r, server)
	})
	ssh := func(lines ...string) func(*testing.T) func(string) Options {
		return func(t *testing.T) func(string) Options {
			server := gittest.StartSSH(t, lines...)
			return func(name string) Options {
				return Options{URL: server.Repo(s.Dir(name)), SSHKeyFile: server.KeyFile, KnownHostsFile: server.KnownHosts}
			}
		}
	}
	at := func(url func(string) string) func(*testing.T) func(string) Options {
		return func(*testing.T) func(string) Options {
			return func(name string) Options { return Options{URL: url(name)} }
		}
	}
	for name, way := range map[string]struct {
		start    func(*testing.T) func(name string) Options
		version2 bool
	}{
		"http":                       {at(s.Repo), true},
		"http without the header":    {at(func(name string) string { return s.Repo("old/" + name) }), false},
		"local":                      {at(s.Dir), true},
		"ssh":                        {ssh("AcceptEnv GIT_PROTOCOL"), true},
		"ssh that takes no variable": {ssh(), false},
	} {
		t.Run(name, func(t *testing.T) {
			options := way.start(t)
			empty, r := openAt(t, options("empty.git")), openAt(t, options("catalog.git"))
			for range 2 { // at first what the server speaks is not known
				if got := names(t, empty, "main", "refs/pull/*/head"); len(got) != 0 {
					t.Errorf("an empty repository has refs %q", got)
				}
				for _, c := range []struct{ patterns, want []string }{
					{[]string{"main"}, []string{"refs/heads/main"}},
					{[]string{"main*"}, []string{"refs/heads/main", "refs/heads/mainline"}},
					{[]string{"main", "status", "refs/pull/*/head"}, []string{"refs/heads/main", "refs/pull/1/head", "refs/pull/22/head"}},
					{[]string{"refs/tags/v1"}, []string{"refs/tags/v1"}},
					{[]string{"refs/pull/2/head", "refs/merge-requests/*/head"}, nil},
					{nil, nil},
				} {
					if got := names(t, r, c.patterns...); !slices.Equal(got, c.want) {
						t.Errorf("of %q there are %q, want %q", c.patterns, got, c.want)
					}
				}
			}
			if r.version2 != way.version2 {
				t.Errorf("its refs were listed in version 2: %t, want %t", r.version2, way.version2)
			}
			main, err := r.Refs(t.Context(), "main")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Chain(t.Context(), "main", main.Branch("main"), Hash{}); err != nil {
				t.Errorf("what was listed cannot be fetched: %v", err)
			}
		})
	}
}

// Reviews are many and stay for ever. What a look costs must not depend on those that nobody asked for.
func TestOnlyWhatIsAskedForIsSent(t *testing.T) {
	s := gittest.NewServer(t)
	s.Create("catalog.git")
	a := gittest.NewAuthor(t, s.Dir("catalog.git"))
	a.Commit("first")
	a.Push()
	s.Reviews("catalog.git", 1000)
	r := openAt(t, Options{URL: s.Repo("catalog.git")})
	names(t, r, "main")
	var sent int
	s.Fail("/catalog.git", gittest.Count(&sent))
	s.Requests()
	names(t, r, "main", "status")
	if requests := s.Requests(); len(requests) != 1 || sent > 200 {
		t.Errorf("a look at two branches beside a thousand reviews asked %q and read %d bytes", requests, sent)
	}
	if got := names(t, r, "refs/pull/*/head"); len(got) != 1000 {
		t.Errorf("of a thousand reviews %d are listed", len(got))
	}
}

// Behind one URL servers come and go. One that speaks another version than the one before must not need a restart.
func TestServerIsReplaced(t *testing.T) {
	s := gittest.NewServer(t)
	s.Create("catalog.git")
	a := gittest.NewAuthor(t, s.Dir("catalog.git"))
	a.Commit("first")
	a.Push()
	r := openAt(t, Options{URL: s.Repo("catalog.git")})
	look := func(what string, want ...string) {
		t.Helper()
		s.Requests()
		if got := names(t, r, "main"); len(got) != 1 {
			t.Errorf("%s: the refs are %q", what, got)
		}
		var asked []string
		for _, request := range s.Requests() {
			method, _, _ := strings.Cut(request, " ")
			asked = append(asked, method)
		}
		if !slices.Equal(asked, want) {
			t.Errorf("%s: asked %q, want %q", what, asked, want)
		}
	}
	look("new", "GET", "POST")
	look("known", "POST")
	s.Fail("/catalog.git", gittest.Without("Git-Protocol"))
	look("now an old one", "POST", "GET")
	look("known to be old", "GET")
	s.Heal()
	look("now a new one", "GET", "POST")
	look("known again", "POST")

	s.Fail("/git-upload-pack", gittest.Refuse(http.StatusServiceUnavailable))
	if _, err := r.Refs(t.Context(), "main"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a server that is down: got error %v", err)
	}
	s.Heal()
	look("up again", "GET", "POST")

	// What cannot be used is found out also where it comes later.
	if err := os.RemoveAll(s.Dir("catalog.git")); err != nil {
		t.Fatal(err)
	}
	gittest.Git(t, t.TempDir(), "init", "--quiet", "--bare", "--object-format=sha256", s.Dir("catalog.git"))
	for range 2 {
		if _, err := r.Refs(t.Context(), "main"); err == nil || !strings.Contains(err.Error(), "names its objects with sha256") {
			t.Errorf("a repository with other names of objects: got error %v", err)
		}
	}
}

// What a server answers in version 2 is read to its end or is an error, and an answer without one is not kept.
func TestWrongAnswersInVersion2(t *testing.T) {
	const hash = "0123456789012345678901234567890123456789"
	line := func(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }
	greeting := line("version 2\n") + line("agent=x\n") + line("ls-refs=unborn\n") + line("fetch=shallow\n")
	endless := strings.Repeat(line(hash+" refs/heads/"+strings.Repeat("x", 60000)+"\n"), maxAdvertisement/60000+1) + "0000"
	for name, c := range map[string]struct {
		greeting, answer string
		kind             error
		says             string // nothing where it is no error
	}{
		"as it should be":   {greeting + "0000", line(hash+" refs/heads/main\n") + line(hash+" refs/heads/new symref-target:x\n") + "0000", nil, ""},
		"service is named":  {line("# service=git-upload-pack\n") + "0000" + greeting + "0000", line(hash+" refs/heads/main\n") + "0000", nil, ""},
		"cut":               {greeting + "0000", line(hash + " refs/heads/main\n"), ErrUnavailable, "ends too early"},
		"cut in a line":     {greeting + "0000", line(hash + " refs/heads/main\n")[:30], ErrUnavailable, "ends too early"},
		"nothing":           {greeting + "0000", "", ErrUnavailable, "ends too early"},
		"no such length":    {greeting + "0000", "zzzz", ErrUnavailable, "ends too early"},
		"no hash":           {greeting + "0000", line("unborn HEAD symref-target:refs/heads/main\n") + "0000", ErrUnavailable, "is none"},
		"no name":           {greeting + "0000", line(hash+"\n") + "0000", ErrUnavailable, "is none"},
		"an error":          {greeting + "0000", line("ERR access denied \x1b[31mto you\n"), ErrAuth, "access denied [31mto you"},
		"endless":           {greeting + "0000", endless, ErrUnavailable, "ends too early"},
		"greeting is cut":   {greeting, "", ErrUnavailable, "ends too early"},
		"greeting is empty": {"", "", ErrUnavailable, "ends too early"},
		"no ls-refs":        {line("version 2\n") + line("fetch=shallow\n") + "0000", "", ErrUnavailable, `does not support "ls-refs"`},
		"another version":   {line("version 3\n") + "0000", "", ErrUnavailable, "reading its refs"},
		"other hashes":      {greeting + line("object-format=sha256\n") + "0000", "", nil, "sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				kind, text := "advertisement", c.greeting
				if r.Method == http.MethodPost {
					kind, text = "result", c.answer
				}
				w.Header().Set("Content-Type", "application/x-git-upload-pack-"+kind)
				_, _ = io.WriteString(w, text)
			}))
			defer s.Close()
			r := openAt(t, Options{URL: s.URL + "/x.git"})
			for range 2 {
				refs, err := r.Refs(t.Context(), "main")
				switch {
				case c.says == "":
					if err != nil || len(refs) != 1 || refs.Branch("main").String() != hash {
						t.Errorf("the refs are %v, %v", refs, err)
					}
				case err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says):
					t.Errorf("got error %v, want one that is %v and says %q", err, c.kind, c.says)
				}
			}
		})
	}
}
