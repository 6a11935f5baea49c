package reconcile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

// described is an image with something of everything that the rules look at.
func described() registrytest.Image {
	return registrytest.Image{
		Seed: "image", Platforms: []string{"linux/amd64", "linux/arm64"}, Created: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		Annotations: map[string]string{"org.opencontainers.image.base.name": "docker.io/library/debian:12"},
		Config: registrytest.Config{
			User: "app", Entrypoint: []string{"/app"}, Cmd: []string{"serve"}, WorkingDir: "/srv", StopSignal: "SIGINT",
			ExposedPorts: map[string]struct{}{"80/tcp": {}}, Volumes: map[string]struct{}{"/data": {}},
			Env:    []string{"PATH=/usr/local/go/bin:/usr/bin", "GOFLAGS=-a", "COLOUR=red", "UNUSED=1"},
			Labels: map[string]string{"team": "build", "colour": "red"},
			Shell:  []string{"/bin/bash"}, OnBuild: []string{"RUN true"}, Healthcheck: &registrytest.Healthcheck{Test: []string{"CMD", "check"}},
		},
	}
}

// TestEveryRuleIsFoundInARealRegistry pushes two images for each rule and compares them as a user does. The other findings, if
// any, follow from the same change.
func TestEveryRuleIsFoundInARealRegistry(t *testing.T) {
	r := startRegistry(t, registrytest.Options{})
	client := registry.New(registry.Options{})
	put := func(repository, tag string, b registrytest.Built) {
		if err := r.Put(t.Context(), repository, tag, b); err != nil {
			t.Fatal(err)
		}
	}
	changes := map[string]func(*registrytest.Image){
		"platform-removed":      func(i *registrytest.Image) { i.Platforms = i.Platforms[:1] },
		"platform-added":        func(i *registrytest.Image) { i.Platforms = append(i.Platforms, "linux/s390x") },
		"index-to-single":       func(i *registrytest.Image) { i.Platforms, i.Single = i.Platforms[:1], true },
		"artifact-type-changed": nil, // below
		"platform-mismatch":     nil, // below
		"repository-changed":    nil, // below
		"entrypoint-changed":    func(i *registrytest.Image) { i.Config.Entrypoint = nil },
		"cmd-changed":           func(i *registrytest.Image) { i.Config.Cmd = []string{"help"} },
		"user-changed":          func(i *registrytest.Image) { i.Config.User = "1000" },
		"user-to-root":          func(i *registrytest.Image) { i.Config.User = "" },
		"workdir-changed":       func(i *registrytest.Image) { i.Config.WorkingDir = "/" },
		"port-removed":          func(i *registrytest.Image) { i.Config.ExposedPorts = nil },
		"port-added":            func(i *registrytest.Image) { i.Config.ExposedPorts = map[string]struct{}{"80": {}, "443": {}} },
		"volume-removed":        func(i *registrytest.Image) { i.Config.Volumes = nil },
		"volume-added":          func(i *registrytest.Image) { i.Config.Volumes = map[string]struct{}{"/data": {}, "/more": {}} },
		"env-removed":           func(i *registrytest.Image) { i.Config.Env = i.Config.Env[:3] },
		"env-changed":           func(i *registrytest.Image) { i.Config.Env = append(slices.Clone(i.Config.Env), "COLOUR=blue") },
		"env-path-lost":         func(i *registrytest.Image) { i.Config.Env = append(slices.Clone(i.Config.Env), "PATH=/usr/bin") },
		"stopsignal-changed":    func(i *registrytest.Image) { i.Config.StopSignal = "" },
		"shell-changed":         func(i *registrytest.Image) { i.Config.Shell = nil },
		"onbuild-changed":       func(i *registrytest.Image) { i.Config.OnBuild = nil },
		"healthcheck-changed":   func(i *registrytest.Image) { i.Config.Healthcheck = nil },
		"label-removed":         func(i *registrytest.Image) { i.Config.Labels = nil },
		"base-changed": func(i *registrytest.Image) {
			i.Annotations = map[string]string{"org.opencontainers.image.base.name": "alpine"}
		},
		"created-regressed": func(i *registrytest.Image) { i.Created = i.Created.AddDate(0, 0, -1) },
		"size-growth":       func(i *registrytest.Image) { i.LayerSize = 20_000 },
	}
	for _, rule := range contract.Rules() {
		change, known := changes[rule]
		if !known {
			t.Errorf("no images show %s", rule)
			continue
		}
		for _, single := range []bool{false, true} {
			old := described()
			if single && (strings.HasPrefix(rule, "platform-") || rule == "index-to-single") {
				continue // a manifest has one platform
			}
			if single {
				old.Platforms, old.Single = old.Platforms[:1], true
			}
			image := old
			if change != nil {
				change(&image)
			}
			built, repository := image.Build(), rule
			switch rule {
			case "repository-changed":
				repository += "-elsewhere"
			case "platform-mismatch":
				var index registrytest.Index
				if err := json.Unmarshal(built.Documents[built.Root.Digest].Body, &index); err != nil {
					t.Fatal(err)
				}
				index.Manifests[1].Platform.Architecture = "riscv64"
				built.Root = built.Add(built.Root.MediaType, index)
			case "artifact-type-changed":
				m := struct {
					registrytest.Manifest
					ArtifactType string `json:"artifactType"`
				}{built.Manifests[0], "application/vnd.acme.model"}
				entry := built.Add(m.MediaType, m)
				entry.Platform = &registrytest.Platform{OS: "linux", Architecture: "amd64"}
				if built.Root = entry; !single {
					built.Root = built.Add("application/vnd.oci.image.index.v1+json", registrytest.Index{
						SchemaVersion: 2, MediaType: "application/vnd.oci.image.index.v1+json", Manifests: []registrytest.Descriptor{entry},
					})
				}
			}
			put(rule, "old", old.Build())
			put(repository, "new", built)
			d, err := Diff(t.Context(), client, DiffQuery{Old: referenceOf(t, r.Host, rule, "old"), New: referenceOf(t, r.Host, repository, "new")})
			if err != nil {
				t.Errorf("%s, single %t: %v", rule, single, err)
				continue
			}
			if !slices.ContainsFunc(d.Findings, func(f contract.Finding) bool { return f.Rule == rule }) {
				t.Errorf("%s, single %t: found %v", rule, single, d.Findings)
			}
			same, err := Diff(t.Context(), client, DiffQuery{Old: referenceOf(t, r.Host, rule, "old"), New: referenceOf(t, r.Host, rule, "old")})
			if err != nil || len(same.Findings) > 0 {
				t.Errorf("%s, single %t: an image compared with itself: %v, %v", rule, single, same.Findings, err)
			}
		}
	}
}

