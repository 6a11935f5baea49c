package review_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidewaiter/reconcile/review"
)

const marker = "<!-- tidewaiter -->\n"

// stage is one forge and a client of it.
type stage struct {
	*world
	review.Forge
	kind    string
	server  *httptest.Server
	options review.ForgeOptions
}

func setUp(t *testing.T, kind string) *stage {
	t.Helper()
	w, server := serve(t, kind)
	repository := server.URL + "/acme/catalog.git"
	if kind == "gitlab" {
		repository = server.URL + "/acme/images/catalog"
	}
	s := &stage{world: w, kind: kind, server: server, options: review.ForgeOptions{
		Kind: kind, API: server.URL, Repository: repository, Branch: "main", TokenFile: write(t, w.token+"\n"),
	}}
	s.restart(t)
	return s
}

func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// restart forgets what the client remembers.
func (s *stage) restart(t *testing.T) {
	t.Helper()
	forge, err := review.NewForge(s.options)
	if err != nil {
		t.Fatal(err)
	}
	s.Forge = forge
}

func (s *stage) post(t *testing.T, body string) {
	t.Helper()
	if err := s.Comment(t.Context(), 7, body); err != nil {
		t.Fatal(err)
	}
}

func (s *stage) set(t *testing.T, status review.Status) {
	t.Helper()
	if err := s.Status(t.Context(), head, status); err != nil {
		t.Fatal(err)
	}
}

func (s *stage) wantComments(t *testing.T, want ...comment) {
	t.Helper()
	if !slices.Equal(s.comments, want) {
		t.Errorf("the pull request has the comments\n%+v, want\n%+v", s.comments, want)
	}
}

func (s *stage) wantWrites(t *testing.T, want int, why string) {
	t.Helper()
	if _, writes := s.take(); len(writes) != want {
		t.Errorf("%s: it writes %q, want %d requests that write", why, writes, want)
	}
}

// word is what a forge calls a failure.
func (s *stage) failed() string {
	if s.kind == "gitlab" {
		return "failed"
	}
	return "failure"
}

