package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// storeOf is a store with images of these names, each released as 1.0.0.
func storeOf(names ...string) *Store {
	s := &Store{Version: "v1", Spec: func(Image) (*schema.Image, error) { return nil, nil }}
	slices.Sort(names)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for n, name := range names {
		version := release.Version{Major: 1}
		reference := "docker.io/acme/" + name + ":1@sha256:abc"
		i := Image{Name: name, Card: Card{Title: "The " + name, Summary: "An image for " + name, Category: []string{"build", "test"}[n%2], Labels: []string{"linux"}}}
		i.Status.Conditions = release.Conditions(nil, release.Released, at)
		i.Status.Listed = true
		i.Status.Channels = []release.Channel{{Name: "latest", Version: version, Reference: reference, Released: at}}
		s.Images = append(s.Images, i)
	}
	s.Catalog.Conditions = release.Conditions(nil, release.Ready, at)
	s.Records = func(name string) ([]schema.Record, error) {
		return []schema.Record{{Name: name, Version: release.Version{Major: 1}, Digest: "sha256:abc", ReleasedAt: at, Mode: schema.Modes{Asked: release.Fix, Applied: release.Fix}, Upgrade: release.Upgrade{Mode: release.Fix}}}, nil
	}
	return s
}

func serve(s *Store, path string, headers ...string) *httptest.ResponseRecorder {
	handler := Handler(Options{Ready: func() bool { return true }, Store: func() *Store { return s }})
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func TestPagesAndAPIAnswer(t *testing.T) {
	s := storeOf("go", "node", "rust")
	for path, want := range map[string]struct {
		status int
		kind   string
		text   string
	}{
		"/":                           {200, "text/html; charset=utf-8", `<a href="/images/node">node</a>`},
		"/?q=rust":                    {200, "text/html; charset=utf-8", "1 found"},
		"/?q=nothing":                 {200, "text/html; charset=utf-8", "No image matches"},
		"/?page=nonsense":             {200, "text/html; charset=utf-8", "3 found"},
		"/images/go":                  {200, "text/html; charset=utf-8", "docker pull docker.io/acme/go:1@sha256:abc"},
		"/images/zig":                 {404, "text/html; charset=utf-8", "no image of this name"},
		"/nowhere":                    {404, "text/html; charset=utf-8", "nothing at this address"},
		"/static/style.css":           {200, "text/css; charset=utf-8", "prefers-color-scheme"},
		"/api/v1/images":              {200, "application/json", `"total": 3`},
		"/api/v1/images?per_page=501": {400, "application/problem+json", "at most 500"},
		"/api/v1/images?page=0":       {400, "application/problem+json", "want a number from 1"},
		"/api/v1/images/go":           {200, "application/json", `"digest": "sha256:abc"`},
		"/api/v1/images/zig":          {404, "application/problem+json", "no such image"},
		"/api/v1/images/go/versions":  {200, "application/json", `"releaseTimestamp": "2026-03-01T12:00:00Z"`},
		"/api/v1/resolve/go/latest":   {200, "application/json", `"version": "1.0.0"`},
		"/api/v1/resolve/go/1.0.0":    {200, "application/json", `"channel": "1.0.0"`},
		"/api/v1/resolve/go/2.latest": {404, "application/problem+json", `go has no channel \"2.latest\"; it has latest`},
		"/api/v1/resolve/go/1.0.7":    {404, "application/problem+json", "was never released"},
		"/api/v1/nowhere":             {404, "application/problem+json", "there is no GET /api/v1/nowhere"},
	} {
		w := serve(s, path)
		if w.Code != want.status || w.Header().Get("Content-Type") != want.kind || !strings.Contains(w.Body.String(), want.text) {
			t.Errorf("%s: %d %s without %q:\n%s", path, w.Code, w.Header().Get("Content-Type"), want.text, w.Body)
		}
		if strings.HasPrefix(want.kind, "text/html") && !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s has no policy", path)
		}
	}
}

