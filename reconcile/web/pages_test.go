package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// storeOf is a store with images of these names, each released as 1.0.0.
func storeOf(names ...string) *Store {
	s := &Store{
		Version: "v1",
		Spec:    func(Image) (*schema.Image, error) { return nil, nil },
		File:    func(string) ([]byte, error) { return nil, nil },
	}
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
		"/?reason=Released":           {200, "text/html; charset=utf-8", "3 found with the reason <bdi>Released</bdi>"},
		"/?reason=InvalidSpec":        {200, "text/html; charset=utf-8", `<a href="/?">with any reason</a>`},
		"/failing":                    {200, "text/html; charset=utf-8", "Nothing."},
		"/static/":                    {404, "text/html; charset=utf-8", "nothing at this address"},
		"/static/style.css":           {200, "text/css; charset=utf-8", "prefers-color-scheme"},
		"/api/v1/images?reason=X":     {200, "application/json", `"total": 0`},
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
		"/api/v1/nowhere":             {404, "application/problem+json", "nothing at this address"},
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
		upgraded := Handler(Options{Ready: func() bool { return true }, Store: func() *Store { return s }, Version: "2.0.0"})
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		if upgraded.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Errorf("%s: %d of another version of the daemon", path, w.Code)
		}
	}
}

// A HEAD is answered like a GET, without the body; nothing else is taken, and the API says so as it says everything.
func TestMethods(t *testing.T) {
	s := storeOf("go")
	server := httptest.NewServer(Handler(Options{Ready: func() bool { return true }, Store: func() *Store { return s }}))
	defer server.Close()
	ask := func(method, path string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer
	}
	for _, path := range []string{"/", "/images/go", "/failing", "/static/style.css", "/api/v1/images", "/api/v1/images/go/versions", "/api/v1/resolve/go/latest", "/api/v1/openapi.json", "/nowhere"} {
		get, head := ask(http.MethodGet, path), ask(http.MethodHead, path)
		get.Header.Del("Date")
		head.Header.Del("Date")
		if get.StatusCode != head.StatusCode || !reflect.DeepEqual(get.Header, head.Header) || get.Header.Get("Content-Length") == "" {
			t.Errorf("%s: a HEAD answers %d %v, a GET %d %v", path, head.StatusCode, head.Header, get.StatusCode, get.Header)
		}
		if get.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s may be read by any page", path)
		}
		for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodOptions} {
			w := ask(method, path)
			kind := "text/html; charset=utf-8"
			if strings.HasPrefix(path, "/api/") {
				kind = "application/problem+json"
			}
			if w.StatusCode != http.StatusMethodNotAllowed || w.Header.Get("Allow") != "GET, HEAD" || w.Header.Get("Content-Type") != kind {
				t.Errorf("%s %s: %d %v", method, path, w.StatusCode, w.Header)
			}
		}
	}
}

// Records are read once for an image that is asked for again and again, and no more of them are kept than memory allows.
func TestReleasesAreKept(t *testing.T) {
	s := storeOf("go")
	read := map[string]int{}
	s.Records = func(name string) ([]schema.Record, error) {
		read[name]++
		return make([]schema.Record, map[string]int{"large": maxKept + 1}[name]+100), nil
	}
	for n := range 100 {
		for range 2 {
			for _, name := range []string{fmt.Sprintf("image-%d", n), "large"} {
				if _, err := s.Releases(name); err != nil {
					t.Fatal(err)
				}
			}
			if kept := len(s.kept); 100*kept > maxKept || s.many != 100*kept {
				t.Fatalf("%d images are kept, with %d records", kept, s.many)
			}
		}
	}
	if read["image-7"] != 1 || read["large"] != 200 {
		t.Errorf("read %d and %d times", read["image-7"], read["large"])
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
		for _, bad := range []string{"<script>", "<img src=x", "evil.example/p.png\"", `href="javascript:`, "<a href=\"javascript"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s holds %s:\n%s", path, bad, text)
			}
		}
	}
}

// The way of a request shows where it stands still, and what it has behind it.
func TestSteps(t *testing.T) {
	for reason, want := range map[release.Reason]string{
		"":                          "✔ submitted, ✔ validated, ✔ allowed by the policy, ● pull verified, ○ upgrade mode found true, ○ released",
		release.InvalidSpec:         "✔ submitted, ✘ validated, ○ allowed by the policy, ○ pull verified, ○ upgrade mode found true, ○ released",
		release.Suspended:           "✔ submitted, ✔ validated, ✘ allowed by the policy, ○ pull verified, ○ upgrade mode found true, ○ released",
		release.ImageNotFound:       "✔ submitted, ✔ validated, ✔ allowed by the policy, ✘ pull verified, ○ upgrade mode found true, ○ released",
		release.UpgradeContradicted: "✔ submitted, ✔ validated, ✔ allowed by the policy, ✔ pull verified, ✘ upgrade mode found true, ○ released",
	} {
		if got := drawn(steps(reason, "")); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", reason, got, want)
		}
	}
	const want = "✔ submitted, ✔ validated, ✔ allowed by the policy, ● pull verified, ○ upgrade mode found true, ○ offered to the debug project ci, ○ released"
	if got := drawn(steps("", "ci")); got != want {
		t.Errorf("with a debug project:\ngot  %s\nwant %s", got, want)
	}
	for _, reason := range release.Refusals() {
		if !strings.Contains(drawn(steps(reason, "")), "✘") {
			t.Errorf("%s holds up no step", reason)
		}
	}
}

