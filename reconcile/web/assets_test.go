package web

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// What pages refer to is kept by browsers for good under its hash, and asked for again under any other address.
func TestAssets(t *testing.T) {
	page := serve(storeOf("go"), "/").Body.String()
	links := regexp.MustCompile(`(?:href|src)="(/static/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 3 {
		t.Fatalf("the page refers to %v", links)
	}
	for _, link := range links {
		w := serve(nil, link[1])
		if w.Code != http.StatusOK || !strings.HasSuffix(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", link[1], w.Code, w.Header())
		}
		name, _, _ := strings.Cut(link[1], "?")
		for _, other := range []string{name, name + "?v=another"} {
			w := serve(nil, other)
			if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-cache" {
				t.Errorf("%s: %d %v", other, w.Code, w.Header())
			}
			if again := serve(nil, other, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
				t.Errorf("%s is sent twice", other)
			}
		}
	}
}

// A logo is a picture and nothing else, also where somebody opens it by itself.
func TestLogos(t *testing.T) {
	const png = "\x89PNG\r\n\x1a\nrest"
	svg := `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`
	files := map[string][]byte{"a.png": []byte(png), "b.SVG": []byte(svg), "c.png": []byte(svg), "d.svg": []byte("<html><script>alert(1)</script>"), "e.html": []byte(svg)}
	s := storeOf("go")
	s.File = func(path string) ([]byte, error) { return files[path], nil }
	for path, want := range map[string]string{"a.png": "image/png", "b.SVG": "image/svg+xml", "c.png": "", "d.svg": "", "e.html": "", "missing.png": "", "": ""} {
		s.Images[0].Card.Logo = path
		w := serve(s, "/images/go/logo")
		if want == "" {
			if w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "alert") {
				t.Errorf("%q: %d %s", path, w.Code, w.Body)
			}
			continue
		}
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != want || w.Body.String() != string(files[path]) {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if csp := w.Header().Get("Content-Security-Policy"); csp != "default-src 'none'; style-src 'unsafe-inline'; sandbox" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s may do %q", path, csp)
		}
		if again := serve(s, "/images/go/logo", "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("%s is sent twice", path)
		}
		if page := serve(s, "/").Body.String(); !strings.Contains(page, `<img src="/images/go/logo" alt=""`) {
			t.Error("the list shows no logo")
		}
	}
}
