package web

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
	"tidewaiter/schema"
)

func version(major, minor, patch uint32) *release.Version {
	return &release.Version{Major: major, Minor: minor, Patch: patch}
}

// reviewed is pull request 12, which would release go 1.1.0 and may be tried in ci-sandbox, and 13, whose image is private, where
// nobody asked.
func reviewed() []review.Review {
	digest := release.Digest("sha256:" + strings.Repeat("c", 64))
	image := release.Image{Reference: release.Reference{Registry: "docker.io", Repository: "acme/go", Tag: "2"}}
	return []review.Review{
		{Number: 13, Head: strings.Repeat("d", 40), State: review.Success, Summary: "releases rust 1.0.0", Report: review.Report{
			Predictions: []review.Prediction{{Name: "rust", Path: "images/rust.yaml", Reason: release.Released, Version: version(1, 0, 0), PullUnknown: true}},
		}},
		{Number: 12, Head: strings.Repeat("c", 40), State: review.Success, Summary: "releases go 1.0.0 → 1.1.0", Report: review.Report{
			Problems: []schema.Problem{},
			Predictions: []review.Prediction{{
				Name: "go", Path: "images/go.yaml", Reason: release.Released, From: version(1, 0, 0), Version: version(1, 1, 0), Project: "ci-sandbox",
				ProjectLink: "https://ci.acme.dev/?image=go",
				Channels:    []review.Move{{Channel: "latest", From: version(1, 0, 0), To: version(1, 1, 0)}, {Channel: "1.latest", From: version(1, 0, 0), To: version(1, 1, 0)}},
				Candidate:   &review.Candidate{Image: image, Digest: digest, Version: *version(1, 1, 0)},
			}},
		}},
		{Number: 11, Head: strings.Repeat("b", 40), State: review.Success, Merged: true, Summary: "releases go 1.0.0",
			Released: []review.Released{{Name: "go", Version: *version(1, 0, 0), Digest: digest, Reviewed: release.Digest("sha256:" + strings.Repeat("b", 64))}}},
	}
}

func serveReviews(projects string) http.Handler {
	s := storeOf("go")
	return Handler(Options{
		Ready: func() bool { return true }, Store: func() *Store { return s }, Reviews: reviewed, Projects: projects,
	})
}

func ask(handler http.Handler, path, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// TestDebugProjects: whoever shows the token of the project that the spec names is told what a pull request would release, and nobody
// else is told anything of it.
func TestDebugProjects(t *testing.T) {
	dir := t.TempDir()
	for name, token := range map[string]string{"ci-sandbox": "sesame\n", "other": "barley\n", "empty": "\n"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "token"), []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "token"), []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path, token string
		want        int
		text        string
	}{
		"the candidate":         {"go/1.latest?project=ci-sandbox&review=12", "Bearer sesame", 200, "docker.io/acme/go:2@sha256:cccc"},
		"its version":           {"go/1.1.0?project=ci-sandbox&review=12", "Bearer sesame", 200, "docker.io/acme/go:2@sha256:cccc"},
		"a channel that stays":  {"go/2.latest?project=ci-sandbox&review=12", "Bearer sesame", 404, "does not move channel 2.latest"},
		"another image":         {"zig/latest?project=ci-sandbox&review=12", "Bearer sesame", 404, "does not change zig"},
		"one nobody asked for":  {"rust/latest?project=ci-sandbox&review=13", "Bearer sesame", 404, "if the image is there"},
		"one that is merged":    {"go/latest?project=ci-sandbox&review=11", "Bearer sesame", 404, "does not change go"},
		"no such pull request":  {"go/latest?project=ci-sandbox&review=1", "Bearer sesame", 404, "is open"},
		"without a review":      {"go/latest?project=ci-sandbox", "Bearer sesame", 404, "number given as review"},
		"without a project":     {"go/latest?review=12", "Bearer sesame", 401, "token"},
		"no token":              {"go/1.latest?project=ci-sandbox&review=12", "", 401, "token"},
		"a wrong token":         {"go/1.latest?project=ci-sandbox&review=12", "Bearer sesam", 401, "token"},
		"no bearer":             {"go/1.latest?project=ci-sandbox&review=12", "sesame", 401, "token"},
		"another project":       {"go/1.latest?project=other&review=12", "Bearer barley", 404, "does not name this debug project"},
		"another's token":       {"go/1.latest?project=ci-sandbox&review=12", "Bearer barley", 401, "token"},
		"an empty token":        {"go/1.latest?project=empty&review=12", "Bearer ", 401, "token"},
		"an unknown project":    {"go/1.latest?project=nowhere&review=12", "Bearer sesame", 401, "token"},
		"outside of the folder": {"go/1.latest?project=..&review=12", "Bearer outside", 401, "token"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(serveReviews(dir), "/api/v1/resolve/"+test.path, test.token)
			if w.Code != test.want || !strings.Contains(w.Body.String(), test.text) {
				t.Errorf("answered %d %s, want %d with %q", w.Code, w.Body, test.want, test.text)
			}
			if test.want != http.StatusOK && strings.Contains(w.Body.String(), "cccc") {
				t.Errorf("the digest is told: %s", w.Body)
			}
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Error("a cache may keep it")
			}
		})
	}
	if w := ask(serveReviews(""), "/api/v1/resolve/go/1.latest?project=ci-sandbox&review=12", "Bearer sesame"); w.Code != http.StatusUnauthorized {
		t.Errorf("without a directory of projects it is answered %d %s", w.Code, w.Body)
	}
}