func drawn(way []step) string {
	var list []string
	for _, s := range way {
		list = append(list, map[string]string{"done": "✔ ", "stuck": "✘ ", "now": "● ", "": "○ "}[s.Class]+s.Text)
	}
	return strings.Join(list, ", ")
}

// What is held up with the whole catalog, or did not even become a request, is in flight too.
func TestInFlight(t *testing.T) {
	s := storeOf("go")
	i := s.Images[0]
	i.Status.Requests = []release.Request{{}}
	i.Status.Conditions = release.Conditions(nil, release.Suspended, time.Time{})
	if got := inFlight(i, ""); len(got) != 1 || got[0].Stuck != release.Suspended {
		t.Errorf("suspended: %+v", got)
	}
	i.Status.Conditions = release.Conditions(nil, release.InvalidSpec, time.Time{})
	i.Status.Problems = []string{"images/go.yaml:1:1: the file is empty"}
	if got := inFlight(i, ""); len(got) != 2 || got[0].Stuck != "" || got[1].Stuck != release.InvalidSpec || !slices.Equal(got[1].Problems, i.Status.Problems) {
		t.Errorf("with a mistake: %+v", got)
	}
}

// The history tells who approved a release, in what, and who says so; a link is one only where a browser may be given it.
func TestVersionsTellWhoApproved(t *testing.T) {
	for request, want := range map[string]string{
		"":                             `in</dt><dd>commit <span class="ref">0123456789ab</span></dd>`,
		"12":                           "pull request <bdi>12</bdi>",
		"https://git.acme.dev/pulls/1": `<a href="https://git.acme.dev/pulls/1" rel="noreferrer nofollow">`,
		"http://git.acme.dev/pulls/1":  "pull request <bdi>http://git.acme.dev/pulls/1</bdi>",
		"javascript:alert(1)":          "pull request <bdi>javascript:alert(1)</bdi>",
		"https://me:pw@git.acme.dev/":  "pull request <bdi>https://me:pw@git.acme.dev/</bdi>",
	} {
		s := storeOf("go")
		s.Records = func(string) ([]schema.Record, error) {
			return []schema.Record{{
				Version: release.Version{Major: 1}, Mode: schema.Modes{Asked: release.Fix, Applied: release.Feature}, Upgrade: release.Upgrade{Notes: "Is *new*."},
				Request:    schema.RequestCommit{Commit: "0123456789abcdef"},
				ApprovedBy: schema.Approval{Author: "Ada", Committer: "Grace", Source: "forge", PullRequest: request},
				Findings:   []contract.Finding{{Rule: "user-changed", Level: contract.Warn, Text: "it runs as root"}, {Rule: "env-added", Subject: "A", Text: "new"}},
			}}, nil
		}
		text := serve(s, "/images/go").Body.String()
		for _, want := range []string{
			want, "<bdi>Grace</bdi>, for <bdi>Ada</bdi>", "confirmed by the forge", "<p>Is <em>new</em>.</p>", "user-changed: it runs as root", "1 more found",
			"compatible-feature, compatible-fix asked for",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%q: the page lacks %s", request, want)
			}
		}
	}
}

// A Dockerfile of the catalog is shown, and where it cannot be, that is said. A link is shown and never followed.
func TestDockerfiles(t *testing.T) {
	s := storeOf("go")
	files := map[string][]byte{"go.Dockerfile": []byte("FROM scratch\nRUN \x1b[31m\u202e"), "binary": []byte("\xff\xfe")}
	s.File = func(path string) ([]byte, error) {
		if path == "unreadable" {
			return nil, errors.New("the branch has moved")
		}
		return files[path], nil
	}
	for want, d := range map[string]schema.Dockerfile{
		`<span class="keyword">FROM</span> <span class="string">busybox</span>`: {Inline: "FROM busybox"},
		`<code><bdi>go.Dockerfile</bdi></code> in the catalog`:                  {Path: "go.Dockerfile"},
		`\u001b[31m\u202e`:  {Path: "go.Dockerfile"},
		"no such text file": {Path: "missing"},
		"or it has more":    {Path: "binary"},
		`<h2>Usage</h2>
<h6>x</h6>`: {Inline: "FROM a"},
		`<a class="ref" href="https://git.acme.dev/Dockerfile" rel="noreferrer nofollow">`: {URL: "https://git.acme.dev/Dockerfile"},
		"cannot be read now": {Path: "unreadable"},
	} {
		s.Spec = func(Image) (*schema.Image, error) {
			return &schema.Image{Description: "# Usage\n\n###### x", Dockerfile: d}, nil
		}
		if text := serve(s, "/images/go").Body.String(); !strings.Contains(text, want) {
			t.Errorf("%+v: the page lacks %s:\n%s", d, want, text)
		}
	}
	s.Spec = func(Image) (*schema.Image, error) { return &schema.Image{}, nil }
	if strings.Contains(serve(s, "/images/go").Body.String(), "Dockerfile") {
		t.Error("there is a Dockerfile where the spec has none")
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
	if !strings.Contains(text, `href="/?page=3&amp;q=image" rel="next"`) || !strings.Contains(text, `href="/?q=image" rel="prev"`) {
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