// stories are told of every forge.
var stories = map[string]func(*testing.T, *stage){
	"a status is set once, and again when it changes": func(t *testing.T, s *stage) {
		good := review.Status{State: review.Success, Summary: "go-builder becomes 1.5.0", Link: "https://tidewaiter.acme.dev/reviews/7"}
		s.set(t, good)
		if all, writes := s.take(); len(all) != 2 || len(writes) != 1 {
			t.Errorf("a first status asks %q, want one look and one write", all)
		}
		s.set(t, good)
		if all, _ := s.take(); len(all) != 0 {
			t.Errorf("a status that did not change asks %q", all)
		}
		s.set(t, review.Status{State: review.Failure, Summary: "the image\ncannot be pulled"})
		want := []status{
			{head, "tidewaiter", "success", good.Summary, good.Link, "waiter"},
			{head, "tidewaiter", s.failed(), "the image cannot be pulled", "", "waiter"},
		}
		if !slices.Equal(s.statuses, want) {
			t.Errorf("the head has the statuses %+v, want %+v", s.statuses, want)
		}
		if err := s.Status(t.Context(), head, review.Status{State: "fine"}); err == nil {
			t.Error("it sets a state that there is not")
		}
		if err := s.Status(t.Context(), "../../x", good); err == nil {
			t.Error("it sets the status of what is no commit")
		}
	},
	"a status that is there after a restart is not set again": func(t *testing.T, s *stage) {
		good := review.Status{State: review.Success, Summary: "go-builder becomes 1.5.0"}
		s.set(t, good)
		s.restart(t)
		s.take()
		s.set(t, good)
		s.wantWrites(t, 0, "after a restart")
		s.set(t, review.Status{State: review.Error, Summary: "the registry does not answer"})
		s.wantWrites(t, 1, "after a change")
		s.restart(t)
		s.set(t, review.Status{State: review.Error, Summary: "the registry does not answer"})
		s.wantWrites(t, 0, "after another restart")
	},
	"the status of another by our name is not believed": func(t *testing.T, s *stage) {
		s.statuses = []status{{head, "tidewaiter", "success", "fine", "", "mallory"}, {head, "ci", "success", "fine", "", "waiter"}}
		s.set(t, review.Status{State: review.Success, Summary: "fine"})
		if last := s.statuses[len(s.statuses)-1]; last.by != "waiter" || last.name != "tidewaiter" || len(s.statuses) != 3 {
			t.Errorf("the head has the statuses %+v", s.statuses)
		}
	},
	"a pending status keeps its text": func(t *testing.T, s *stage) {
		s.set(t, review.Status{State: review.Pending, Summary: "looking at 2 images"})
		s.set(t, review.Status{State: review.Pending, Summary: "looking at 1 image"}) // GitLab would refuse it
		s.restart(t)
		s.set(t, review.Status{State: review.Pending, Summary: "looking at 1 image"})
		s.set(t, review.Status{State: review.Success, Summary: "fine"})
		if last := s.statuses[len(s.statuses)-1]; last.state != "success" {
			t.Errorf("the head has the statuses %+v", s.statuses)
		}
		s.wantWrites(t, 2, "pending and success")
	},
	"a long summary is cut": func(t *testing.T, s *stage) {
		s.set(t, review.Status{State: review.Success, Summary: strings.Repeat("ö", 200)})
		if got := s.statuses[0].summary; got != strings.Repeat("ö", 139)+"…" {
			t.Errorf("the summary is %q", got)
		}
	},
	"a comment is made once, and edited when it changes": func(t *testing.T, s *stage) {
		s.comments = []comment{{100, "Looks good to me", "alice"}}
		s.post(t, "becomes 1.5.0\n")
		s.wantWrites(t, 1, "a first comment")
		s.post(t, "becomes 1.5.0\n")
		if all, _ := s.take(); len(all) != 0 {
			t.Errorf("a comment that did not change asks %q", all)
		}
		s.post(t, "becomes 2.0.0\n")
		if all, writes := s.take(); len(all) != 1 || len(writes) != 1 {
			t.Errorf("an edit asks %q, want one request", all)
		}
		s.wantComments(t, comment{100, "Looks good to me", "alice"}, comment{101, marker + "becomes 2.0.0\n", "waiter"})
	},
	"a comment is found again after a restart": func(t *testing.T, s *stage) {
		s.post(t, "becomes 1.5.0\n")
		s.comments[0].body = strings.ReplaceAll(strings.TrimSpace(s.comments[0].body), "\n", "\r\n") // as forges may keep it
		s.take()
		s.restart(t)
		s.post(t, "becomes 1.5.0\n")
		s.wantWrites(t, 0, "after a restart")
		s.restart(t)
		s.post(t, "becomes 2.0.0\n")
		s.wantComments(t, comment{100, marker + "becomes 2.0.0\n", "waiter"})
	},
	"a comment is found behind many others": func(t *testing.T, s *stage) {
		for range 250 {
			s.addComment("alice", "me too")
		}
		s.addComment("waiter", marker+"becomes 1.5.0\n")
		s.post(t, "becomes 2.0.0\n")
		if len(s.comments) != 251 || s.comments[250].body != marker+"becomes 2.0.0\n" {
			t.Errorf("there are %d comments, the last is %q", len(s.comments), s.comments[len(s.comments)-1].body)
		}
	},
	"a flood of comments makes no second one": func(t *testing.T, s *stage) {
		for range 1001 {
			s.addComment("mallory", marker+"me too")
		}
		err := s.Comment(t.Context(), 7, "becomes 1.5.0\n")
		if s.kind == "gitea" { // which shows them all at once
			if err != nil {
				t.Error(err)
			}
			s.wantWrites(t, 1, "knowing that there was none")
			return
		}
		if !errors.Is(err, review.ErrForgeRefused) || !strings.Contains(err.Error(), "more than 10 pages") {
			t.Errorf("got error %v", err)
		}
		s.wantWrites(t, 0, "not knowing whether there was one")
	},
	"a stranger's comment with our marker is left alone": func(t *testing.T, s *stage) {
		s.comments = []comment{{100, marker + "everything is fine, merge it", "mallory"}}
		s.post(t, "the image cannot be pulled\n")
		s.restart(t)
		s.post(t, "the image cannot be pulled now\n")
		s.wantComments(t,
			comment{100, marker + "everything is fine, merge it", "mallory"},
			comment{101, marker + "the image cannot be pulled now\n", "waiter"})
	},
	"nobody's comment is not ours where the forge does not say who we are": func(t *testing.T, s *stage) {
		s.comments = []comment{{100, marker + "boo", ""}} // of an account that is gone
		s.self = ""
		if err := s.Comment(t.Context(), 7, "one"); !errors.Is(err, review.ErrForgeUnavailable) || !strings.Contains(err.Error(), "whose token") {
			t.Errorf("got error %v", err)
		}
		s.wantComments(t, comment{100, marker + "boo", ""})
	},
	"what our account wrote itself is left alone": func(t *testing.T, s *stage) {
		s.comments = []comment{{100, "I quote: " + marker, "waiter"}}
		s.post(t, "becomes 1.5.0\n")
		s.wantComments(t, comment{100, "I quote: " + marker, "waiter"}, comment{101, marker + "becomes 1.5.0\n", "waiter"})
	},
	"of two comments of ours the oldest is kept up": func(t *testing.T, s *stage) {
		s.comments = []comment{{102, marker + "two", "waiter"}, {101, marker + "one", "waiter"}}
		s.post(t, "three")
		s.wantComments(t, comment{102, marker + "two", "waiter"}, comment{101, marker + "three", "waiter"})
	},
	"a comment that somebody deleted is made again when it changes": func(t *testing.T, s *stage) {
		s.post(t, "one")
		s.comments = nil
		s.post(t, "two")
		s.wantComments(t, comment{100, marker + "two", "waiter"})
	},
	"the comment of another account, whose token we had, is left to it": func(t *testing.T, s *stage) {
		s.post(t, "one")
		s.self = "successor"
		s.fault = func(w http.ResponseWriter, r *http.Request) bool {
			theirs := (r.Method == http.MethodPatch || r.Method == http.MethodPut) && strings.HasSuffix(r.URL.Path, "/100")
			if theirs {
				fail(w, 403, "Forbidden")
			}
			return theirs
		}
		if err := s.Comment(t.Context(), 7, "two"); !errors.Is(err, review.ErrForgeDenied) {
			t.Errorf("got error %v", err)
		}
		s.post(t, "two")
		s.post(t, "three")
		s.wantComments(t, comment{100, marker + "one", "waiter"}, comment{101, marker + "three", "successor"})
	},
	"an answer that is lost makes no second comment": func(t *testing.T, s *stage) {
		s.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				s.addComment("waiter", read(r)["body"])
				fail(w, 502, "Bad Gateway")
				return true
			}
			return false
		}
		if err := s.Comment(t.Context(), 7, "one"); !errors.Is(err, review.ErrForgeUnavailable) {
			t.Errorf("got error %v", err)
		}
		s.change(func() { s.fault = nil })
		s.post(t, "one")
		s.wantComments(t, comment{100, marker + "one", "waiter"})
	},
	"a long comment is cut and says so": func(t *testing.T, s *stage) {
		s.post(t, strings.Repeat("ü", 50_000))
		if got := s.comments[0].body; len(got) > 60_000 || len(got) < 59_990 || !strings.Contains(got, "ü\n\n*This comment was cut") {
			t.Errorf("one line becomes %d bytes that end in %q", len(got), got[len(got)-200:])
		}
		s.post(t, strings.Repeat("0123456789 ünicode\n", 5000))
		got := s.comments[0].body
		if len(got) > 60_000 || len(got) < 59_000 || !strings.Contains(got[len(got)-120:], "was cut") || strings.ContainsRune(got, '\uFFFD') {
			t.Errorf("the comment has %d bytes and ends in %q", len(got), got[len(got)-200:])
		}
		s.take()
		s.restart(t)
		s.post(t, strings.Repeat("0123456789 ünicode\n", 5000))
		s.wantWrites(t, 0, "after a restart")
	},
	"a body gives no commands": func(t *testing.T, s *stage) {
		s.post(t, "/close\nnotes:\n/merge\n\r/approve\n\r\n\r/shrug why\r\n")
		s.post(t, "notes:\n/merge\n")
		if len(s.obeyed) > 0 {
			t.Errorf("GitLab would obey %q", s.obeyed)
		}
		s.wantComments(t, comment{100, marker + "notes:\n /merge\n", "waiter"})
	},
	"a merge is approved by who merged it": func(t *testing.T, s *stage) {
		merge, rebased, direct, other := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40), strings.Repeat("d", 40)
		ambiguous, nobody := strings.Repeat("e", 40), strings.Repeat("f", 40)
		s.pulls = []pull{
			{number: 3, base: "main", by: "bob", mergedBy: "alice", merge: merge, listed: []string{rebased, ambiguous}},
			{number: 4, base: "dev", by: "mallory", mergedBy: "mallory", merge: other, listed: []string{rebased}},
			{number: 5, base: "main", by: "mallory", listed: []string{merge, direct}}, // open
			{number: 6, base: "main", by: "bob", mergedBy: "carol", merge: strings.Repeat("9", 40), listed: []string{merge, ambiguous}},
			{number: 8, base: "main", by: "bob", merge: nobody},
		}
		link := map[string]string{"github": "/acme/catalog/pull/3", "gitlab": "/acme/images/catalog/-/merge_requests/3", "gitea": "/acme/catalog/pulls/3"}[s.kind]
		alice := review.Approval{Number: 3, Link: "https://" + s.kind + ".acme.dev" + link, Merger: "alice", Author: "bob"}
		ofRebase := alice
		if s.kind == "gitea" { // which knows of the last commit only
			ofRebase = review.Approval{}
		}
		for commit, want := range map[string]review.Approval{merge: alice, rebased: ofRebase, direct: {}, other: {}, ambiguous: {}, nobody: {}} {
			got, ok, err := s.Approval(t.Context(), commit)
			if err != nil || got != want || ok != (want.Number != 0) {
				t.Errorf("%.4s… is approved by %+v, %t, %v; want %+v", commit, got, ok, err, want)
			}
		}
		if _, _, err := s.Approval(t.Context(), "main"); err == nil {
			t.Error("a branch is asked for as a commit")
		}
	},
	"what is open is listed, newest first": func(t *testing.T, s *stage) {
		for n := 1; n <= 130; n++ {
			p := pull{number: n, base: "main"}
			switch n {
			case 128:
				p.base = "dev"
			case 129:
				p.merge = head
			}
			s.pulls = append(s.pulls, p)
		}
		for most, want := range map[int]string{0: "[]", 3: "[130 127 126]"} {
			got, err := s.Open(t.Context(), "main", most)
			if err != nil || fmt.Sprint(got) != want {
				t.Errorf("at most %d: %v, %v; want %s", most, got, err, want)
			}
		}
		got, err := s.Open(t.Context(), "main", 1000)
		if err != nil || len(got) != 128 || got[127] != 1 {
			t.Errorf("got %d of 128, %v", len(got), err)
		}
	},
	"errors have a kind and say what to do": func(t *testing.T, s *stage) {
		for code, want := range map[int]error{
			401: review.ErrForgeDenied, 403: review.ErrForgeDenied, 404: review.ErrForgeNotFound, 410: review.ErrForgeNotFound,
			422: review.ErrForgeRefused, 500: review.ErrForgeUnavailable, 503: review.ErrForgeUnavailable,
		} {
			s.change(func() {
				s.fault = func(w http.ResponseWriter, _ *http.Request) bool {
					fail(w, code, "because\nof this")
					return true
				}
			})
			for _, err := range s.everything(t.Context()) {
				if want == review.ErrForgeNotFound && err == nil && s.kind == "gitea" {
					continue // an approval that there is not
				}
				if !errors.Is(err, want) || !strings.Contains(err.Error(), fmt.Sprintf("status %d; it says: because of this", code)) {
					t.Errorf("%d: got error %v", code, err)
				}
			}
			if all, _ := s.take(); len(all) != 4 {
				t.Errorf("%d: it asks %q, want each once", code, all)
			}
		}
		s.change(func() {
			s.fault = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Write([]byte(`{"created_at": "` + s.token + `", "id": ["`))
				return true
			}
		})
		for _, err := range s.everything(t.Context()) {
			if !errors.Is(err, review.ErrForgeUnavailable) {
				t.Errorf("what is no JSON: got error %v", err)
			}
		}
		s.restart(t)
		s.server.Close()
		for _, err := range s.everything(t.Context()) {
			if !errors.Is(err, review.ErrForgeUnavailable) || !strings.Contains(err.Error(), "refused") {
				t.Errorf("a closed server: got error %v", err)
			}
		}
		if got, _ := s.counted(t); got != "map[approval error:1 comment error:1 open error:1 status error:1]" {
			t.Errorf("a closed server: it counts %s, want each once", got)
		}
	},
	"a forge that answers nothing in many ways is survived": func(t *testing.T, s *stage) {
		for _, text := range []string{"null", "[null]", "{}", "[{}]", "[]", "", "0"} {
			s.restart(t)
			s.change(func() {
				s.fault = func(w http.ResponseWriter, _ *http.Request) bool {
					w.Write([]byte(text))
					return true
				}
			})
			s.everything(t.Context())
			if a, ok, _ := s.Approval(t.Context(), head); ok {
				t.Errorf("%q approves %+v", text, a)
			}
		}
	},
	"a server that hangs is left when the context ends": func(t *testing.T, s *stage) {
		s.fault = func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for _, err := range s.everything(ctx) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got error %v", err)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	},
	"a limit is kept without asking": func(t *testing.T, s *stage) {
		for name, c := range map[string]struct {
			code   int
			header map[string]string
			says   string
			wait   time.Duration
		}{
			"429 with a date":      {429, map[string]string{"Retry-After": time.Now().Add(20 * time.Minute).UTC().Format(http.TimeFormat)}, "", 20 * time.Minute},
			"429 with seconds":     {429, map[string]string{"Retry-After": "90"}, "", 90 * time.Second},
			"429":                  {429, nil, "", time.Minute},
			"503 with seconds":     {503, map[string]string{"Retry-After": "90"}, "", 90 * time.Second},
			"GitHub's quota":       {403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": in(30 * time.Minute)}, "API rate limit exceeded", 30 * time.Minute},
			"GitHub's other limit": {403, nil, "You have exceeded a secondary rate limit", time.Minute},
			"GitLab's":             {429, map[string]string{"RateLimit-Remaining": "0", "RateLimit-Reset": in(10 * time.Minute)}, "", 10 * time.Minute},
			"for ever":             {429, map[string]string{"Retry-After": "999999"}, "", time.Hour},
		} {
			s.restart(t)
			s.take()
			s.change(func() {
				s.fault = func(w http.ResponseWriter, _ *http.Request) bool {
					for k, v := range c.header {
						w.Header().Set(k, v)
					}
					fail(w, c.code, c.says)
					return true
				}
			})
			for _, err := range s.everything(t.Context()) {
				var limited *review.Limited
				if !errors.As(err, &limited) || time.Until(limited.Until) > c.wait || time.Until(limited.Until) < c.wait-5*time.Second {
					t.Errorf("%s: got error %v, want one until in %s", name, err, c.wait)
				}
			}
			if all, _ := s.take(); len(all) != 1 {
				t.Errorf("%s: it asks %q, want one request", name, all)
			}
		}
	},
	"a quota that is used up is heeded before it is refused": func(t *testing.T, s *stage) {
		s.fault = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", in(time.Minute))
			return false
		}
		if _, err := s.Open(t.Context(), "main", 10); err != nil {
			t.Fatal(err)
		}
		var limited *review.Limited
		if _, err := s.Open(t.Context(), "main", 10); !errors.As(err, &limited) {
			t.Errorf("got error %v", err)
		}
	},
	"a redirect takes the token nowhere": func(t *testing.T, s *stage) {
		elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			t.Errorf("another host is asked %s with %q", r.URL, r.Header)
		}))
		defer elsewhere.Close()
		for _, code := range []int{301, 302, 303, 307, 308} {
			s.change(func() {
				s.fault = func(w http.ResponseWriter, r *http.Request) bool {
					http.Redirect(w, r, elsewhere.URL+r.URL.RequestURI(), code)
					return true
				}
			})
			for _, err := range s.everything(t.Context()) {
				if !errors.Is(err, review.ErrForgeUnavailable) || !strings.Contains(err.Error(), "redirects away from its API") {
					t.Errorf("%d: got error %v", code, err)
				}
			}
		}
	},
	"a repository may move on its host, but a write is not made a read": func(t *testing.T, s *stage) {
		s.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet && r.URL.Query().Get("moved") == "" {
				to := *r.URL
				to.RawQuery += "&moved=1"
				http.Redirect(w, r, to.String(), http.StatusMovedPermanently)
				return true
			}
			return false
		}
		s.pulls = []pull{{number: 3, base: "main"}}
		if got, err := s.Open(t.Context(), "main", 10); err != nil || len(got) != 1 {
			t.Errorf("got %v, %v", got, err)
		}
		s.change(func() {
			s.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost {
					http.Redirect(w, r, r.URL.RequestURI(), http.StatusMovedPermanently)
				}
				return r.Method == http.MethodPost
			}
		})
		if err := s.Comment(t.Context(), 7, "one"); err == nil || !strings.Contains(err.Error(), "redirects a POST") {
			t.Errorf("got error %v", err)
		}
	},
	"the token is in no error": func(t *testing.T, s *stage) {
		echo := map[string]func(w http.ResponseWriter, r *http.Request){
			"in the message": func(w http.ResponseWriter, r *http.Request) { fail(w, 400, r.Header.Get("Authorization")) },
			"in the text": func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(500)
				fmt.Fprint(w, r.Header.Get("Authorization"))
			},
			"in a date": func(w http.ResponseWriter, r *http.Request) {
				answer(w, 200, []object{{"created_at": r.Header.Get("Authorization")}})
			},
			"in a redirect": func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/"+r.Header.Get("Authorization")+"?"+s.token, http.StatusFound)
			},
			"in a host": func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://"+s.token+".acme.dev/", http.StatusFound)
			},
			"in what is not HTTP": func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprintf(conn, "%s\r\n\r\n", r.Header.Get("Authorization"))
				conn.Close()
			},
		}
		for name, answer := range echo {
			s.change(func() {
				s.fault = func(w http.ResponseWriter, r *http.Request) bool {
					answer(w, r)
					return true
				}
			})
			for _, err := range s.everything(t.Context()) {
				if err == nil || strings.Contains(err.Error(), s.token) {
					t.Errorf("%s: got error %v", name, err)
				}
			}
		}
	},
	"an answer has a bound": func(t *testing.T, s *stage) {
		s.fault = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Write([]byte(`[{"title": "`))
			for range 64 { // more than the bound and what lies in buffers on the way
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return true
				}
			}
			t.Error("it read 64 MiB")
			return true
		}
		if _, err := s.Open(t.Context(), "main", 10); !errors.Is(err, review.ErrForgeUnavailable) {
			t.Errorf("got error %v", err)
		}
	},
	"a rotated token needs no restart": func(t *testing.T, s *stage) {
		s.post(t, "one")
		s.change(func() { s.token = "an0ther" })
		if err := s.Comment(t.Context(), 7, "two"); !errors.Is(err, review.ErrForgeDenied) {
			t.Errorf("got error %v", err)
		}
		for content, says := range map[string]string{"": "does not hold one token", "two\ntokens": "does not hold one token"} {
			if err := os.WriteFile(s.options.TokenFile, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Comment(t.Context(), 7, "two"); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("got error %v", err)
			}
		}
		if err := os.WriteFile(s.options.TokenFile, []byte("an0ther\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.post(t, "two")
		s.wantComments(t, comment{100, marker + "two", "waiter"})
		if err := os.Remove(s.options.TokenFile); err != nil {
			t.Fatal(err)
		}
		if err := s.Comment(t.Context(), 7, "three"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got error %v", err)
		}
	},
	"requests and the quota are counted": func(t *testing.T, s *stage) {
		s.fault = func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X-RateLimit-Remaining", "4999")
			if r.Method == http.MethodPost {
				fail(w, 403, "no")
			}
			return r.Method == http.MethodPost
		}
		_ = s.Comment(t.Context(), 7, "one")
		registry := prometheus.NewRegistry()
		registry.MustRegister(s.Collectors()...)
		const want = `
# HELP tidewaiter_forge_quota_remaining Requests that the forge still allows, as it said last; not there where it says nothing.
# TYPE tidewaiter_forge_quota_remaining gauge
tidewaiter_forge_quota_remaining 4999
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "tidewaiter_forge_quota_remaining"); err != nil {
			t.Error(err)
		}
		if got, series := s.counted(t); got != "map[comment 2xx:1 comment 403:1]" || series != 5*9 {
			t.Errorf("%d series, counted %s", series, got)
		}
	},
}

// counted are the requests by operation and answer, and how many series there are.
func (s *stage) counted(t *testing.T) (counted string, series int) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != "tidewaiter_forge_requests_total" {
				continue
			}
			series++
			if v := m.GetCounter().GetValue(); v > 0 {
				by[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = v
			}
		}
	}
	return fmt.Sprint(by), series
}

// in is a time from now in seconds since 1970.
func in(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }

// everything calls each method once.
func (s *stage) everything(ctx context.Context) []error {
	_, _, approval := s.Approval(ctx, head)
	_, open := s.Open(ctx, "main", 10)
	return []error{
		s.Status(ctx, head, review.Status{State: review.Success}),
		s.Comment(ctx, 7, "one"),
		approval, open,
	}
}

func TestForges(t *testing.T) {
	for kind := range kinds {
		for name, story := range stories {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				story(t, setUp(t, kind))
			})
		}
	}
}

// A GitHub App signs with its key for a token of its installation, for this repository alone, and posts as its bot.
func TestGitHubApp(t *testing.T) {
	s := setUp(t, "github")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	installed, made := true, 0
	s.self = "acme-releases[bot]"
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		_, signed, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		var claims jwt.RegisteredClaims
		_, err := jwt.ParseWithClaims(signed, &claims, func(*jwt.Token) (any, error) { return &key.PublicKey, nil })
		isApp := err == nil && claims.Issuer == "4711"
		switch r.Method + " " + r.URL.Path {
		case "GET /user":
			fail(w, 403, "Resource not accessible by integration")
		case "GET /app":
			answer(w, 200, object{"id": 4711, "slug": "acme-releases"})
		case "GET /repos/acme/catalog/installation":
			if !installed {
				fail(w, 404, "Not Found")
				return true
			}
			answer(w, 200, object{"id": 99})
		case "POST /app/installations/99/access_tokens":
			made++
			body := make([]byte, 100)
			n, _ := r.Body.Read(body)
			if got := strings.TrimSpace(string(body[:n])); got != `{"repositories":["catalog"]}` {
				t.Errorf("it asks for a token of %s", got)
			}
			s.token = fmt.Sprint("ghs_", made)
			answer(w, 201, object{"token": s.token, "expires_at": time.Now().Add(time.Hour)})
		default:
			return false
		}
		if !isApp {
			t.Errorf("%s %s is not signed by the App: %v", r.Method, r.URL.Path, err)
		}
		return true
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	s.options.TokenFile, s.options.AppID, s.options.AppKeyFile = "", 4711, write(t, "not yet")
	s.restart(t)
	for _, err := range s.everything(t.Context()) {
		if err == nil || !strings.Contains(err.Error(), "holds no RSA private key") {
			t.Errorf("a key that is none: got error %v", err)
		}
	}
	if err := os.WriteFile(s.options.AppKeyFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	s.change(func() { installed = false })
	if err := s.Comment(t.Context(), 7, "one"); !errors.Is(err, review.ErrForgeNotFound) || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("got error %v", err)
	}
	s.change(func() { installed = true })
	s.comments = []comment{{100, marker + "mine", "acme-releases"}} // a person of the same name
	s.post(t, "one")
	for _, err := range s.everything(t.Context()) {
		if err != nil {
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("it made %d tokens, want one for an hour", made)
	}
	s.restart(t)
	s.post(t, "two")
	s.wantComments(t, comment{100, marker + "mine", "acme-releases"}, comment{101, marker + "two", "acme-releases[bot]"})
}

func TestCertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, []object{}) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the first client hangs up
	server.StartTLS()
	defer server.Close()
	o := review.ForgeOptions{Kind: "gitea", Repository: server.URL + "/acme/catalog", Branch: "main", TokenFile: write(t, "token")}
	forge, err := review.NewForge(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := forge.Open(t.Context(), "main", 10); !errors.Is(err, review.ErrForgeUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: got error %v", err)
	}
	o.CAFile = write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	if forge, err = review.NewForge(o); err != nil {
		t.Fatal(err)
	}
	if _, err := forge.Open(t.Context(), "main", 10); err != nil {
		t.Error(err)
	}
}

// What cannot work is said at the start, with what to do, and without the password of a URL.
func TestForgeOptions(t *testing.T) {
	tokenFile := write(t, "token")
	for name, c := range map[string]struct {
		options review.ForgeOptions
		says    string
	}{
		"github.com":              {review.ForgeOptions{Repository: "https://github.com/acme/catalog.git"}, ""},
		"github.com by ssh":       {review.ForgeOptions{Repository: "git@github.com:acme/catalog.git"}, ""},
		"github.com by ssh:443":   {review.ForgeOptions{Repository: "ssh://git@ssh.github.com:443/acme/catalog"}, ""},
		"gitlab.com":              {review.ForgeOptions{Repository: "https://gitlab.com/acme/images/catalog"}, ""},
		"codeberg.org":            {review.ForgeOptions{Repository: "ssh://git@codeberg.org/acme/catalog.git"}, ""},
		"below a path":            {review.ForgeOptions{Kind: "gitea", API: "https://git.acme.dev/forge", Repository: "https://git.acme.dev/forge/acme/catalog"}, ""},
		"an unknown host":         {review.ForgeOptions{Repository: "https://user:hunter2@git.acme.dev/acme/catalog"}, "git.acme.dev may be any forge; say whether it is github, gitlab or gitea"},
		"an unknown kind":         {review.ForgeOptions{Kind: "sourcehut", Repository: "https://git.acme.dev/acme/catalog"}, "want github, gitlab or gitea"},
		"a local path":            {review.ForgeOptions{Repository: "/srv/catalog.git"}, "a local repository has no forge"},
		"a file":                  {review.ForgeOptions{Repository: "file:///srv/catalog.git"}, "names no host"},
		"no owner":                {review.ForgeOptions{Repository: "https://github.com/catalog"}, "is not called owner/name"},
		"a group at GitHub":       {review.ForgeOptions{Repository: "https://github.com/acme/images/catalog"}, "is not called owner/name"},
		"dots":                    {review.ForgeOptions{Repository: "https://github.com/../catalog"}, "is not called owner/name"},
		"plain http":              {review.ForgeOptions{Kind: "gitea", Repository: "http://git.acme.dev/acme/catalog"}, "asked over https only"},
		"a password in the API":   {review.ForgeOptions{API: "https://user:hunter2@api.github.com", Repository: "https://github.com/acme/catalog"}, "without user, password"},
		"an API that is none":     {review.ForgeOptions{API: "api.github.com", Repository: "https://github.com/acme/catalog"}, "looks like https://host"},
		"no token":                {review.ForgeOptions{TokenFile: "-", Repository: "https://github.com/acme/catalog"}, "asks for a token"},
		"an App without a key":    {review.ForgeOptions{AppID: 1, Repository: "https://github.com/acme/catalog"}, "both its number and the file"},
		"an App and a token":      {review.ForgeOptions{AppID: 1, AppKeyFile: "k", Repository: "https://github.com/acme/catalog"}, "not both"},
		"an App at GitLab":        {review.ForgeOptions{TokenFile: "-", AppID: 1, AppKeyFile: "k", Repository: "https://gitlab.com/acme/catalog"}, "gitlab has no Apps"},
		"a CA file that is none":  {review.ForgeOptions{CAFile: tokenFile, Repository: "https://github.com/acme/catalog"}, "holds no PEM certificate"},
		"a URL that is not one":   {review.ForgeOptions{Repository: "https://user:hunter2@%zz/acme/catalog"}, "names no host"},
		"no branch":               {review.ForgeOptions{Branch: "-", Repository: "https://github.com/acme/catalog"}, "no branch given"},
		"GitHub with its own API": {review.ForgeOptions{Repository: "https://acme.ghe.com/acme/catalog"}, ""},
	} {
		o := c.options
		o.TokenFile = map[bool]string{true: tokenFile}[o.TokenFile == ""]
		o.Branch = map[bool]string{true: "main"}[o.Branch == ""]
		_, err := review.NewForge(o)
		if (c.says == "") != (err == nil) || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: got error %v, want %q", name, err, c.says)
		}
	}
}
