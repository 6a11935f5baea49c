package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// Hooks make a look at the catalog come sooner, and do nothing else: what is sent is not believed, only who sent it.
type Hooks struct {
	// SecretFile holds the secret that forges sign with, and that is the token of a recheck. It is read at every use.
	SecretFile string
	// Pushed is called when something may have been pushed.
	Pushed func()
	// Recheck is called to look at one image again, or at all that are refused where the name is empty.
	Recheck func(name string)
}

// maxHook bounds what a hook may send, in bytes; GitHub sends no more.
const maxHook = 25 << 20

func (h Hooks) register(mux *http.ServeMux) {
	mux.HandleFunc("POST /hooks/push", h.push)
	mux.HandleFunc("POST /hooks/recheck", h.recheck)
}

// Secret reads the secret. Where there is none that could be used nobody is let in, and the error says why.
func (h Hooks) Secret() ([]byte, error) {
	content, err := os.ReadFile(h.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("reading the secret of the hooks: %w", err)
	}
	secret := strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		return nil, fmt.Errorf("the secret of the hooks is empty: %s", h.SecretFile)
	}
	return []byte(secret), nil
}

// push takes the push events of GitHub, Gitea, Forgejo and GitLab, and of whoever else signs: in X-Signature, as Flux takes it, or
// like GitHub.
func (h Hooks) push(w http.ResponseWriter, r *http.Request) {
	secret, none := h.Secret()
	mac := hmac.New(sha256.New, secret)
	if n, err := io.Copy(mac, io.LimitReader(r.Body, maxHook+1)); err != nil || n > maxHook {
		answer(w, http.StatusRequestEntityTooLarge, "the event could not be read, or is too large")
		return
	}
	if none != nil || !signed(r.Header, mac.Sum(nil), secret) {
		answer(w, http.StatusUnauthorized, "the signature is missing or wrong; the secret of the hook is that of --hook-secret-file")
		return
	}
	h.Pushed()
	answer(w, http.StatusAccepted, "looking at the catalog")
}

// signed reports whether a request shows that its sender knows the secret: by an HMAC-SHA-256 of the body, in the header of one
// of the forges, or as GitLab does by the secret itself. All comparisons take the same time.
func signed(h http.Header, mac, secret []byte) bool {
	for _, name := range []string{"X-Hub-Signature-256", "X-Gitea-Signature", "X-Forgejo-Signature", "X-Signature"} {
		shown, err := hex.DecodeString(strings.TrimPrefix(h.Get(name), "sha256="))
		if err == nil && len(shown) > 0 {
			return hmac.Equal(shown, mac)
		}
	}
	return subtle.ConstantTimeCompare([]byte(h.Get("X-Gitlab-Token")), secret) == 1
}

// recheck takes the token as a bearer and, in a JSON body, the name of an image.
func (h Hooks) recheck(w http.ResponseWriter, r *http.Request) {
	secret, none := h.Secret()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if none != nil || subtle.ConstantTimeCompare([]byte(token), secret) != 1 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tidewaiter"`)
		answer(w, http.StatusUnauthorized, "the token is missing or wrong; it is that of --hook-secret-file")
		return
	}
	var body struct {
		Image string `json:"image"`
	}
	err := json.NewDecoder(io.LimitReader(r.Body, 1<<10)).Decode(&body)
	if err != nil && err != io.EOF || strings.ContainsFunc(body.Image, func(c rune) bool { return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') }) {
		answer(w, http.StatusBadRequest, `want {"image": "NAME"}`)
		return
	}
	h.Recheck(body.Image)
	answer(w, http.StatusAccepted, fmt.Sprintf("looking again at %s", orAll(body.Image)))
}

func orAll(name string) string {
	if name == "" {
		return "all images that are refused"
	}
	return name
}
