package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/release"
)

// Operators see what is not as it should be by its reason, the most frequent first, and what to do about it.
func TestFailing(t *testing.T) {
	var names []string
	for n := range 40 {
		names = append(names, fmt.Sprintf("image-%02d", n))
	}
	s := storeOf(names...)
	at := time.Date(2026, 3, 2, 8, 30, 0, 0, time.UTC)
	for n := range s.Images[:30] {
		s.Images[n].Status.Conditions = release.Conditions(nil, release.ImageNotFound, at)
		s.Images[n].Status.Changed.Committer = "Grace"
	}
	s.Images[30].Status.Conditions = release.Conditions(nil, release.InvalidSpec, at)
	s.Images[31].Status.Conditions = release.Conditions(nil, release.Verifying, at)
	drifted := &s.Images[32].Status
	drifted.Conditions = append(drifted.Conditions, release.Condition{Type: "DigestMissing", Status: release.True, Reason: release.DigestMissing, Since: at})
	drifted.Drifts = []release.Drift{{Version: release.Version{Major: 1}, Finding: release.DigestMissing, Since: at}}
	s.Catalog.Conditions = release.Conditions(nil, release.DelistingHeld, at)
	s.Catalog.Held = "0123456789abcdef"
	s.Catalog.Problems = []release.Problem{{Path: "images/notes.txt", Reason: release.InvalidSpec, Message: "images/\u202enotes.txt:1:1: only <specs> are kept here"}}
	text := serve(s, "/failing").Body.String()
	at0 := 0
	for _, want := range []string{
		"<title>What fails now – tidewaiter</title>", `<a href="/failing" aria-current="page">`,
		"1 on the way", "DelistingHeld", "since 2026-03-02 08:30 UTC", "--accept-delisting", "0123456789abcdef",
		"Files that cannot be used", `images/\u202enotes.txt:1:1: only &lt;specs&gt; are`,
		"Not released", "ImageNotFound", "30", "push the image, then it is verified again", "looked at again by itself with growing pauses",
		`<a href="/images/image-00">image-00</a>`, "last changed by <bdi>Grace</bdi>", `<a href="/images/image-19">`, `<a href="/?reason=ImageNotFound">and 10 more</a>`,
		"InvalidSpec", "with a commit or a change of the policy", "image-30",
		"Not as they were released", "DigestMissing", "push it again to the letter", "image-32", "1.0.0",
	} {
		i := strings.Index(text[at0:], want)
		if i < 0 {
			t.Fatalf("the page lacks %q after\n%s", want, text[:at0])
		}
		at0 += i
	}
	if strings.Contains(text, "image-20<") || strings.Contains(text, "Nothing. Every file") {
		t.Error("the page is not bounded, or says that nothing fails")
	}
}

// A page that is not up to date says so, also to who has seen it before.
func TestFailingWhereThePassesFail(t *testing.T) {
	s, ready := storeOf("go"), true
	handler := Handler(Options{Ready: func() bool { return ready }, Store: func() *Store { return s }})
	ask := func(tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/failing", nil)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	tag := ask("").Header().Get("ETag")
	if w := ask(tag); w.Code != http.StatusNotModified {
		t.Errorf("%d for who has seen it", w.Code)
	}
	ready = false
	if w := ask(tag); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "This is not up to date") || w.Header().Get("ETag") != "" {
		t.Errorf("%d %v\n%s", w.Code, w.Header(), w.Body)
	}
}
