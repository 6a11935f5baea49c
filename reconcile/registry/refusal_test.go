package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

// when puts a handler before the requests of a registry whose path has a part.
func when(r *registrytest.Registry, part string, do http.HandlerFunc) {
	r.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, part) {
				do(w, req)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
}

// answers is a handler that answers with a status.
func answers(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"

var twoPlatforms = registrytest.Image{Seed: "two", Platforms: []string{"linux/amd64", "linux/arm64"}}

// TestRefusals has an image for each thing that can be wrong with one.
func TestRefusals(t *testing.T) {
	built := twoPlatforms.Build()
	layer := built.Manifests[1].Layers[1].Digest
	config := built.Manifests[1].Config.Digest
	manifest := digestOf(built, built.Manifests[1])
	other := registrytest.Image{Seed: "another"}.Build()
	for name, test := range map[string]struct {
		change func(*registrytest.Built)    // what is pushed
		serve  func(*registrytest.Registry) // how it is served
		ask    func(*registry.Query)
		want   release.Reason // empty: it can be pulled
	}{
		"fine":              {},
		"no such tag":       {ask: tag("2"), want: release.ImageNotFound},
		"no such digest":    {ask: pin(other.Root.Digest), want: release.ImageNotFound},
		"no such repo":      {ask: func(q *registry.Query) { q.Image.Repository = "ci/none" }, want: release.ImageNotFound},
		"the digest counts": {ask: func(q *registry.Query) { tag("gone")(q); pin(built.Root.Digest)(q) }},
		"layer missing":     {change: without(layer), want: release.LayerMissing},
		"config missing":    {change: without(config), want: release.LayerMissing},
		"foreign layer": {
			change: remake(func(m *registrytest.Manifest) {
				m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
				m.Layers[0].URLs = []string{"http://127.0.0.1:1/never"}
				m.Layers[0].Digest = other.Root.Digest
			}),
			want: release.LayerMissing,
		},
		"platform missing":     {ask: require("linux/s390x"), want: release.PlatformMissing},
		"manifest missing":     {change: without(manifest), want: release.PlatformMissing},
		"its manifest missing": {change: without(manifest), ask: require("linux/arm64"), want: release.PlatformMissing},
		"another is missing":   {change: without(manifest), ask: require("linux/amd64")},
		"another manifest": {
			serve: func(r *registrytest.Registry) {
				when(r, "/manifests/"+string(manifest), func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", other.Documents[other.Root.Digest].MediaType)
					_, _ = w.Write(other.Documents[other.Root.Digest].Body)
				})
			},
			ask:  require("linux/arm64"),
			want: release.DigestMismatch,
		},
		"a broken one": {
			serve: func(r *registrytest.Registry) { when(r, "/manifests/"+string(manifest), answers(500)) },
			ask:   require("linux/amd64"),
			want:  release.RegistryUnavailable,
		},
		"another config":      {serve: blob(config, "{}"), want: release.DigestMismatch},
		"a longer config":     {serve: blob(config, string(built.Blobs[config])+" "), want: release.DigestMismatch},
		"another layer":       {serve: blob(layer, strings.Repeat("x", len(built.Blobs[layer]))), ask: content, want: release.DigestMismatch},
		"a longer layer":      {serve: blob(layer, string(built.Blobs[layer])+"x"), ask: content, want: release.DigestMismatch},
		"a longer layer seen": {serve: blob(layer, string(built.Blobs[layer])+"x"), want: release.DigestMismatch},
		"all content":         {ask: content},
		"wrong layer size": {
			change: remake(func(m *registrytest.Manifest) { m.Layers[0].Size++ }),
			want:   release.DigestMismatch,
		},
		"two layer sizes": {
			change: remake(func(m *registrytest.Manifest) {
				m.Layers = append(m.Layers, m.Layers[0])
				m.Layers[2].Size++
			}),
			want: release.DigestMismatch,
		},
		"negative size":   {change: remake(func(m *registrytest.Manifest) { m.Layers[0].Size = -1 }), want: release.ManifestInvalid},
		"huge size":       {change: remake(func(m *registrytest.Manifest) { m.Layers[0].Size = 1 << 62 }), want: release.ManifestInvalid},
		"no layer digest": {change: remake(func(m *registrytest.Manifest) { m.Layers[0].Digest = "" }), want: release.ManifestInvalid},
		"huge config": {
			change: remake(func(m *registrytest.Manifest) { m.Config.Size = 1 << 30 }),
			want:   release.ManifestInvalid,
		},
		"artifact": {
			change: remake(func(m *registrytest.Manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" }),
			want:   release.ManifestInvalid,
		},
		"many layers": {
			change: remake(func(m *registrytest.Manifest) {
				for range 600 {
					m.Layers = append(m.Layers, m.Layers[0])
				}
			}),
			want: release.ManifestInvalid,
		},
		"nested index": {
			change: func(b *registrytest.Built) {
				b.Root = b.Add(b.Root.MediaType, registrytest.Index{
					SchemaVersion: 2, MediaType: b.Root.MediaType, Manifests: []registrytest.Descriptor{b.Root},
				})
			},
			want: release.ManifestInvalid,
		},
		"empty index":         {change: reindex(func(i *registrytest.Index) { i.Manifests = nil }), want: release.ManifestInvalid},
		"wrong config size":   {change: remake(func(m *registrytest.Manifest) { m.Config.Size++ }), want: release.DigestMismatch},
		"wrong manifest type": {change: reindex(func(i *registrytest.Index) { i.Manifests[0].MediaType = dockerManifest }), want: release.ManifestInvalid},
		"no digest": {
			change: func(b *registrytest.Built) {
				b.Root = b.Add(b.Manifests[0].MediaType, map[string]any{
					"schemaVersion": 2, "config": b.Manifests[0].Config, "layers": []any{map[string]any{"size": 1}},
				})
			},
			want: release.ManifestInvalid,
		},
		"manifest and index": {
			change: func(b *registrytest.Built) {
				m := b.Manifests[0]
				b.Root = b.Add(m.MediaType, map[string]any{
					"schemaVersion": 2, "config": m.Config, "layers": m.Layers, "manifests": indexOf(b).Manifests,
				})
			},
			want: release.ManifestInvalid,
		},
		"wrong manifest size": {change: reindex(func(i *registrytest.Index) { i.Manifests[0].Size++ }), want: release.ManifestInvalid},
		"no platform":         {change: reindex(func(i *registrytest.Index) { i.Manifests[0].Platform = nil })},
		"odd platform": {
			change: reindex(func(i *registrytest.Index) { i.Manifests[0].Platform.OS = strings.Repeat("LINUX\x00", 1000) }),
			want:   release.ManifestInvalid,
		},
		"index and manifest": {
			change: func(b *registrytest.Built) {
				b.Root = b.Add(b.Root.MediaType, struct {
					registrytest.Index
					Layers []registrytest.Descriptor `json:"layers"`
				}{indexOf(b), b.Manifests[0].Layers})
			},
			want: release.ManifestInvalid,
		},
		"schema 1": {
			serve: func(r *registrytest.Registry) {
				when(r, "/manifests/", func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+json")
					_, _ = io.WriteString(w, `{"schemaVersion":1,"name":"a","tag":"1","architecture":"amd64","fsLayers":[],"history":[]}`)
				})
			},
			want: release.ManifestInvalid,
		},
		"a web page": {
			serve: func(r *registrytest.Registry) {
				when(r, "/manifests/", func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/html")
					_, _ = io.WriteString(w, "<html>welcome</html>")
				})
			},
			want: release.ManifestInvalid,
		},
		"endless manifest": {
			serve: func(r *registrytest.Registry) {
				when(r, "/manifests/"+string(built.Root.Digest), func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", built.Root.MediaType)
					for chunk := make([]byte, 1<<16); ; {
						if _, err := w.Write(chunk); err != nil {
							return
						}
					}
				})
			},
			want: release.ManifestInvalid,
		},
		"2 GB manifest": {
			serve: func(r *registrytest.Registry) {
				when(r, "/manifests/"+string(built.Root.Digest), func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", built.Root.MediaType)
					w.Header().Set("Content-Length", "2147483648")
				})
			},
			want: release.ManifestInvalid,
		},
		"a manifest compressed all the same": {
			serve: func(r *registrytest.Registry) {
				when(r, "/blobs/"+string(config), func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Encoding", "gzip")
					_, _ = io.WriteString(w, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
				})
			},
			want: release.DigestMismatch,
		},
		"too large":      {ask: func(q *registry.Query) { q.MaxSize = 4000 }, want: release.ImageTooLarge},
		"large enough":   {ask: func(q *registry.Query) { q.MaxSize = 8000 }},
		"denied":         {serve: status("/manifests/", 403), want: release.AccessDenied},
		"layers denied":  {serve: status("/blobs/", 403), want: release.AccessDenied},
		"too fast":       {serve: status("/manifests/", 429), want: release.RateLimited},
		"broken":         {serve: status("/manifests/", 500), want: release.RegistryUnavailable},
		"layers broken":  {serve: status("/blobs/"+string(layer), 503), want: release.RegistryUnavailable},
		"no registry":    {serve: status("/", 405), want: release.RegistryUnavailable},
		"redirect loop":  {serve: redirect("/manifests/", "/manifests/again"), want: release.RegistryUnavailable},
		"redirect away":  {serve: redirect("/blobs/"+string(layer), "http://127.0.0.1:1/"), want: release.RegistryNotAllowed},
		"redirect dials": {serve: redirect("/blobs/"+string(layer), "http://169.254.169.254/latest"), want: release.RegistryNotAllowed},
		"redirect file":  {serve: redirect("/blobs/"+string(layer), "file:///etc/passwd"), want: release.RegistryNotAllowed},
		"cut": {
			serve: func(r *registrytest.Registry) {
				when(r, "/blobs/"+string(config), func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Length", fmt.Sprint(len(built.Blobs[config])))
					_, _ = w.Write(built.Blobs[config][:10])
				})
			},
			want: release.RegistryUnavailable,
		},
		"silent": {
			serve: func(r *registrytest.Registry) {
				when(r, "/manifests/", func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
			},
			want: release.RegistryUnavailable,
		},
		"trickling": {
			serve: func(r *registrytest.Registry) {
				when(r, "/manifests/"+string(built.Root.Digest), func(w http.ResponseWriter, req *http.Request) {
					w.Header().Set("Content-Type", built.Root.MediaType)
					for range 600 {
						time.Sleep(10 * time.Millisecond)
						if _, err := io.WriteString(w, " "); err != nil {
							return
						}
						_ = http.NewResponseController(w).Flush()
					}
				})
			},
			want: release.RegistryUnavailable,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, registrytest.Options{})
			pushed := twoPlatforms.Build()
			if test.change != nil {
				test.change(&pushed)
			}
			put(t, r, "ci/app", "1", pushed)
			if test.serve != nil {
				test.serve(r)
			}
			q := query(r.Host, "ci/app", "1")
			if test.ask != nil {
				test.ask(&q)
			}
			image, err := registry.New(registry.Options{Timeout: time.Second}).Pull(t.Context(), q)
			if test.want == "" {
				if err != nil || image.Digest != pushed.Root.Digest {
					t.Fatalf("got %s, %v", image.Digest, err)
				}
				return
			}
			if refusal := refused(t, err, test.want); len(refusal.Error()) > 600 {
				t.Errorf("a stranger's text is in the error: %v", refusal)
			}
			if image.Digest != "" {
				t.Errorf("a refusal came with an image: %v", image)
			}
		})
	}
}

