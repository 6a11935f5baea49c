package registry_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

// stranger is a server that notes what it is sent. It is called localhost, which is another host than 127.0.0.1.
type stranger struct {
	url string

	mu       sync.Mutex
	requests []*http.Request
}

func newStranger(t testing.TB, answer http.HandlerFunc) *stranger {
	s := &stranger{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, req)
		s.mu.Unlock()
		answer(w, req)
	}))
	t.Cleanup(server.Close)
	s.url = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	return s
}

// sent is how often it was asked, and everything that it was shown.
func (s *stranger) sent() (times int, shown string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, req := range s.requests {
		shown += fmt.Sprintln(req.Method, req.URL, req.Header)
	}
	return len(s.requests), shown
}

func authorizations(r *registrytest.Registry) (all []string) {
	for _, req := range r.Requests() {
		if req.Authorization != "" {
			all = append(all, req.Authorization)
		}
	}
	return all
}

// private is a registry with a user, an image in it and a credential for it called pull.
func private(t *testing.T, options registrytest.Options) (*registrytest.Registry, registry.Query, registry.Options) {
	options.User, options.Password = "puller", "s3cret"
	r := start(t, options)
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	q := query(r.Host, "ci/app", "1")
	q.Registry.Credentials = "pull"
	client := registry.Options{CredentialsDir: credentials(t, map[string]string{
		"pull/username": "puller\n", "pull/password": "s3cret\n",
		"wrong/username": "puller", "wrong/password": "gu3ss",
	})}
	if options.TLS {
		client.CAFile = file(t, "ca.pem", string(r.CA))
	}
	return r, q, client
}

// TestPrivate: a credential opens what it is bound to and nothing else, by each way that registries ask for one.
func TestPrivate(t *testing.T) {
	for name, options := range map[string]registrytest.Options{
		"basic": {}, "bearer": {Bearer: true}, "basic over TLS": {TLS: true}, "bearer over TLS": {Bearer: true, TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, bound, opts := private(t, options)
			client := registry.New(opts)
			if _, err := client.Pull(t.Context(), bound); err != nil {
				t.Fatal(err)
			}
			if len(authorizations(r)) == 0 {
				t.Error("a private image was pulled without a credential")
			}

			unbound := bound
			unbound.Registry.Credentials = ""
			_, err := client.Pull(t.Context(), unbound)
			refused(t, err, release.AccessDenied)
			if sent := authorizations(r); len(sent) > 0 {
				t.Errorf("without a credential %v was sent", sent)
			}

			// What one credential was shown says nothing to another, nor without one, by digest either.
			bound.Image.Digest, unbound.Image.Digest = twoPlatforms.Build().Root.Digest, twoPlatforms.Build().Root.Digest
			if _, err := client.Pull(t.Context(), bound); err != nil {
				t.Fatal(err)
			}
			_, err = client.Pull(t.Context(), unbound)
			refused(t, err, release.AccessDenied)

			wrong := bound
			wrong.Registry.Credentials = "wrong"
			_, err = client.Pull(t.Context(), wrong)
			refused(t, err, release.AccessDenied)
			for _, secret := range []string{"s3cret", "gu3ss", "cHVsbGVy"} {
				if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
					t.Errorf("the error holds the secret: %v", err)
				}
			}
			if _, err := client.Pull(t.Context(), bound); err != nil {
				t.Errorf("after the others were refused: %v", err)
			}
		})
	}
}

// TestAnonymousToken is how public images are pulled from most registries.
func TestAnonymousToken(t *testing.T) {
	r := start(t, registrytest.Options{Bearer: true})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	put(t, r, "ci/other", "1", twoPlatforms.Build())
	client := registry.New(registry.Options{})
	for _, repository := range []string{"ci/app", "ci/other"} {
		if _, err := client.Pull(t.Context(), query(r.Host, repository, "1")); err != nil {
			t.Fatal(err)
		}
	}
	var scopes []string
	for _, req := range r.Requests() {
		if u, err := url.Parse(req.Path); err == nil && u.Path == "/token" {
			scopes = append(scopes, u.Query()["scope"]...)
		}
	}
	if want := []string{"repository:ci/app:pull", "repository:ci/other:pull"}; !slices.Equal(scopes, want) {
		t.Errorf("tokens were asked for %v", scopes)
	}
}