// TestReviewsAreShown: to people and to programs, and whoever has seen them is not sent them again. What only a debug project may know
// is on neither.
func TestReviewsAreShown(t *testing.T) {
	handler := serveReviews("")
	for path, texts := range map[string][]string{
		"/reviews":            {`href="/reviews/12"`, "releases go 1.0.0 → 1.1.0", "with another digest than was reviewed"},
		"/reviews/12":         {"✔ go 1.0.0 → 1.1.0", "latest 1.0.0 → 1.1.0", `href="https://ci.acme.dev/?image=go"`},
		"/reviews/13":         {"nobody may ask before the merge"},
		"/reviews/11":         {"DigestChangedSinceReview"},
		"/api/v1/reviews":     {`"number": 12`, `"state": "success"`},
		"/api/v1/reviews/12":  {`"debugProject": "ci-sandbox"`},
		"/images/go":          {`<a href="/reviews/12">12</a>: go 1.0.0 → 1.1.0`, `<a href="https://ci.acme.dev/?image=go"`},
		"/api/v1/images/go":   nil,
		"/api/v1/resolve/x/y": nil,
	} {
		w := ask(handler, path, "")
		for _, text := range texts {
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s answers %d without %q:\n%s", path, w.Code, text, w.Body)
			}
		}
		if strings.Contains(w.Body.String(), "sha256:cccc") && path != "/reviews/11" && path != "/api/v1/reviews" {
			t.Errorf("%s tells the digest of a candidate", path)
		}
		if texts == nil {
			continue
		}
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("If-None-Match", w.Header().Get("ETag"))
		again := httptest.NewRecorder()
		handler.ServeHTTP(again, r)
		if again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s answers %d with %d bytes to whoever has seen it", path, again.Code, again.Body.Len())
		}
	}
	var all struct{ Reviews []review.Review }
	if err := json.Unmarshal(ask(handler, "/api/v1/reviews", "").Body.Bytes(), &all); err != nil || len(all.Reviews) != 3 {
		t.Errorf("the API tells of %d reviews, %v", len(all.Reviews), err)
	}
	for _, path := range []string{"/reviews/1", "/reviews/x", "/api/v1/reviews/1"} {
		if w := ask(handler, path, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s answers %d", path, w.Code)
		}
	}
}
