package schema

import (
	"math"
	"reflect"
	"testing"

	"tidewaiter/reconcile/release"
)

// The example of the documentation, whole.
const catalogExample = `apiVersion: tidewaiter/v1
kind: Catalog
metadata:
  name: acme
spec:
  registries:                      # what specs may name
    - host: docker.io
    - host: registry.acme.dev:5000
      repositories: [ci, shared/tools]      # prefixes, on "/" boundaries; default: all
      credentials: acme-pull
      realms: [auth.acme.dev]
      plainHTTP: false
  platforms: [linux/amd64]         # required unless a spec says otherwise
  verify: layers                   # or content
  maxImageSize: 8GiB
  requireDigest: false
  undeclaredUpgrade: refuse        # or inherit
  unknownUpgrade: refuse           # or allow
  reviewWithCredentials: false
  categories: [build, test, tools] # when given, specs use only these
  debugProjects:
    ci-sandbox: {url: "https://ci.acme.dev/sandbox?image={image}&review={review}&ref={ref}"}
  upgradeChecks: {port-removed: warn}
  suspend: false                   # true holds all releases without losing their order
`

func TestDecodeCatalog(t *testing.T) {
	catalog, problems := DecodeCatalog("catalog.yaml", []byte(catalogExample))
	if problems != nil {
		t.Fatalf("the documented example has problems: %v", problems)
	}
	want := &Catalog{"acme", release.Policy{
		Registries: []release.Registry{
			{Host: "docker.io"},
			{Host: "registry.acme.dev:5000", Repositories: []string{"ci", "shared/tools"}, Credentials: "acme-pull", Realms: []string{"auth.acme.dev"}},
		},
		Platforms:     []release.Platform{"linux/amd64"},
		MaxImageSize:  8 << 30,
		Categories:    []string{"build", "test", "tools"},
		DebugProjects: map[string]string{"ci-sandbox": "https://ci.acme.dev/sandbox?image={image}&review={review}&ref={ref}"},
		UpgradeChecks: map[string]string{"port-removed": "warn"},
	}}
	if !reflect.DeepEqual(catalog, want) {
		t.Errorf("the policy is\n%+v\nwant\n%+v", catalog, want)
	}
}

const catalogHead = "apiVersion: tidewaiter/v1\nkind: Catalog\nmetadata: {name: acme}\n"

// The zero policy is what holds without a catalog.yaml; one that says nothing says the same.
func TestEmptyCatalog(t *testing.T) {
	catalog, problems := DecodeCatalog("catalog.yaml", []byte(catalogHead))
	if problems != nil || !reflect.DeepEqual(catalog.Policy, release.Policy{}) {
		t.Errorf("%+v %v", catalog, problems)
	}
}

func TestPolicyChoices(t *testing.T) {
	for written, want := range map[string]release.Policy{
		"verify: content":             {Content: true},
		"undeclaredUpgrade: inherit":  {InheritUpgrade: true},
		"unknownUpgrade: allow":       {AllowUnknownUpgrade: true},
		"requireDigest: true":         {RequireDigest: true},
		"reviewWithCredentials: True": {ReviewWithCredentials: true},
		"suspend: true":               {Suspend: true},
		"registries: []":              {Registries: []release.Registry{}}, // no host at all, unlike none said
		"registries: [{host: Index.Docker.io, realms: [Auth.Acme.dev], plainHTTP: true}]": {
			Registries: []release.Registry{{Host: "docker.io", Realms: []string{"auth.acme.dev"}, PlainHTTP: true}},
		},
	} {
		catalog, problems := DecodeCatalog("catalog.yaml", []byte(catalogHead+"spec: {"+written+"}\n"))
		if problems != nil || !reflect.DeepEqual(catalog.Policy, want) {
			t.Errorf("%s is %+v %v, want %+v", written, catalog, problems, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "10B": 10, "8000000000": 8e9, "500MB": 5e8, "1kB": 1000, "1KB": 1000, "1KiB": 1024, "1.5GiB": 3 << 29, "0.001TB": 1e9, "2TiB": 2 << 40,
		"0": 0, "0.5B": 0, "999999999999999TiB": math.MaxInt64,
	} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("%s is %d bytes, want %d", text, got, want)
		}
	}
	for _, text := range []string{"", "8 GiB", "GiB", "8Gi", "8iB", "-1", "1e3", "8gb", "8GiB ", "1.5.1B"} {
		if _, problems := DecodeCatalog("catalog.yaml", []byte(catalogHead+"spec: {maxImageSize: \""+text+"\"}\n")); problems == nil {
			t.Errorf("maxImageSize: %q is taken", text)
		}
	}
}