func referenceOf(t *testing.T, host, repository, tag string) release.Reference {
	t.Helper()
	reference, err := release.NewReference(host, repository, tag, "")
	if err != nil {
		t.Fatal(err)
	}
	return reference
}

// A comparison of two images costs, for each, the tag, what it names, and two documents for each platform; by digest, and once
// read, nothing.
func TestWhatADiffCosts(t *testing.T) {
	r := startRegistry(t, registrytest.Options{})
	var q DiffQuery
	for i, to := range []*release.Reference{&q.Old, &q.New} {
		tag := fmt.Sprint(i)
		digest, err := r.Push(t.Context(), "acme/go", tag, registrytest.Image{
			Seed: tag, Platforms: []string{"linux/amd64", "linux/arm64", "linux/s390x"}, Layers: []string{"a", "b", "c"},
		})
		if err != nil {
			t.Fatal(err)
		}
		*to = referenceOf(t, r.Host, "acme/go", tag)
		if i == 1 {
			*to = to.Pin(digest)
		}
	}
	r.Requests()
	client := registry.New(registry.Options{})
	for _, want := range []int{(2 + 2*3) + (1 + 2*3), 1} {
		if _, err := Diff(t.Context(), client, q); err != nil {
			t.Fatal(err)
		}
		if asked := r.Requests(); len(asked) != want {
			t.Errorf("it took %d requests, want %d: %v", len(asked), want, asked)
		}
	}
}