// Before the first pass, and where something cannot be read, that is said, and when to come back.
func TestWhatIsNotThereYet(t *testing.T) {
	unreadable := storeOf("go")
	unreadable.Records = func(string) ([]schema.Record, error) { return nil, errors.New("the branch has moved") }
	for _, s := range []*Store{nil, unreadable} {
		for _, path := range []string{"/images/go", "/api/v1/images/go", "/api/v1/images/go/versions", "/api/v1/resolve/go/1.0.0"} {
			if w := serve(s, path); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "moved") {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	}
}

// Who has seen a version of the store is not sent it again.
func TestConditionalRequests(t *testing.T) {
	s := storeOf("go")
	for _, path := range []string{"/", "/images/go", "/api/v1/images", "/api/v1/resolve/go/latest"} {
		tag := serve(s, path).Header().Get("ETag")
		if w := serve(s, path, "If-None-Match", `"other", `+tag); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s: %d with %d bytes", path, w.Code, w.Body.Len())
		}
		newer := storeOf("go")
		newer.Version = "v2"
		if w := serve(newer, path, "If-None-Match", tag); w.Code != http.StatusOK {
			t.Errorf("%s: %d for a newer store", path, w.Code)
		}
	}
}

// Whatever a spec holds, it is text.
func TestHostileTextIsInert(t *testing.T) {
	evil := `"><script>alert(1)</script><img src=x onerror=alert(1)>[x](javascript:alert(1)) ![y](https://evil.example/p.png) <a href="javascript:alert(1)">z</a>`
	s := storeOf("go")
	i := &s.Images[0]
	i.Card = Card{Title: evil, Summary: evil, Category: evil, Labels: []string{evil}}
	i.Status.Problems = []string{evil}
	i.Status.Requests = []release.Request{{Reason: release.UpgradeContradicted, Verdict: &release.Verdict{Findings: []string{evil}, Accept: []string{evil}}}}
	i.Status.Spec = &release.Spec{Withdrawn: []release.Withdrawal{{Version: release.Version{Major: 1}, Reason: evil}}}
	s.Spec = func(Image) (*schema.Image, error) {
		return &schema.Image{Description: evil, Publisher: evil, Dockerfile: schema.Dockerfile{Inline: evil}}, nil
	}
	s.Records = func(string) ([]schema.Record, error) {
		return []schema.Record{{Version: release.Version{Major: 1}, Upgrade: release.Upgrade{Notes: evil}, ApprovedBy: schema.Approval{Committer: evil}}}, nil
	}
	for _, path := range []string{"/", "/images/go", "/?q=" + strings.ReplaceAll("<script>", "<", "%3C")} {
		text := serve(s, path).Body.String()
		for _, bad := range []string{"<script>", "<img", `href="javascript:`, "<a href=\"javascript"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s holds %s:\n%s", path, bad, text)
			}
		}
	}
}

// The way of a request shows where it stands still.
func TestSteps(t *testing.T) {
	for _, reason := range append(release.Refusals(), "") {
		var done, stuck int
		for _, s := range steps(release.Request{Reason: reason}) {
			switch s.Class {
			case "done":
				done++
			case "stuck":
				stuck++
			}
		}
		if want := map[bool]int{true: 0, false: 1}[reason == ""]; stuck != want || done > 3 {
			t.Errorf("%s: %d steps done, %d stuck", reason, done, stuck)
		}
	}
}

// A large catalog is shown in parts, which together are all of it.
func TestParts(t *testing.T) {
	var names []string
	for i := range 1234 {
		names = append(names, fmt.Sprintf("image-%04d", i))
	}
	s := storeOf(names...)
	var got []string
	for page := 1; ; page++ {
		var p Page
		if err := json.Unmarshal(serve(s, fmt.Sprintf("/api/v1/images?per_page=500&page=%d", page)).Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		for _, row := range p.Images {
			got = append(got, row.Name)
		}
		if page >= p.Pages {
			break
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("%d images in parts, want %d", len(got), len(names))
	}
	text := serve(s, "/?q=image&page=2").Body.String()
	if !strings.Contains(text, `href="/?page=3&amp;q=image" rel="next"`) || !strings.Contains(text, `href="/?page=1&amp;q=image" rel="prev"`) {
		t.Error("the second part does not lead to the first and the third")
	}
}

func BenchmarkList(b *testing.B) {
	var names []string
	for i := range 10_000 {
		names = append(names, fmt.Sprintf("image-%05d", i))
	}
	s := storeOf(names...)
	for name, path := range map[string]string{"first part": "/", "search": "/?q=image-09", "resolve": "/api/v1/resolve/image-05000/latest"} {
		b.Run(name, func(b *testing.B) {
			handler := Handler(Options{Ready: func() bool { return true }, Store: func() *Store { return s }})
			for b.Loop() {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
