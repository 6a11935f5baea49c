package contract

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// spec is what a spec says that the rules look at.
type spec struct {
	repository  string
	env, labels []string
}

func (s spec) set(c Contract) Contract {
	c.Repository, c.ContractEnv, c.ContractLabels = s.repository, s.env, s.labels
	return c
}

// breaking lists, rule by rule, a change that the rule is about, and what is found then. Of a platform's image, old and new are
// the object "config"; a part says all of it.
var breaking = []struct {
	rule, needs, levels string // under fix, feature and incompatible
	old, new            any
	subject, was, is    string
	oldSpec, newSpec    spec
}{
	{rule: "artifact-type-changed", needs: "incompatible", levels: "deny deny warn",
		old: part{}, new: part{manifest: `"artifactType": "application/vnd.acme.rules",`},
		was: "container image", is: "application/vnd.acme.rules"},
	{rule: "artifact-type-changed", needs: "incompatible", levels: "deny deny warn",
		old: part{}, new: part{manifest: `"config": {"mediaType": "application/vnd.wasm.config.v0+json"},`},
		was: "container image", is: "application/vnd.wasm.config.v0+json"},
	{rule: "entrypoint-changed", needs: "incompatible", levels: "deny deny info",
		old: `{"Entrypoint": ["/app"]}`, new: `{"Entrypoint": ["/app", "serve"]}`,
		was: `["/app"]`, is: `["/app", "serve"]`},
	{rule: "entrypoint-changed", needs: "incompatible", levels: "deny deny info",
		old: `{}`, new: `{"Entrypoint": ["/bin/sh", "-c", "a\nb"]}`, was: "unset", is: `["/bin/sh", "-c", "a\nb"]`},
	{rule: "entrypoint-changed", needs: "incompatible", levels: "deny deny info",
		old: `{"Entrypoint": ["/app"]}`, new: `{"Entrypoint": null}`, was: `["/app"]`, is: "unset"},
	{rule: "cmd-changed", needs: "compatible-feature", levels: "warn info info",
		old: `{"Cmd": ["serve"]}`, new: `{"Cmd": ["help"]}`, was: `["serve"]`, is: `["help"]`},
	{rule: "user-changed", needs: "incompatible", levels: "deny deny info",
		old: `{"User": "1000"}`, new: `{"User": "1001:1001"}`, was: "1000", is: "1001:1001"},
	{rule: "user-changed", needs: "incompatible", levels: "deny deny info",
		old: `{}`, new: `{"User": "app"}`, was: "root", is: "app"},
	{rule: "user-changed", needs: "incompatible", levels: "deny deny info",
		old: `{}`, new: `{"User": "root:docker"}`, was: "root", is: "0:docker"},
	{rule: "user-to-root", needs: "incompatible", levels: "deny deny warn",
		old: `{"User": "app"}`, new: `{}`, was: "app", is: "root"},
	{rule: "user-to-root", needs: "incompatible", levels: "deny deny warn",
		old: `{"User": "1000"}`, new: `{"User": "+00:1000"}`, was: "1000", is: "0:1000"},
	{rule: "workdir-changed", needs: "incompatible", levels: "warn warn info",
		old: `{"WorkingDir": "/srv"}`, new: `{}`, was: "/srv", is: "/"},
	{rule: "port-removed", needs: "incompatible", levels: "deny deny info",
		old: `{"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}`, new: `{"ExposedPorts": {"80/tcp": {}, "53/tcp": {}}}`, subject: "53/udp"},
	{rule: "port-added", needs: "compatible-feature", levels: "info info info",
		old: `{"ExposedPorts": {"80/tcp": {}}}`, new: `{"ExposedPorts": {"80/tcp": {}, "443": {}}}`, subject: "443/tcp"},
	{rule: "volume-removed", needs: "incompatible", levels: "deny deny warn",
		old: `{"Volumes": {"/var/lib/postgresql/data": {}}}`, new: `{"Volumes": {"/var/lib/postgresql": {}}}`, subject: "/var/lib/postgresql/data"},
	{rule: "volume-added", needs: "incompatible", levels: "deny deny warn",
		old: `{"Volumes": {"/var/lib/postgresql/data": {}}}`, new: `{"Volumes": {"/var/lib/postgresql": {}}}`, subject: "/var/lib/postgresql"},
	{rule: "env-removed", needs: "incompatible", levels: "deny deny info",
		old: `{"Env": ["JAVA_HOME=/opt/java"]}`, new: `{}`, subject: "JAVA_HOME"},
	{rule: "env-removed", needs: "incompatible", levels: "deny deny info",
		old: `{"Env": ["LANG=C.UTF-8"]}`, new: `{}`, subject: "LANG", was: "C.UTF-8"},
	{rule: "env-removed", needs: "incompatible", levels: "deny deny info",
		old: `{"Env": ["PATH=/bin"]}`, new: `{}`, subject: "PATH", was: "/bin"},
	{rule: "env-removed", needs: "incompatible", levels: "warn warn info",
		old: `{"Env": ["EDITOR=vi"]}`, new: `{}`, subject: "EDITOR"},
	{rule: "env-removed", needs: "incompatible", levels: "deny deny info",
		old: `{"Env": ["GOTOOLCHAIN=local"]}`, new: `{}`, subject: "GOTOOLCHAIN", oldSpec: spec{env: []string{"GOTOOLCHAIN"}}},
	{rule: "env-removed", needs: "incompatible", levels: "deny deny info",
		old: `{"Env": ["GO_VERSION=1.26"]}`, new: `{}`, subject: "GO_VERSION", newSpec: spec{env: []string{"GO_VERSION"}}},
	{rule: "env-changed", needs: "incompatible", levels: "deny deny info",
		old: `{"Env": ["LC_ALL=C"]}`, new: `{"Env": ["LC_ALL=de_DE"]}`, subject: "LC_ALL"},
	{rule: "env-changed", needs: "incompatible", levels: "deny deny info",
		old: `{"Env": ["LANG=C"]}`, new: `{"Env": ["LANG=C.UTF-8"]}`, subject: "LANG", was: "C", is: "C.UTF-8"},
	{rule: "env-changed", needs: "compatible-fix", levels: "info info info",
		old: `{"Env": ["EDITOR=vi"]}`, new: `{"Env": ["EDITOR=nano"]}`, subject: "EDITOR"},
	{rule: "env-changed", needs: "incompatible", levels: "deny deny info",
		old: `{"Env": ["EDITOR=vi"]}`, new: `{"Env": ["EDITOR=nano"]}`, subject: "EDITOR", oldSpec: spec{env: []string{"EDITOR"}}},
	{rule: "env-path-lost", needs: "incompatible", levels: "deny deny info",
		old: `{"Env": ["PATH=/opt/go/bin:/usr/bin:/bin"]}`, new: `{"Env": ["PATH=/usr/bin/:/bin"]}`, subject: "/opt/go/bin"},
	{rule: "env-path-lost", needs: "incompatible", levels: "deny deny info",
		old: `{"Env": ["PATH=C:\\go;C:\\Windows"]}`, new: `{"Env": ["PATH=C:\\Windows"]}`, subject: `C:\go`},
	{rule: "stopsignal-changed", needs: "incompatible", levels: "warn warn info",
		old: `{}`, new: `{"StopSignal": "SIGQUIT"}`, was: "SIGTERM", is: "SIGQUIT"},
	{rule: "shell-changed", needs: "incompatible", levels: "warn warn info",
		old: `{}`, new: `{"Shell": ["/bin/bash", "-c"]}`, was: "unset", is: `["/bin/bash", "-c"]`},
	{rule: "onbuild-changed", needs: "incompatible", levels: "warn warn info",
		old: `{"OnBuild": ["COPY . /src"]}`, new: `{"OnBuild": ["COPY . /app"]}`, was: "set", is: "set otherwise"},
	{rule: "healthcheck-changed", needs: "compatible-feature", levels: "warn info info",
		old: `{"Healthcheck": {"Test": ["NONE"]}}`, new: `{"Healthcheck": {"Test": ["CMD", "true"]}}`, was: "unset", is: "set"},
	{rule: "healthcheck-changed", needs: "compatible-feature", levels: "warn info info",
		old: `{"Healthcheck": {"Test": ["CMD", "true"]}}`, new: `{}`, was: "set", is: "unset"},
	{rule: "healthcheck-changed", needs: "compatible-feature", levels: "warn info info",
		old: `{"Healthcheck": {"Test": ["CMD", "true"], "Interval": 1}}`, new: `{"Healthcheck": {"Test": ["CMD", "true"], "Interval": 2}}`,
		was: "set", is: "set otherwise"},
	{rule: "label-removed", needs: "compatible-feature", levels: "info info info",
		old: `{"Labels": {"team": "go"}}`, new: `{}`, subject: "team"},
	{rule: "label-removed", needs: "incompatible", levels: "deny deny info",
		old: `{"Labels": {"team": "go"}}`, new: `{}`, subject: "team", oldSpec: spec{labels: []string{"team"}}},
	{rule: "label-removed", needs: "incompatible", levels: "deny deny info",
		old: `{"Labels": {"org.opencontainers.image.source": "x"}}`, new: `{}`, subject: "org.opencontainers.image.source",
		newSpec: spec{labels: []string{"org.opencontainers.image.source"}}},
	{rule: "base-changed", needs: "incompatible", levels: "warn warn info",
		old: part{manifest: `"annotations": {"org.opencontainers.image.base.name": "debian:12"},`},
		new: part{manifest: `"annotations": {"org.opencontainers.image.base.name": "alpine:3"},`}, was: "debian:12", is: "alpine:3"},
	{rule: "created-regressed", needs: "-", levels: "warn warn warn",
		old: part{created: "2026-11-02T00:00:00Z"}, new: part{created: "2026-11-01T12:00:00.5+02:00"},
		was: "2026-11-02T00:00:00Z", is: "2026-11-01T10:00:00Z"},
	{rule: "size-growth", needs: "compatible-fix", levels: "warn info info",
		old: part{size: 99_999_000}, new: part{size: 125_000_000}, was: "100.0 MB", is: "125.0 MB"},
	{rule: "size-growth", needs: "compatible-fix", levels: "warn info info",
		old: part{size: 99_999_000}, new: part{size: 199_999_000}, was: "100.0 MB", is: "200.0 MB"},
	{rule: "size-growth", needs: "compatible-feature", levels: "warn warn info",
		old: part{size: 99_999_000}, new: part{size: 200_000_000}, was: "100.0 MB", is: "200.0 MB"},
	{rule: "size-growth", needs: "compatible-feature", levels: "warn warn info",
		old: part{size: 10_000}, new: part{size: 30_000}, was: "11.0 kB", is: "31.0 kB"},
	{rule: "repository-changed", needs: "incompatible", levels: "warn warn info", old: part{}, new: part{},
		oldSpec: spec{repository: "docker.io/acme/app"}, newSpec: spec{repository: "ghcr.io/acme/app"},
		was: "docker.io/acme/app", is: "ghcr.io/acme/app"},
}

