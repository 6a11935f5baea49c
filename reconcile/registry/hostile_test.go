package registry_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
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

// What registries send that mean harm, besides the refusals of TestRefusals and the thieves of trust_test.go.

// flood writes up to 64 MiB of a letter, and returns how much of it was taken.
func flood(w io.Writer, letter string) (taken int64) {
	for chunk := strings.Repeat(letter, 1<<16); taken < 64<<20; {
		n, err := io.WriteString(w, chunk)
		taken += int64(n)
		if err != nil {
			break
		}
	}
	return taken
}

// TestEndlessBlobs: of a config or a layer no more is read than its descriptor says, and what is on its way.
func TestEndlessBlobs(t *testing.T) {
	built := twoPlatforms.Build()
	for name, digest := range map[string]release.Digest{"config": built.Manifests[0].Config.Digest, "layer": built.Manifests[0].Layers[0].Digest} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, registrytest.Options{})
			put(t, r, "ci/app", "1", built)
			taken := make(chan int64, 1)
			whenGot(r, digest, len(built.Blobs[digest]), func(w http.ResponseWriter, _ *http.Request) { taken <- flood(w, "x") })
			q := query(r.Host, "ci/app", "1")
			q.Content = true
			_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
			refused(t, err, release.DigestMismatch)
			if n := <-taken; n > 32<<20 {
				t.Errorf("%d bytes were taken", n)
			}
		})
	}
}

// TestEndlessHeader: an answer is not only its body.
func TestEndlessHeader(t *testing.T) {
	r := start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	r.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 128<<10))
			next.ServeHTTP(w, req)
		})
	})
	_, err := registry.New(registry.Options{}).Pull(t.Context(), query(r.Host, "ci/app", "1"))
	refused(t, err, release.RegistryUnavailable)
}

// TestCompressedAnswers: nothing is unpacked on the way, so that a bomb stays what it is.
func TestCompressedAnswers(t *testing.T) {
	r := start(t, registrytest.Options{})
	built := twoPlatforms.Build()
	put(t, r, "ci/app", "1", built)
	var accepted sync.Map
	config := built.Manifests[0].Config.Digest
	r.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			accepted.Store(req.Header.Get("Accept-Encoding"), true)
			if !strings.HasSuffix(req.URL.Path, string(config)) {
				next.ServeHTTP(w, req)
				return
			}
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(built.Blobs[config])
			_ = z.Close()
		})
	})
	_, err := registry.New(registry.Options{}).Pull(t.Context(), query(r.Host, "ci/app", "1"))
	refused(t, err, release.DigestMismatch)
	accepted.Range(func(encoding, _ any) bool {
		if encoding != "" {
			t.Errorf("it was asked for the encoding %s", encoding)
		}
		return true
	})
}

// TestIndexOfItself: no digest can be in what it is the digest of, but who lies can serve one; it leads nowhere.
func TestIndexOfItself(t *testing.T) {
	for name, mediaType := range map[string]string{"as an index": "", "as a manifest": "application/vnd.oci.image.manifest.v1+json"} {
		t.Run(name, func(t *testing.T) {
			r := start(t, registrytest.Options{})
			built := twoPlatforms.Build()
			self := sumOf([]byte("itself"))
			reindex(func(i *registrytest.Index) {
				entry := i.Manifests[0]
				entry.Digest = self
				if entry.MediaType = mediaType; mediaType == "" {
					entry.MediaType = i.MediaType
				}
				i.Manifests = []registrytest.Descriptor{entry}
			})(&built)
			put(t, r, "ci/app", "1", built)
			when(r, "/manifests/"+string(self), func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", built.Root.MediaType)
				w.Header().Set("Docker-Content-Digest", string(self))
				_, _ = w.Write(built.Documents[built.Root.Digest].Body)
			})
			_, err := registry.New(registry.Options{}).Pull(t.Context(), query(r.Host, "ci/app", "1"))
			want := release.ManifestInvalid
			if mediaType != "" {
				want = release.DigestMismatch
			}
			refused(t, err, want)
			if n := len(r.Requests()); n > 3 {
				t.Errorf("it was asked %d times", n)
			}
		})
	}
}