func tag(tag string) func(*registry.Query) {
	return func(q *registry.Query) { q.Image.Tag = tag }
}

func pin(d release.Digest) func(*registry.Query) {
	return func(q *registry.Query) { q.Image.Digest = d }
}

func require(platforms ...release.Platform) func(*registry.Query) {
	return func(q *registry.Query) { q.Required = platforms }
}

func content(q *registry.Query) { q.Content = true }

func status(part string, code int) func(*registrytest.Registry) {
	return func(r *registrytest.Registry) { when(r, part, answers(code)) }
}

func redirect(part, to string) func(*registrytest.Registry) {
	return func(r *registrytest.Registry) {
		when(r, part, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusTemporaryRedirect)
		})
	}
}

// blob serves something else under a digest.
func blob(d release.Digest, body string) func(*registrytest.Registry) {
	return func(r *registrytest.Registry) {
		when(r, "/blobs/"+string(d), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = io.WriteString(w, body)
		})
	}
}

// without leaves something out of what is pushed.
func without(d release.Digest) func(*registrytest.Built) {
	return func(b *registrytest.Built) {
		delete(b.Blobs, d)
		delete(b.Documents, d)
	}
}

// remake changes the last platform's manifest, and the index with it.
func remake(change func(*registrytest.Manifest)) func(*registrytest.Built) {
	return func(b *registrytest.Built) {
		m := b.Manifests[len(b.Manifests)-1]
		change(&m)
		reindex(func(i *registrytest.Index) {
			last := &i.Manifests[len(i.Manifests)-1]
			d := b.Add(m.MediaType, m)
			last.Digest, last.Size = d.Digest, d.Size
		})(b)
	}
}