// harmless lists, rule by rule, what is near to what the rule is about and is no finding of it.
var harmless = []struct {
	rule             string
	old, new         any
	oldSpec, newSpec spec
}{
	{rule: "artifact-type-changed", old: part{}, new: part{manifest: `"config": {"mediaType": "application/vnd.docker.container.image.v1+json"},`}},
	{rule: "entrypoint-changed", old: `{"Entrypoint": []}`, new: `{"Entrypoint": null}`},
	{rule: "entrypoint-changed", old: `{"Entrypoint": ["a", "b"]}`, new: `{"Entrypoint": ["a", "b"], "Cmd": ["c"]}`},
	{rule: "cmd-changed", old: `{"Cmd": null}`, new: `{"Cmd": []}`},
	{rule: "user-changed", old: `{"User": "0:0"}`, new: `{"User": "root"}`},
	{rule: "user-changed", old: `{"User": ""}`, new: `{"User": "0"}`},
	{rule: "user-changed", old: `{"User": "app"}`, new: `{"User": "root"}`},
	{rule: "user-to-root", old: `{"User": "root"}`, new: `{"User": "0"}`},
	{rule: "user-to-root", old: `{"User": "0"}`, new: `{"User": "app"}`},
	{rule: "workdir-changed", old: `{"WorkingDir": "/srv/"}`, new: `{"WorkingDir": "/srv"}`},
	{rule: "workdir-changed", old: `{"WorkingDir": "/"}`, new: `{}`},
	{rule: "port-removed", old: `{"ExposedPorts": {"80": {}}}`, new: `{"ExposedPorts": {"80/TCP": {}}}`},
	{rule: "port-added", old: `{"ExposedPorts": {"80": {}}}`, new: `{"ExposedPorts": {"80/tcp": null}}`},
	{rule: "volume-removed", old: `{"Volumes": {"/data/": {}}}`, new: `{"Volumes": {"/data": {}}}`},
	{rule: "volume-added", old: `{"Volumes": {"/data": {}}}`, new: `{"Volumes": {"/data/": {}}}`},
	{rule: "env-removed", old: `{"Env": ["GO_VERSION=1", "X_SHA256=a", "X_DOWNLOAD_URL=b"]}`, new: `{}`},
	{rule: "env-removed", old: `{"Env": ["EDITOR=vi"]}`, new: `{"Env": ["EDITOR"]}`},
	{rule: "env-changed", old: `{"Env": ["GO_VERSION=1"]}`, new: `{"Env": ["GO_VERSION=2"]}`},
	{rule: "env-changed", old: `{"Env": ["PATH=/bin"]}`, new: `{"Env": ["PATH=/usr/bin"]}`},
	{rule: "env-changed", old: `{"Env": ["A=1", "A=2"]}`, new: `{"Env": ["A=2"]}`},
	{rule: "env-path-lost", old: `{"Env": ["PATH=/a:/b"]}`, new: `{"Env": ["PATH=/c:/b/:/a"]}`},
	{rule: "env-path-lost", old: `{"Env": ["PATH=/a:/b"]}`, new: `{}`},
	{rule: "stopsignal-changed", old: `{"StopSignal": "SIGTERM"}`, new: `{}`},
	{rule: "stopsignal-changed", old: `{"StopSignal": "15"}`, new: `{"StopSignal": "term"}`},
	{rule: "shell-changed", old: `{"Shell": ["/bin/ash"]}`, new: `{"Shell": ["/bin/ash"]}`},
	{rule: "onbuild-changed", old: `{"OnBuild": []}`, new: `{"OnBuild": null}`},
	{rule: "healthcheck-changed", old: `{"Healthcheck": {"Test": ["NONE"]}}`, new: `{"Healthcheck": {}}`},
	{rule: "label-removed", old: `{"Labels": {"org.opencontainers.image.created": "x"}}`, new: `{}`},
	{rule: "label-removed", old: `{"Labels": {"team": "go"}}`, new: `{"Labels": {"team": "rust"}}`},
	{rule: "base-changed", old: part{}, new: part{manifest: `"annotations": {"org.opencontainers.image.base.name": "alpine:3"},`}},
	{rule: "created-regressed", old: part{created: "2026-11-02T00:00:00Z"}, new: part{created: "2026-11-02T00:00:00.5Z"}},
	{rule: "created-regressed", old: part{created: "2026-11-02T00:00:00Z"}, new: part{created: "2026-11-02T00:00:01Z"}},
	{rule: "created-regressed", old: part{created: "2026-11-02T00:00:00Z"}, new: part{created: "1970-01-01T00:00:00Z"}},
	{rule: "created-regressed", old: part{created: "2026-11-02T00:00:00Z"}, new: part{created: "1980-01-01T00:00:01Z"}},
	{rule: "created-regressed", old: part{created: "2026-11-02T00:00:00Z"}, new: part{}},
	{rule: "size-growth", old: part{size: 99_999_000}, new: part{size: 124_999_000}},
	{rule: "size-growth", old: part{size: 99_999_000}, new: part{size: 1}},
	{rule: "repository-changed", old: part{}, new: part{}, newSpec: spec{repository: "ghcr.io/acme/app"}},
}