// TestIndexOfTenThousand: what an index names is counted before any of it is asked for.
func TestIndexOfTenThousand(t *testing.T) {
	r := start(t, registrytest.Options{})
	built := twoPlatforms.Build()
	reindex(func(i *registrytest.Index) {
		for n := range 10_000 {
			entry := i.Manifests[0]
			entry.Digest = sumOf(fmt.Append(nil, n))
			i.Manifests = append(i.Manifests, entry)
		}
	})(&built)
	put(t, r, "ci/app", "1", built)
	q := query(r.Host, "ci/app", "1")
	q.Required = []release.Platform{"linux/amd64"}
	_, err := registry.New(registry.Options{}).Pull(t.Context(), q)
	refused(t, err, release.ManifestInvalid)
	if n := len(r.Requests()); n != 2 {
		t.Errorf("it was asked %d times", n)
	}
}

// TestFarRealms: a registry that is trusted sends for tokens to addresses of this machine, of the cloud and of the network around,
// in all the ways to write them. Nothing is sent there, and the policy naming them does not open those that are never dialled.
func TestFarRealms(t *testing.T) {
	r, q, opts := private(t, registrytest.Options{Bearer: true})
	for realm, named := range map[string]bool{ // whether a policy may name it
		"http://169.254.169.254/latest":     false,
		"http://[::ffff:169.254.169.254]/":  false,
		"http://[::ffff:a9fe:a9fe]/":        false,
		"http://[64:ff9b::a9fe:a9fe]/":      false, // NAT64
		"http://[64:ff9b:1::a9fe:a9fe]/":    false,
		"http://[2002:a9fe:a9fe::1]/":       false, // 6to4
		"http://[::a9fe:a9fe]/":             false, // IPv4 compatible
		"http://[2001:0:a9fe:a9fe::1]/":     false, // Teredo
		"http://[fe80::a9fe:a9fe]/":         false,
		"http://[fd00:ec2::254]/":           false,
		"http://100.100.100.200/":           false,
		"http://0.0.0.0:1/":                 false,
		"http://[::]:1/":                    false,
		"http://[::ffff:0.0.0.0]:1/":        false,
		"http://255.255.255.255/":           false,
		"http://localhost:1/token":          true,
		"http://127.0.0.2:1/token":          true,
		"http://[::1]:1/token":              true,
		"http://[::ffff:127.0.0.2]:1/token": true,
		"http://10.0.0.1/token":             true,
		"http://192.168.0.1/token":          true,
		"http://[fd12::1]/token":            true,
		"http://2130706433:1/token":         true, // 127.0.0.1 as some resolvers read it
	} {
		challenge(r, realm)
		_, err := registry.New(opts).Pull(t.Context(), q)
		refused(t, err, release.RegistryNotAllowed)
		if named {
			continue
		}
		q := q
		q.Registry.Realms = []string{strings.Trim(strings.Split(strings.TrimPrefix(realm, "http://"), "/")[0], "/")}
		_, err = registry.New(opts).Pull(t.Context(), q)
		refused(t, err, release.RegistryNotAllowed)
	}
	for _, req := range r.Requests() {
		if strings.HasPrefix(req.Authorization, "Basic ") {
			t.Errorf("a password was sent for %s", req.Path)
		}
	}
}