// TestNewSecret: files are read at every use, so a rotated secret needs no restart; a token that the registry no longer
// knows is replaced.
func TestNewSecret(t *testing.T) {
	r, q, opts := private(t, registrytest.Options{Bearer: true})
	client := registry.New(opts)
	password := filepath.Join(opts.CredentialsDir, "pull", "password")
	write := func(text string) {
		if err := os.WriteFile(password, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	_, err := client.Pull(t.Context(), q)
	refused(t, err, release.AccessDenied)
	write("s3cret")
	if _, err := client.Pull(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	known := authorizations(r)
	r.Wrap(func(next http.Handler) http.Handler { // it restarted, and has forgotten its tokens
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != "/token" && slices.Contains(known, req.Header.Get("Authorization")) {
				req.Header.Del("Authorization")
			}
			next.ServeHTTP(w, req)
		})
	})
	if _, err := client.Pull(t.Context(), q); err != nil {
		t.Error(err)
	}
	r.Requests()
	if _, err := client.Pull(t.Context(), q); err != nil {
		t.Error(err)
	}
	if lines := asked(r); !slices.Equal(lines, []string{"HEAD /v2/ci/app/manifests/1"}) {
		t.Errorf("with the new token it was asked %v", lines)
	}
	write("wrong again")
	_, err = client.Pull(t.Context(), q)
	refused(t, err, release.AccessDenied)
}

// challenge makes a registry send for tokens to a realm.
func challenge(r *registrytest.Registry, realm string) {
	r.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasPrefix(req.URL.Path, "/v2/") && !strings.HasPrefix(req.Header.Get("Authorization"), "Bearer ") {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="registrytest",scope="repository:ci/app:pull"`, realm))
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
}

// TestRealm: a registry that sends to a token server of somebody else gets nothing sent there.
func TestRealm(t *testing.T) {
	r, q, opts := private(t, registrytest.Options{Bearer: true})
	auth := newStranger(t, r.ServeHTTP)
	challenge(r, auth.url+"/token")
	_, err := registry.New(opts).Pull(t.Context(), q)
	refused(t, err, release.RegistryNotAllowed)
	if n, shown := auth.sent(); n > 0 {
		t.Errorf("it was sent %s", shown)
	}

	q.Registry.Realms = []string{"localhost"}
	if _, err := registry.New(opts).Pull(t.Context(), q); err != nil {
		t.Errorf("the policy names the realm: %v", err)
	}
	if n, shown := auth.sent(); n != 1 || !strings.Contains(shown, "Basic ") {
		t.Errorf("it was asked %d times: %s", n, shown)
	}

	for _, realm := range []string{"http://169.254.169.254/token", "http://[::ffff:169.254.169.254]/", "http://10.0.0.1/", "http://0.0.0.0:1/", "http://[fd00:ec2::254]/"} {
		challenge(r, realm)
		_, err := registry.New(opts).Pull(t.Context(), q)
		refused(t, err, release.RegistryNotAllowed)
		u, _ := url.Parse(realm)
		q := q
		q.Registry.Realms = []string{u.Hostname()}
		if u.Hostname() != "10.0.0.1" { // which a policy may name
			_, err = registry.New(opts).Pull(t.Context(), q)
			refused(t, err, release.RegistryNotAllowed)
		}
	}
}

// TestRealmFails: what goes wrong at the token server is named for what it is, not taken for a refusal of the credential.
func TestRealmFails(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   release.Reason
	}{
		"denied":   {answers(401), release.AccessDenied},
		"limited":  {answers(429), release.RateLimited},
		"broken":   {answers(500), release.RegistryUnavailable},
		"no token": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "welcome") }, release.AccessDenied},
		"endless":  {func(w http.ResponseWriter, _ *http.Request) { flood(w, " ") }, release.RegistryUnavailable},
		"silent":   {func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }, release.RegistryUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, q, opts := private(t, registrytest.Options{Bearer: true})
			when(r, "/token", test.answer)
			opts.Timeout = time.Second
			_, err := registry.New(opts).Pull(t.Context(), q)
			refused(t, err, test.want)
		})
	}
}

// TestRedirect: content may come from anywhere that may be dialled; a credential goes nowhere but home.
func TestRedirect(t *testing.T) {
	built := twoPlatforms.Build()
	for _, part := range []string{"/blobs/", "/manifests/"} {
		r, q, opts := private(t, registrytest.Options{})
		store := newStranger(t, func(w http.ResponseWriter, req *http.Request) {
			digest := release.Digest(req.URL.Query().Get("digest"))
			body := built.Blobs[digest]
			if document, ok := built.Documents[digest]; ok {
				body = document.Body
				w.Header().Set("Content-Type", document.MediaType)
				w.Header().Set("Docker-Content-Digest", string(digest))
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body)
		})
		r.Wrap(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				digest := req.URL.Path[strings.LastIndex(req.URL.Path, "/")+1:]
				if digest == "1" {
					digest = string(built.Root.Digest)
				}
				if strings.Contains(req.URL.Path, part) && req.Header.Get("Authorization") != "" {
					http.Redirect(w, req, store.url+"/?digest="+digest, http.StatusTemporaryRedirect)
					return
				}
				next.ServeHTTP(w, req)
			})
		})
		_, err := registry.New(opts).Pull(t.Context(), q)
		refused(t, err, release.RegistryNotAllowed)
		if n, shown := store.sent(); n > 0 {
			t.Errorf("a loopback address that nobody named was sent %s", shown)
		}
		q.Registry.Realms = []string{"localhost"}
		q.Content = true
		image, err := registry.New(opts).Pull(t.Context(), q)
		if err != nil || image.Digest != built.Root.Digest {
			t.Errorf("got %s, %v", image.Digest, err)
		}
		if n, shown := store.sent(); n == 0 || strings.Contains(shown, "Basic") || strings.Contains(shown, "Authorization") {
			t.Errorf("the store was asked %d times and shown %s", n, shown)
		}
	}
}

// TestRedirectChallenge: where content comes from has no say in what is shown to whom.
func TestRedirectChallenge(t *testing.T) {
	r := start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	store := newStranger(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	redirect("/blobs/", store.url)(r)
	q := query(r.Host, "ci/app", "1")
	q.Registry.Realms = []string{"localhost"}
	_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
	refused(t, err, release.AccessDenied)
	if lines := asked(r); slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "GET /token") }) {
		t.Errorf("it was asked %v", lines)
	}
}

// TestTokenRedirect: a realm that was found good may not pass a credential on.
func TestTokenRedirect(t *testing.T) {
	r, q, opts := private(t, registrytest.Options{Bearer: true})
	q.Registry.Realms = []string{"localhost"}
	thief := newStranger(t, answers(http.StatusUnauthorized))
	when(r, "/token", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, thief.url+"/?"+req.URL.RawQuery, http.StatusTemporaryRedirect)
	})
	_, err := registry.New(opts).Pull(t.Context(), q)
	refused(t, err, release.AccessDenied)
	if n, shown := thief.sent(); n == 0 || strings.Contains(shown, "Authorization") {
		t.Errorf("it was asked %d times and shown %s", n, shown)
	}
	// A token to be exchanged is in the body of a POST, which is not sent on at all.
	opts.CredentialsDir = credentials(t, map[string]string{
		"pull/.dockerconfigjson": fmt.Sprintf(`{"auths": {%q: {"identitytoken": "s3cret"}}}`, r.Host),
	})
	before, _ := thief.sent()
	_, err = registry.New(opts).Pull(t.Context(), q)
	refused(t, err, release.RegistryNotAllowed)
	if n, shown := thief.sent(); n != before && strings.Contains(shown, "POST") {
		t.Errorf("it was sent %s", shown)
	}
}

// TestDowngrade: who speaks https is not left for http, by redirect or by realm.
func TestDowngrade(t *testing.T) {
	listener := newStranger(t, answers(http.StatusOK))
	r, q, opts := private(t, registrytest.Options{TLS: true})
	q.Registry.Realms = []string{"localhost"}
	when(r, "/blobs/", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, listener.url, http.StatusTemporaryRedirect)
	})
	_, err := registry.New(opts).Pull(t.Context(), q)
	refused(t, err, release.RegistryNotAllowed)

	challenge(r, listener.url+"/token")
	_, err = registry.New(opts).Pull(t.Context(), q)
	refused(t, err, release.RegistryNotAllowed)
	if n, shown := listener.sent(); n > 0 {
		t.Errorf("in plain text it was sent %s", shown)
	}
}

// TestForeignLayer: the URLs in a manifest are a stranger's wishes.
func TestForeignLayer(t *testing.T) {
	elsewhere := newStranger(t, answers(http.StatusOK))
	built := twoPlatforms.Build()
	remake(func(m *registrytest.Manifest) {
		m.Layers[0].MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
		m.Layers[0].URLs = []string{elsewhere.url + "/layer"}
		m.Config.URLs = m.Layers[0].URLs
	})(&built)
	last := built.Manifests[1]
	r := start(t, registrytest.Options{})
	q := query(r.Host, "ci/app", "1")
	q.Registry.Realms = []string{"localhost"}
	put(t, r, "ci/app", "1", built)
	if _, err := registry.New(registry.Options{}).Pull(t.Context(), q); err != nil {
		t.Errorf("the registry has the foreign layer: %v", err)
	}
	for _, content := range []bool{false, true} {
		for _, gone := range []release.Digest{last.Layers[0].Digest, last.Config.Digest} {
			lacking := registrytest.Built{Root: built.Root, Documents: built.Documents, Blobs: map[release.Digest][]byte{}}
			for digest, body := range built.Blobs {
				if digest != gone {
					lacking.Blobs[digest] = body
				}
			}
			q.Image.Repository = fmt.Sprintf("ci/%t-%s", content, gone[7:15])
			q.Content = content
			put(t, r, q.Image.Repository, "1", lacking)
			_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
			refused(t, err, release.LayerMissing)
		}
	}
	if n, shown := elsewhere.sent(); n > 0 {
		t.Errorf("it was sent %s", shown)
	}
}

// TestUnlisted: without the policy's word no internal address is dialled, however it is spelt.
func TestUnlisted(t *testing.T) {
	r := start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	_, port, _ := net.SplitHostPort(r.Host)
	for _, host := range []string{r.Host, "localhost:" + port, "127.1.2.3:" + port, "[::1]:" + port, "[::ffff:127.0.0.1]:" + port, "0.0.0.0:" + port, "169.254.169.254", "[fe80::1]:" + port, "10.0.0.1"} {
		q := query(host, "ci/app", "1")
		q.Listed = false
		_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
		refused(t, err, release.RegistryNotAllowed)
	}
	if lines := asked(r); len(lines) > 0 {
		t.Errorf("it was asked %v", lines)
	}
}

// TestOwnDockerConfig: the credentials of whoever runs the daemon are not the catalog's.
func TestOwnDockerConfig(t *testing.T) {
	r, q, _ := private(t, registrytest.Options{})
	t.Setenv("DOCKER_CONFIG", filepath.Dir(file(t, "config.json", fmt.Sprintf(`{"auths": {%q: {"auth": "cHVsbGVyOnMzY3JldA=="}}}`, r.Host))))
	q.Registry.Credentials = ""
	_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
	refused(t, err, release.AccessDenied)
	if sent := authorizations(r); len(sent) > 0 {
		t.Errorf("sent %v", sent)
	}
	// A command may be told to use them.
	config := filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json")
	if _, err := registry.New(registry.Options{DockerConfig: config}).Pull(t.Context(), q); err != nil {
		t.Errorf("with the docker config: %v", err)
	}
}

// TestDockerHub: docker.io is asked at its own name, with a token of its own realm, here behind a proxy that stands for the
// internet. The proxy is on a loopback address, which is the operator's business.
func TestDockerHub(t *testing.T) {
	hub := start(t, registrytest.Options{Bearer: true, TLS: true, Names: []string{"registry-1.docker.io", "auth.docker.io"}})
	put(t, hub, "library/golang", "1.26", twoPlatforms.Build())
	challenge(hub, "https://auth.docker.io/token?scope=repository:library/golang:pull")
	asked := make(chan string, 100)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked <- req.Method + " " + req.Host
		tunnel(t, w, hub.Host)
	}))
	defer proxy.Close()
	to, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	options := registry.Options{Proxy: http.ProxyURL(to), CAFile: file(t, "ca.pem", string(hub.CA))}
	q := query("", "golang", "1.26")
	if _, err := registry.New(options).Pull(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	hosts := map[string]bool{}
	for len(asked) > 0 {
		hosts[<-asked] = true
	}
	if want := "map[CONNECT auth.docker.io:443:true CONNECT registry-1.docker.io:443:true]"; fmt.Sprint(hosts) != want {
		t.Errorf("asked %v", hosts)
	}

	// A connection that the first look began and did not need may still come to that proxy, so the second look has its own.
	other := newStranger(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	if to, err = url.Parse(other.url); err != nil {
		t.Fatal(err)
	}
	options.Proxy = http.ProxyURL(to)
	q.Listed = false
	_, err = registry.New(options).Pull(t.Context(), q)
	refused(t, err, release.RegistryNotAllowed)
	if times, shown := other.sent(); times > 0 {
		t.Errorf("without the policy's word asked %s", shown)
	}
}

// tunnel answers a CONNECT.
func tunnel(t *testing.T, w http.ResponseWriter, host string) {
	to, err := net.Dial("tcp", host)
	if err != nil {
		t.Error(err)
		return
	}
	from, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
	context.AfterFunc(t.Context(), func() { from.Close(); to.Close() })
	go func() { _, _ = io.Copy(to, from); to.Close() }()
	go func() { _, _ = io.Copy(from, to); from.Close() }()
}