func partOf(v any, platform string) part {
	var p part
	switch v := v.(type) {
	case part:
		p = v
	case string:
		p.config = v
	}
	p.platform = platform
	return p
}

// shapes are the two kinds of image that each rule is tested on.
var shapes = map[string]func(t *testing.T, v any) Contract{
	"single": func(t *testing.T, v any) Contract { return contractOf(t, single(partOf(v, "linux/amd64"))) },
	"index": func(t *testing.T, v any) Contract {
		return contractOf(t, multi(partOf(v, "linux/amd64"), partOf(v, "linux/arm64/v8")))
	},
}

func TestRulesFind(t *testing.T) {
	for _, c := range breaking {
		for shape, of := range shapes {
			t.Run(fmt.Sprintf("%s/%s/%v to %v", c.rule, shape, c.old, c.new), func(t *testing.T) {
				old, new := c.oldSpec.set(of(t, c.old)), c.newSpec.set(of(t, c.new))
				var levels []string
				for _, mode := range []Mode{Fix, Feature, Incompatible} {
					all := Compare(old, new, Policy{Mode: mode})
					found := slices.DeleteFunc(slices.Clone(all), func(f Finding) bool { return f.Rule != c.rule })
					if len(found) != 1 {
						t.Fatalf("%s is found %d times in %v, want once", c.rule, len(found), all)
					}
					f := found[0]
					levels = append(levels, f.Level.String())
					want := Finding{Rule: c.rule, Needs: f.Needs, Level: f.Level, Platforms: old.names(), Subject: c.subject, Old: c.was, New: c.is, Text: f.Text, Advice: f.Advice}
					if c.rule == "repository-changed" {
						want.Platforms = nil
					}
					if encode(t, f) != encode(t, want) || f.Needs.String() != c.needs {
						t.Errorf("found %s, want %s that needs %s", encode(t, f), encode(t, want), c.needs)
					}
				}
				if got := strings.Join(levels, " "); got != c.levels {
					t.Errorf("levels are %s, want %s", got, c.levels)
				}
			})
		}
	}
}

