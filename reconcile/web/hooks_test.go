package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

// endless is a body that does not end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestHooks: whoever knows the secret makes a look come sooner, and nobody else does anything.
func TestHooks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const event = `{"ref": "refs/heads/main"}`
	for name, test := range map[string]struct {
		path, header, value string
		body                io.Reader
		want                int
		called              string
	}{
		"github":                  {"/hooks/push", "X-Hub-Signature-256", "sha256=" + sign("sesame", event), strings.NewReader(event), 202, "pushed"},
		"gitea":                   {"/hooks/push", "X-Gitea-Signature", sign("sesame", event), strings.NewReader(event), 202, "pushed"},
		"forgejo":                 {"/hooks/push", "X-Forgejo-Signature", sign("sesame", event), strings.NewReader(event), 202, "pushed"},
		"generic":                 {"/hooks/push", "X-Signature", "sha256=" + sign("sesame", event), strings.NewReader(event), 202, "pushed"},
		"generic, with sha1":      {"/hooks/push", "X-Signature", "sha1=" + sign("sesame", event), strings.NewReader(event), 401, ""},
		"gitlab":                  {"/hooks/push", "X-Gitlab-Token", "sesame", strings.NewReader(event), 202, "pushed"},
		"nobody":                  {"/hooks/push", "X-Nothing", "", strings.NewReader(event), 401, ""},
		"an empty signature":      {"/hooks/push", "X-Hub-Signature-256", "sha256=", strings.NewReader(event), 401, ""},
		"another secret":          {"/hooks/push", "X-Hub-Signature-256", "sha256=" + sign("guess", event), strings.NewReader(event), 401, ""},
		"another event":           {"/hooks/push", "X-Hub-Signature-256", "sha256=" + sign("sesame", event), strings.NewReader(event + " "), 401, ""},
		"another token":           {"/hooks/push", "X-Gitlab-Token", "sesam", strings.NewReader(event), 401, ""},
		"an endless event":        {"/hooks/push", "X-Gitlab-Token", "sesame", endless{}, 413, ""},
		"recheck one":             {"/hooks/recheck", "Authorization", "Bearer sesame", strings.NewReader(`{"image": "go-builder"}`), 202, "recheck go-builder"},
		"recheck all":             {"/hooks/recheck", "Authorization", "Bearer sesame", strings.NewReader(""), 202, "recheck "},
		"recheck without a token": {"/hooks/recheck", "Authorization", "", strings.NewReader(""), 401, ""},
		"recheck another token":   {"/hooks/recheck", "Authorization", "Bearer sesame2", strings.NewReader(""), 401, ""},
		"recheck what is no name": {"/hooks/recheck", "Authorization", "Bearer sesame", strings.NewReader(`{"image": "<b>"}`), 400, ""},
		"recheck nonsense":        {"/hooks/recheck", "Authorization", "Bearer sesame", endless{}, 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			called := ""
			handler := Handler(Options{Ready: func() bool { return true }, Hooks: &Hooks{
				SecretFile: file, Pushed: func() { called = "pushed" }, Recheck: func(name string) { called = "recheck " + name },
			}})
			r := httptest.NewRequest(http.MethodPost, test.path, test.body)
			r.Header.Set(test.header, test.value)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != test.want || called != test.called {
				t.Errorf("answered %d %q and called %q, want %d and %q", w.Code, w.Body, called, test.want, test.called)
			}
			if strings.Contains(w.Body.String(), "sesame") {
				t.Error("the answer holds the secret")
			}
		})
	}
}

// TestHooksNeedASecret: a file that is missing or empty lets nobody in, and without hooks there are none.
func TestHooksNeedASecret(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	never := func() { t.Error("somebody was let in") }
	for _, hooks := range []*Hooks{nil, {SecretFile: empty, Pushed: never, Recheck: func(string) { never() }}, {SecretFile: empty + "x", Pushed: never, Recheck: func(string) { never() }}} {
		handler := Handler(Options{Ready: func() bool { return true }, Hooks: hooks})
		for _, path := range []string{"/hooks/push", "/hooks/recheck"} {
			for header, value := range map[string]string{"X-Gitlab-Token": "", "X-Hub-Signature-256": "sha256=" + sign("", ""), "Authorization": "Bearer "} {
				r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(""))
				r.Header.Set(header, value)
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if want := map[bool]int{true: 404, false: 401}[hooks == nil]; w.Code != want {
					t.Errorf("%s with %s answered %d, want %d", path, header, w.Code, want)
				}
			}
		}
	}
}

// TestHealth: health is that of the process, readiness that of its passes.
func TestHealth(t *testing.T) {
	for _, ready := range []bool{true, false} {
		handler := Handler(Options{Ready: func() bool { return ready }})
		for path, want := range map[string]int{"/healthz": 200, "/readyz": map[bool]int{true: 200, false: 503}[ready], "/metrics": 200, "/nowhere": 404} {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if w.Code != want {
				t.Errorf("ready %t: %s answers %d, want %d", ready, path, w.Code, want)
			}
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/healthz", nil))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("a POST is answered %s", fmt.Sprint(w.Code))
		}
	}
}
