package registry_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

// start runs an embedded registry until the test ends.
func start(t testing.TB, options registrytest.Options) *registrytest.Registry {
	t.Helper()
	r, err := registrytest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// put stores an image.
func put(t testing.TB, r *registrytest.Registry, repository, tag string, b registrytest.Built) {
	t.Helper()
	if err := r.Put(t.Context(), repository, tag, b); err != nil {
		t.Fatal(err)
	}
}

// query is one that names the registry in the policy, as tests on the loopback interface must.
func query(host, repository, tag string) registry.Query {
	reference, err := release.NewReference(host, repository, tag, "")
	if err != nil {
		panic(err)
	}
	return registry.Query{Name: "image", Image: release.Image{Reference: reference}, Registry: release.Registry{Host: host}, Listed: true}
}

// refused fails the test unless err is a refusal for the reason, and returns it.
func refused(t testing.TB, err error, reason release.Reason) *registry.Refusal {
	t.Helper()
	var refusal *registry.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != reason {
		t.Fatalf("got %v, want %s", err, reason)
	}
	return refusal
}

// asked is what a registry was asked, without the digests.
func asked(r *registrytest.Registry) []string {
	var lines []string
	for _, req := range r.Requests() {
		path, _, _ := strings.Cut(req.Path, "sha256:")
		lines = append(lines, req.Method+" "+path)
	}
	slices.Sort(lines)
	return lines
}

func TestPull(t *testing.T) {
	for _, docker := range []bool{false, true} {
		t.Run(fmt.Sprintf("docker=%t", docker), func(t *testing.T) {
			r := start(t, registrytest.Options{})
			built := registrytest.Image{Seed: "a", Platforms: []string{"linux/amd64", "linux/arm64/v8"}, Attestation: true, Docker: docker, Config: registrytest.Config{Entrypoint: []string{"/app"}}}.Build()
			put(t, r, "ci/app", "1", built)
			want := registry.Image{Digest: built.Root.Digest, MediaType: built.Root.MediaType}
			for i, p := range []release.Platform{"linux/amd64", "linux/arm64"} {
				m := built.Manifests[i]
				size := m.Config.Size + m.Layers[0].Size + m.Layers[1].Size
				want.Platforms = append(want.Platforms, registry.Platform{Platform: p, Digest: digestOf(built, m), Size: size})
				want.Size += size
			}
			want.Contract = contract.Contract{Index: true, Images: []contract.Image{{
				Platforms: []contract.Platform{
					{Name: "linux/amd64", Size: want.Platforms[0].Size},
					{Name: "linux/arm64", Size: want.Platforms[1].Size},
				},
				Entrypoint: []string{"/app"},
			}}}

			client := registry.New(registry.Options{})
			got, err := client.Pull(t.Context(), query(r.Host, "ci/app", "1"))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			first := []string{
				"GET /v2/ci/app/blobs/", "GET /v2/ci/app/blobs/", // configs
				"GET /v2/ci/app/manifests/", "GET /v2/ci/app/manifests/", "GET /v2/ci/app/manifests/",
				"HEAD /v2/ci/app/blobs/", "HEAD /v2/ci/app/blobs/", "HEAD /v2/ci/app/blobs/", "HEAD /v2/ci/app/blobs/", // layers
				"HEAD /v2/ci/app/manifests/1",
			}
			if lines := asked(r); !slices.Equal(lines, first) {
				t.Errorf("the first look asked\n%s", strings.Join(lines, "\n"))
			}

			again, err := client.Pull(t.Context(), query(r.Host, "ci/app", "1"))
			if err != nil || !reflect.DeepEqual(again, want) {
				t.Errorf("the second look found %v, %v", again, err)
			}
			if lines := asked(r); !slices.Equal(lines, []string{"HEAD /v2/ci/app/manifests/1"}) {
				t.Errorf("the second look asked\n%s", strings.Join(lines, "\n"))
			}
		})
	}
}

// TestSamePlatformTwice: the first entry wins, as it does for those who pull.
func TestSamePlatformTwice(t *testing.T) {
	r := start(t, registrytest.Options{})
	built := registrytest.Image{Seed: "a", Platforms: []string{"linux/amd64", "linux/arm64", "linux/arm64/v8"}}.Build()
	put(t, r, "ci/app", "1", built)
	image, err := registry.New(registry.Options{}).Pull(t.Context(), query(r.Host, "ci/app", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(image.Platforms) != 2 || image.Platforms[1].Digest != digestOf(built, built.Manifests[1]) {
		t.Errorf("found %v", image.Platforms)
	}
}

// digestOf finds the digest that a built manifest has.
func digestOf(b registrytest.Built, m registrytest.Manifest) release.Digest {
	return b.Add(m.MediaType, m).Digest
}