func reindex(change func(*registrytest.Index)) func(*registrytest.Built) {
	return func(b *registrytest.Built) {
		i := indexOf(b)
		change(&i)
		b.Root = b.Add(b.Root.MediaType, i)
	}
}

func indexOf(b *registrytest.Built) registrytest.Index {
	var i registrytest.Index
	if err := json.Unmarshal(b.Documents[b.Root.Digest].Body, &i); err != nil {
		panic(err)
	}
	return i
}

// TestUnreachable is about registries that are not there.
func TestUnreachable(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	client := registry.New(registry.Options{Timeout: time.Second})
	_, err = client.Pull(t.Context(), query(closed.Addr().String(), "ci/app", "1"))
	refused(t, err, release.RegistryUnavailable)

	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	_, err = client.Pull(t.Context(), query(mute.Addr().String(), "ci/app", "1"))
	refused(t, err, release.RegistryUnavailable)

	secure := start(t, registrytest.Options{TLS: true})
	put(t, secure, "ci/app", "1", twoPlatforms.Build())
	_, err = client.Pull(t.Context(), query(secure.Host, "ci/app", "1"))
	refused(t, err, release.RegistryUnavailable)
	if !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the error does not say that it is the certificate: %v", err)
	}
	if lines := asked(secure); len(lines) > 0 {
		t.Errorf("a registry that nobody vouches for was asked %v", lines)
	}
	trusting := registry.New(registry.Options{CAFile: file(t, "ca.pem", string(secure.CA))})
	if _, err := trusting.Pull(t.Context(), query(secure.Host, "ci/app", "1")); err != nil {
		t.Error(err)
	}
}