func TestRulesLeaveAlone(t *testing.T) {
	for _, c := range harmless {
		for shape, of := range shapes {
			t.Run(fmt.Sprintf("%s/%s/%v to %v", c.rule, shape, c.old, c.new), func(t *testing.T) {
				for _, f := range Compare(c.oldSpec.set(of(t, c.old)), c.newSpec.set(of(t, c.new)), Policy{Mode: Fix}) {
					if f.Rule == c.rule {
						t.Errorf("found %s", f)
					}
				}
			})
		}
	}
}

// The rules about platforms are told by the shape of the image and so have a table of their own.
func TestPlatformRules(t *testing.T) {
	amd, arm, arm8 := part{platform: "linux/amd64"}, part{platform: "linux/arm64"}, part{platform: "linux/arm64/v8"}
	for _, c := range []struct {
		name     string
		old, new Source
		want     string
	}{
		{"removed", multi(amd, arm), multi(amd), "platform-removed linux/arm64 incompatible deny deny info\n"},
		{"all removed", multi(amd), multi(arm), "platform-removed linux/amd64 incompatible deny deny info\nplatform-added linux/arm64 compatible-feature info info info\n"},
		{"added", multi(amd), multi(arm, amd), "platform-added linux/arm64 compatible-feature info info info\n"},
		{"two spellings", multi(amd, arm), multi(amd, arm8), ""},
		{"to single", multi(amd), single(amd), "index-to-single  incompatible deny deny warn\n"},
		{"to single of fewer", multi(amd, arm8), single(amd), "platform-removed linux/arm64 incompatible deny deny info\nindex-to-single  incompatible deny deny warn\n"},
		{"from single", single(amd), multi(amd), ""},
		{"from single to more", single(arm8), multi(amd, arm), "platform-added linux/amd64 compatible-feature info info info\n"},
		{"still single", single(amd), single(amd), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			old, new := contractOf(t, c.old), contractOf(t, c.new)
			underFix, underFeature, underIncompatible := Compare(old, new, Policy{Mode: Fix}), Compare(old, new, Policy{Mode: Feature}), Compare(old, new, Policy{Mode: Incompatible})
			var got strings.Builder
			for i, f := range underFix {
				fmt.Fprintln(&got, f.Rule, f.Subject, f.Needs, f.Level, underFeature[i].Level, underIncompatible[i].Level)
				if f.Subject != "" && !slices.Equal(f.Platforms, []string{f.Subject}) {
					t.Errorf("%s is on %v", f, f.Platforms)
				}
			}
			if got.String() != c.want {
				t.Errorf("found\n%s, want\n%s", got.String(), c.want)
			}
		})
	}
}