// TestNamesThatLookAlike: a realm that only looks like the registry's host is another host.
func TestNamesThatLookAlike(t *testing.T) {
	r, q, opts := private(t, registrytest.Options{Bearer: true})
	for _, host := range []string{
		"127.0.0.1.evil.example", "127.0.0.1@evil.example", "１２７.0.0.1", "127。0。0。1", "127.0.0.1%00.evil.example", "xn--127-evil.example",
	} {
		challenge(r, "http://"+host+"/token")
		_, err := registry.New(opts).Pull(t.Context(), q)
		if refusal := registry.AsRefusal(err); refusal == nil || refusal.Reason != release.RegistryNotAllowed && refusal.Reason != release.AccessDenied {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, req := range r.Requests() {
		if req.Authorization != "" {
			t.Errorf("%s was sent to %s", req.Authorization, req.Path)
		}
	}
}

// TestRealmThatMoves: a token server that was found good is not left for another that the registry names later.
func TestRealmThatMoves(t *testing.T) {
	r, q, opts := private(t, registrytest.Options{Bearer: true})
	client := registry.New(opts)
	if _, err := client.Pull(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	thief := newStranger(t, r.ServeHTTP)
	r.Wrap(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="registrytest",scope="repository:ci/app:pull"`, thief.url))
			w.WriteHeader(http.StatusUnauthorized)
		})
	})
	_, err := client.Pull(t.Context(), q)
	refused(t, err, release.RegistryNotAllowed)
	if n, shown := thief.sent(); n > 0 {
		t.Errorf("it was sent %s", shown)
	}
}

// TestBasicAtTheRealm: a token server that asks for the password itself, or sends for tokens elsewhere, is answered no further.
func TestBasicAtTheRealm(t *testing.T) {
	thief := newStranger(t, answers(http.StatusUnauthorized))
	r, q, opts := private(t, registrytest.Options{Bearer: true})
	when(r, "/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, thief.url))
		w.WriteHeader(http.StatusUnauthorized)
	})
	_, err := registry.New(opts).Pull(t.Context(), q)
	refused(t, err, release.AccessDenied)
	if n, shown := thief.sent(); n > 0 {
		t.Errorf("it was sent %s", shown)
	}
}

// TestExpiringToken: a token that is good for seconds is asked for anew, as often as it takes.
func TestExpiringToken(t *testing.T) {
	r, q, opts := private(t, registrytest.Options{Bearer: true, TokenLife: 2 * time.Second})
	client := registry.New(opts)
	for n := range 2 {
		if n > 0 {
			time.Sleep(2 * time.Second)
		}
		if _, err := client.Pull(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		if issued := len(r.Tokens()); issued < n+1 {
			t.Errorf("%d tokens were issued for %d looks", issued, n+1)
		}
	}
}

// TestIdentityToken: what docker login stores for some registries is exchanged for a token, and shown to nobody else.
func TestIdentityToken(t *testing.T) {
	r, q, opts := private(t, registrytest.Options{Bearer: true, IdentityToken: "1dentity"})
	opts.CredentialsDir = credentials(t, map[string]string{
		"pull/.dockerconfigjson": fmt.Sprintf(`{"auths": {%q: {"identitytoken": "1dentity"}}}`, r.Host),
	})
	if _, err := registry.New(opts).Pull(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if lines := asked(r); !slices.Contains(lines, "POST /token") {
		t.Errorf("it was asked %v", lines)
	}
}

// TestDeniedTwice: a credential that is denied is read again once, since its file may just have changed, and not a third time.
func TestDeniedTwice(t *testing.T) {
	r, q, opts := private(t, registrytest.Options{})
	q.Registry.Credentials = "wrong"
	_, err := registry.New(opts).Pull(t.Context(), q)
	refused(t, err, release.AccessDenied)
	if sent := authorizations(r); len(sent) != 2 {
		t.Errorf("the wrong password was sent %d times", len(sent))
	}
	var rotate sync.Once
	r.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") != "" {
				rotate.Do(func() {
					if err := os.WriteFile(filepath.Join(opts.CredentialsDir, "wrong", "password"), []byte("s3cret"), 0o600); err != nil {
						t.Error(err)
					}
				})
			}
			next.ServeHTTP(w, req)
		})
	})
	if _, err := registry.New(opts).Pull(t.Context(), q); err != nil {
		t.Errorf("with a password that was changed meanwhile: %v", err)
	}
}