// TestOurs is about mistakes that are not the registry's: they must never be told to an author.
func TestOurs(t *testing.T) {
	r := start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	outside := credentials(t, map[string]string{"pull/username": "puller", "pull/password": "secret", "sub/pull/username": "no password"})
	for name, test := range map[string]struct {
		options    registry.Options
		credential string
	}{
		"no CA file":              {options: registry.Options{CAFile: filepath.Join(t.TempDir(), "none")}},
		"no certificate in it":    {options: registry.Options{CAFile: file(t, "ca.pem", "empty")}},
		"no credentials dir":      {credential: "pull"},
		"no such credential":      {options: registry.Options{CredentialsDir: t.TempDir()}, credential: "pull"},
		"a credential's way out":  {options: registry.Options{CredentialsDir: filepath.Join(outside, "sub")}, credential: "../pull"},
		"a docker config without": {options: registry.Options{CredentialsDir: credentials(t, map[string]string{"pull/.dockerconfigjson": `{"auths":{}}`})}, credential: "pull"},
	} {
		q := query(r.Host, "ci/app", "1")
		q.Registry.Credentials = test.credential
		_, err := registry.New(test.options).Pull(t.Context(), q)
		if refusal := registry.AsRefusal(err); refusal == nil || refusal.Reason != release.InternalError {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := registry.New(registry.Options{}).Pull(ended, query(r.Host, "ci/app", "1"))
	refused(t, err, release.InternalError)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the end of the daemon is not recognised in %v", err)
	}
	if lines := asked(r); len(lines) > 0 {
		t.Errorf("asked %v", lines)
	}
}

// file writes a file in a directory of its own.
func file(t testing.TB, name, content string) string {
	t.Helper()
	return filepath.Join(credentials(t, map[string]string{name: content}), name)
}

// TestRetryAfter: a registry that asks for quiet gets it, and no other registry pays for that.
func TestRetryAfter(t *testing.T) {
	limited, other := start(t, registrytest.Options{}), start(t, registrytest.Options{})
	put(t, limited, "ci/app", "1", twoPlatforms.Build())
	put(t, other, "ci/app", "1", twoPlatforms.Build())
	when(limited, "/manifests/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	client := registry.New(registry.Options{})
	_, err := client.Pull(t.Context(), query(limited.Host, "ci/app", "1"))
	if refusal := refused(t, err, release.RateLimited); refusal.RetryAfter != 2*time.Second {
		t.Errorf("asked to wait %s", refusal.RetryAfter)
	}
	until := time.Now().Add(2 * time.Second)
	limited.Wrap(nil)
	limited.Requests()
	for range 3 {
		_, err := client.Pull(t.Context(), query(limited.Host, "ci/app", "1"))
		if refusal := refused(t, err, release.RateLimited); refusal.RetryAfter <= 0 || refusal.RetryAfter > 2*time.Second {
			t.Errorf("asked to wait %s", refusal.RetryAfter)
		}
	}
	if lines := asked(limited); len(lines) > 0 {
		t.Errorf("asked in the time of quiet: %v", lines)
	}
	if _, err := client.Pull(t.Context(), query(other.Host, "ci/app", "1")); err != nil {
		t.Error(err)
	}
	time.Sleep(time.Until(until))
	if _, err := client.Pull(t.Context(), query(limited.Host, "ci/app", "1")); err != nil {
		t.Error(err)
	}
}

// TestRetryAfterDenied: whatever else a registry says with it, nobody sleeps here; the pause is for whoever asked to keep.
func TestRetryAfterDenied(t *testing.T) {
	r := start(t, registrytest.Options{})
	put(t, r, "ci/app", "1", twoPlatforms.Build())
	when(r, "/manifests/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusForbidden)
	})
	client := registry.New(registry.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 {
		_, err := client.Pull(ctx, query(r.Host, "ci/app", "1"))
		refused(t, err, release.AccessDenied)
	}
}

// TestRedirectLoop: a loop ends after five redirects, not when the time is over.
func TestRedirectLoop(t *testing.T) {
	r := start(t, registrytest.Options{})
	redirect("/manifests/", "/v2/ci/app/manifests/again")(r)
	_, err := registry.New(registry.Options{}).Pull(t.Context(), query(r.Host, "ci/app", "1"))
	refused(t, err, release.RegistryUnavailable)
	if n := len(r.Requests()); n != 6 {
		t.Errorf("%d requests", n)
	}
}

// TestNoDigestHeader: some registries do not say a digest in answer to a HEAD.
func TestNoDigestHeader(t *testing.T) {
	r := start(t, registrytest.Options{})
	built := twoPlatforms.Build()
	put(t, r, "ci/app", "1", built)
	when(r, "/manifests/1", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", built.Root.MediaType)
		_, _ = w.Write(built.Documents[built.Root.Digest].Body)
	})
	image, err := registry.New(registry.Options{}).Pull(t.Context(), query(r.Host, "ci/app", "1"))
	if err != nil || image.Digest != built.Root.Digest {
		t.Errorf("got %s, %v", image.Digest, err)
	}
}

// TestDistribution asks the registry that most people run, over TLS, with users.
func TestDistribution(t *testing.T) {
	d, err := registrytest.StartDistribution(t.TempDir(), registrytest.Options{User: "puller", Password: "secret", TLS: true})
	switch {
	case errors.Is(err, exec.ErrNotFound) && os.Getenv("TIDEWAITER_TEST_REQUIRE") == "":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	defer d.Close()
	built := twoPlatforms.Build()
	if err := d.Put(t.Context(), "ci/app", "1", built); err != nil {
		t.Fatal(err)
	}
	options := registry.Options{
		CredentialsDir: credentials(t, map[string]string{"pull/username": "puller\n", "pull/password": "secret\n", "wrong/username": "puller", "wrong/password": "guess"}),
		CAFile:         file(t, "ca.pem", string(d.CA)),
	}
	client := registry.New(options)
	ask := func(credential string, change func(*registry.Query)) (registry.Image, error) {
		q := query(d.Host, "ci/app", "1")
		q.Registry.Credentials = credential
		change(&q)
		return client.Pull(t.Context(), q)
	}
	image, err := ask("pull", content)
	if err != nil || image.Digest != built.Root.Digest {
		t.Fatalf("got %s, %v", image.Digest, err)
	}
	asIs := func(*registry.Query) {}
	for _, test := range []struct {
		credential string
		change     func(*registry.Query)
		want       release.Reason
	}{
		{"", asIs, release.AccessDenied},
		{"wrong", asIs, release.AccessDenied},
		{"pull", tag("2"), release.ImageNotFound},
		{"pull", pin("sha256:" + release.Digest(strings.Repeat("0", 64))), release.ImageNotFound},
		{"pull", require("linux/s390x"), release.PlatformMissing},
	} {
		_, err := ask(test.credential, test.change)
		refused(t, err, test.want)
	}
	options.CAFile = ""
	client = registry.New(options)
	_, err = ask("pull", asIs)
	refused(t, err, release.RegistryUnavailable)
}

// credentials writes a directory of credentials.
func credentials(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