func TestPlatformMismatch(t *testing.T) {
	good := contractOf(t, multi(part{platform: "linux/amd64"}, part{platform: "linux/arm64", built: "linux/arm64/v8"}, part{platform: "linux/arm/v7", built: "linux/arm"}))
	if found := Inspect(good, Policy{Mode: Fix}); found != nil {
		t.Errorf("found %v in an image that is what its index says", found)
	}
	if found := Inspect(contractOf(t, single(part{platform: "linux/amd64"})), Policy{Mode: Fix}); found != nil {
		t.Errorf("found %v in an image without an index", found)
	}
	bad := contractOf(t, multi(part{platform: "linux/amd64"}, part{platform: "linux/arm64", built: "linux/amd64"}, part{platform: "linux/riscv64", built: "Linux/"}))
	for _, mode := range []Mode{Fix, Feature, Incompatible} {
		var got []string
		for _, f := range Inspect(bad, Policy{Mode: mode, Inform: true}) {
			got = append(got, fmt.Sprint(f.Rule, f.Platforms, f.Subject, f.Old, f.New, f.Needs, f.Level))
		}
		want := []string{
			"platform-mismatch[linux/arm64]linux/arm64linux/arm64linux/amd64- deny",
			"platform-mismatch[linux/riscv64]linux/riscv64linux/riscv64unknown/unknown- deny",
		}
		if !slices.Equal(got, want) {
			t.Errorf("under %s found %q, want %q", mode, got, want)
		}
	}
	if found := Compare(bad, bad, Policy{Mode: Fix}); found != nil {
		t.Errorf("comparing finds %v, which is about one image", found)
	}
}

// A rule without a case here is one that nobody has seen work.
func TestEveryRuleIsTested(t *testing.T) {
	tested := map[string]bool{"platform-removed": true, "platform-added": true, "index-to-single": true, "platform-mismatch": true}
	left := maps.Clone(tested)
	for _, c := range breaking {
		tested[c.rule] = true
	}
	for _, c := range harmless {
		left[c.rule] = true
	}
	for _, id := range Rules() {
		if !tested[id] || !left[id] {
			t.Errorf("rule %s is tested to find: %v, to leave alone: %v", id, tested[id], left[id])
		}
		delete(tested, id)
	}
	if len(tested) > 0 {
		t.Errorf("no such rules: %v", tested)
	}
	seen := map[string]bool{}
	for _, id := range Rules() {
		if seen[id] {
			t.Errorf("rule %s is listed twice", id)
		}
		seen[id] = true
	}
}

func TestEqualFindingsAreGroupedOverPlatforms(t *testing.T) {
	a := `{"Entrypoint": ["a"], "ExposedPorts": {"1": {}}}`
	old := contractOf(t, multi(part{platform: "linux/amd64", config: a}, part{platform: "linux/arm64", config: `{"Entrypoint": ["a"], "ExposedPorts": {"1": {}, "2": {}}}`}, part{platform: "linux/s390x", config: a}))
	new := contractOf(t, multi(part{platform: "linux/amd64", config: `{"Entrypoint": ["b"]}`}, part{platform: "linux/arm64", config: `{"Entrypoint": ["c"]}`}, part{platform: "linux/s390x", config: `{"Entrypoint": ["b"]}`}))
	var got []string
	for _, f := range Compare(old, new, Policy{Mode: Fix}) {
		got = append(got, f.String())
	}
	want := []string{
		`entrypoint-changed on linux/amd64, linux/s390x: the entrypoint differs, ["a"] → ["b"] (needs incompatible)`,
		`entrypoint-changed on linux/arm64: the entrypoint differs, ["a"] → ["c"] (needs incompatible)`,
		`port-removed 1/tcp on linux/amd64, linux/arm64, linux/s390x: the port is no longer exposed (needs incompatible)`,
		`port-removed 2/tcp on linux/arm64: the port is no longer exposed (needs incompatible)`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Platforms share a description only where no rule could tell them apart.
func TestGroupingLosesNothing(t *testing.T) {
	for _, c := range breaking {
		amd, arm := partOf(c.old, "linux/amd64"), partOf(c.new, "linux/arm64")
		together := contractOf(t, multi(amd, arm))
		for _, v := range together.views() {
			alone := contractOf(t, multi(map[string]part{"linux/amd64": amd, "linux/arm64": arm}[v.Name])).Images[0]
			image := *v.Image
			image.Platforms = []Platform{*v.Platform}
			if !reflect.DeepEqual(image, alone) {
				t.Errorf("%s of %v and %v is %+v alone and %+v with the other", v.Name, c.old, c.new, alone, image)
			}
		}
	}
}
