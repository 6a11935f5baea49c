package schema

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/release"
)

// mustValidate holds a written file to the schema of its kind, read by YAML's own rules.
func mustValidate(t interface{ Fatalf(string, ...any) }, kind string, data []byte) {
	var value any
	if err := yaml.Unmarshal(data, &value); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v", err)
	}
	if err := schemas[kind]().Validate(value); err != nil {
		t.Fatalf("%#v in\n%s", err, data)
	}
}

// Generators of everything that the daemon may ever write. What the daemon takes from outside, like names in commits, is any text.
var (
	anyText  = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", " ", "\n", "yes", "null", "~", "1.10", "12:30", "2026-01-02", "- a", "a: b", "# x", " lead", "trail ", "a\n b\n", "\n\nx", "x\n\n", "\tx\n", "a\r\nb", "\u2028", "\ufeff", "&a", "*a", "!x", "%x", "@x", "`x`", "{", "[", "x\n---\ny\n", "\x1b[31m", "é", "日本\n語"}))
	authored = rapid.StringMatching(`[A-Za-z0-9:#'"{}\[\],&*!|>%@-][ A-Za-z0-9:#'"é-]{0,20}[A-Za-z0-9:#]`)
	prose    = rapid.StringMatching("[A-Za-z#:é-][ A-Za-z0-9:#'\"\\n\\t`é-]{0,60}\\n?")
	commitID = rapid.StringMatching(`[0-9a-f]{40}`)
	digests  = rapid.Map(rapid.StringMatching(`sha256:[0-9a-f]{64}`), func(s string) release.Digest { return release.Digest(s) })
	modes    = rapid.SampledFrom(release.Modes())
	reasons  = rapid.SampledFrom(release.Refusals())
	times    = rapid.Map(rapid.Int64Range(0, 4e9), func(s int64) time.Time { return time.Unix(s, 0).UTC() })
	versions = rapid.Custom(func(t *rapid.T) release.Version {
		n := rapid.Uint32Range(0, 999999999)
		return release.Version{Major: n.Draw(t, "major"), Minor: n.Draw(t, "minor"), Patch: n.Draw(t, "patch")}
	}).Filter(func(v release.Version) bool { return v != release.Version{} }) // no rule makes 0.0.0
	platforms = rapid.SampledFrom([]release.Platform{"linux/amd64", "linux/arm64", "linux/arm/v7"})
	images    = rapid.Custom(func(t *rapid.T) release.Image {
		return release.Image{
			Reference: release.Reference{
				Registry:   rapid.SampledFrom([]string{"docker.io", "registry.acme.dev:5000", "[::1]:5000", "127.0.0.1:5000"}).Draw(t, "registry"),
				Repository: rapid.StringMatching(`[a-z0-9]{1,9}(/[a-z0-9]{1,9}){0,2}`).Draw(t, "repository"),
				Tag:        rapid.StringMatching(`[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}`).Draw(t, "tag"),
				Digest:     digests.Draw(t, "digest"),
			},
			Credentials: rapid.StringMatching(`([a-z0-9]{1,5})?`).Draw(t, "credentials"),
			Platforms:   some(rapid.SliceOfNDistinct(platforms, 0, 3, rapid.ID)).Draw(t, "platforms"),
		}
	})
	upgrades = rapid.Custom(func(t *rapid.T) release.Upgrade {
		return release.Upgrade{
			Mode: modes.Draw(t, "mode"), From: rapid.Ptr(versions, true).Draw(t, "from"), Notes: prose.Draw(t, "notes"),
			Accept: some(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) release.Accept {
				return release.Accept{Rule: "env-changed", Subject: authored.Draw(t, "subject"), Reason: authored.Draw(t, "reason")}
			}), 0, 2)).Draw(t, "accept"),
		}
	})
	commits = rapid.Custom(func(t *rapid.T) release.Commit {
		return release.Commit{ID: commitID.Draw(t, "id"), Author: anyText.Draw(t, "author"), Committer: anyText.Draw(t, "committer"), Time: times.Draw(t, "time")}
	})
	specs = rapid.Custom(func(t *rapid.T) release.Spec {
		return release.Spec{
			Path: anyText.Draw(t, "path"), Image: images.Draw(t, "image"), Upgrade: upgrades.Draw(t, "upgrade"),
			Withdrawn: some(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) release.Withdrawal {
				return release.Withdrawal{Version: versions.Draw(t, "version"), Reason: authored.Draw(t, "reason")}
			}), 0, 2)).Draw(t, "withdrawn"),
			Suspend: rapid.Bool().Draw(t, "suspend"),
		}
	})
	conditions = rapid.Custom(func(t *rapid.T) []release.Condition {
		return release.Conditions(nil, reasons.Draw(t, "reason"), times.Draw(t, "since"))
	})
	imageStatuses = rapid.Custom(func(t *rapid.T) release.ImageStatus {
		return release.ImageStatus{
			Conditions: conditions.Draw(t, "conditions"), Listed: rapid.Bool().Draw(t, "listed"),
			Channels: some(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) release.Channel {
				return release.Channel{Name: "1.latest", Version: versions.Draw(t, "version"), Reference: images.Draw(t, "image").String(), Released: times.Draw(t, "released")}
			}), 0, 2)).Draw(t, "channels"),
			Changed: commits.Draw(t, "changed"), Spec: rapid.Ptr(specs, true).Draw(t, "spec"),
			Problems: some(rapid.SliceOfN(anyText, 0, 2)).Draw(t, "problems"),
			Requests: some(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) release.Request {
				return release.Request{
					Commit: commits.Draw(t, "commit"), Image: images.Draw(t, "image"), Upgrade: upgrades.Draw(t, "upgrade"),
					Carried: rapid.SampledFrom([]release.Mode{0, release.Fix, release.Incompatible}).Draw(t, "carried"), Reason: reasons.Draw(t, "reason"),
				}
			}), 0, 2)).Draw(t, "requests"),
			Backlog: some(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) release.Change {
				return release.Change{Commit: commits.Draw(t, "commit"), Spec: rapid.Ptr(specs, true).Draw(t, "spec"), Problems: some(rapid.SliceOfN(anyText, 0, 2)).Draw(t, "problems")}
			}), 0, 2)).Draw(t, "backlog"),
			Concluded: rapid.SampledFrom([]release.Reason{"", release.Released}).Draw(t, "concluded"),
		}
	})
	texts   = some(rapid.SliceOfN(anyText, 0, 2))
	records = rapid.Custom(func(t *rapid.T) Record {
		asked := modes.Draw(t, "mode")
		return Record{
			Name: "go-builder", Version: versions.Draw(t, "version"), Reference: images.Draw(t, "reference").String(), Digest: digests.Draw(t, "digest"),
			MediaType: "application/vnd.oci.image.index.v1+json", Mode: Modes{asked, 0, asked},
			Baseline:   rapid.Ptr(rapid.Custom(func(t *rapid.T) Baseline { return Baseline{versions.Draw(t, "version"), digests.Draw(t, "digest")} }), true).Draw(t, "baseline"),
			ReleasedAt: times.Draw(t, "released"), Request: RequestCommit{commitID.Draw(t, "commit"), times.Draw(t, "time")},
			ApprovedBy: Approval{anyText.Draw(t, "author"), anyText.Draw(t, "committer"), "git", rapid.SampledFrom([]string{"", "17"}).Draw(t, "pullRequest")},
			Image:      images.Draw(t, "image"), Upgrade: upgrades.Draw(t, "upgrade"), Verify: "layers", Size: rapid.Int64Min(0).Draw(t, "size"),
			Platforms: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) PlatformImage {
				return PlatformImage{platforms.Draw(t, "platform"), digests.Draw(t, "digest"), rapid.Int64Min(0).Draw(t, "size")}
			}), 1, 2).Draw(t, "platforms"),
			Contract: contract.Contract{
				Repository: anyText.Draw(t, "repository"), ContractEnv: texts.Draw(t, "contractEnv"), ContractLabels: texts.Draw(t, "contractLabels"), Index: rapid.Bool().Draw(t, "index"),
				Images: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) contract.Image {
					return contract.Image{
						Platforms:    []contract.Platform{{Name: "linux/amd64", Config: anyText.Draw(t, "config"), Size: rapid.Int64Min(0).Draw(t, "size"), Created: times.Draw(t, "created")}},
						ArtifactType: anyText.Draw(t, "artifactType"), Base: anyText.Draw(t, "base"), Entrypoint: texts.Draw(t, "entrypoint"), Cmd: texts.Draw(t, "cmd"),
						User: anyText.Draw(t, "user"), Workdir: anyText.Draw(t, "workdir"), Ports: texts.Draw(t, "ports"), Volumes: texts.Draw(t, "volumes"),
						Env: rapid.Map(rapid.MapOfN(anyText, anyText, 0, 3), func(m map[string]string) map[string]string {
							if len(m) == 0 {
								return nil
							}
							return m
						}).Draw(t, "env"),
						Labels: texts.Draw(t, "labels"), StopSignal: anyText.Draw(t, "stopSignal"), Shell: texts.Draw(t, "shell"), OnBuild: anyText.Draw(t, "onbuild"), Healthcheck: anyText.Draw(t, "healthcheck"),
					}
				}), 1, 2).Draw(t, "images"),
			},
			Findings: some(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) contract.Finding {
				return contract.Finding{
					Rule: "env-changed", Needs: rapid.SampledFrom([]contract.Mode{contract.NoMode, contract.Fix, contract.Incompatible}).Draw(t, "needs"), Level: contract.Deny,
					Platforms: texts.Draw(t, "platforms"), Subject: anyText.Draw(t, "subject"), Old: anyText.Draw(t, "old"), New: anyText.Draw(t, "new"),
					Text: anyText.Draw(t, "text"), Advice: anyText.Draw(t, "advice"), Accepted: rapid.Bool().Draw(t, "accepted"), Reason: anyText.Draw(t, "reason"),
				}
			}), 0, 2)).Draw(t, "findings"),
		}
	})
)

// some gives nil in place of an empty list, which is not written.
func some[E any](g *rapid.Generator[[]E]) *rapid.Generator[[]E] {
	return rapid.Map(g, func(list []E) []E {
		if len(list) == 0 {
			return nil
		}
		return list
	})
}

// What is written is read back as it was, is valid, and has one encoding.
func TestImageStatusRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		status := imageStatuses.Draw(t, "status")
		data, err := EncodeImageStatus("go-builder", status)
		if err != nil {
			t.Fatal(err)
		}
		name, again, err := DecodeImageStatus("images/go-builder.yaml", data)
		if err != nil || name != "go-builder" || !reflect.DeepEqual(again, status) {
			t.Fatalf("%v\n%+v\nwas\n%+v\nin\n%s", err, again, status, data)
		}
		mustValidate(t, "ImageStatus", data)
	})
}

func TestCatalogStatusRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		status := release.CatalogStatus{
			Conditions: conditions.Draw(t, "conditions"), Observed: rapid.StringMatching(`([0-9a-f]{40})?`).Draw(t, "observed"),
			Policy: rapid.Bool().Draw(t, "policy"), Held: rapid.StringMatching(`([0-9a-f]{40})?`).Draw(t, "held"),
			Problems: some(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) release.Problem {
				return release.Problem{Path: anyText.Draw(t, "path"), Reason: reasons.Draw(t, "reason"), Message: anyText.Draw(t, "message")}
			}), 0, 2)).Draw(t, "problems"),
		}
		data, err := EncodeCatalogStatus(status)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeCatalogStatus("catalog.yaml", data)
		if err != nil || !reflect.DeepEqual(again, status) {
			t.Fatalf("%v\n%+v\nwas\n%+v\nin\n%s", err, again, status, data)
		}
		mustValidate(t, "CatalogStatus", data)
	})
}

func TestReleaseRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		record := records.Draw(t, "record")
		data, err := EncodeRelease(record)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeRelease("releases/go-builder/1.0.0.yaml", data)
		if err != nil || !reflect.DeepEqual(again, record) {
			t.Fatalf("%v\n%+v\nwas\n%+v\nin\n%s", err, again, record, data)
		}
		mustValidate(t, "Release", data)
		if r := again.Release(); r.Version != record.Version || r.Reference() != record.Image.Pin(record.Digest).String() || r.Mode != record.Mode.Applied ||
			r.Request != (release.Commit{ID: record.Request.Commit, Author: record.ApprovedBy.Author, Committer: record.ApprovedBy.Committer, Time: record.Request.Time}) {
			t.Fatalf("the planner gets %+v of %+v", r, record)
		}
	})
}

// A value without a text is an error, never a file that says something else.
func TestEncodeRefuses(t *testing.T) {
	if _, err := EncodeRelease(Record{}); err == nil || !strings.Contains(err.Error(), "unknown upgrade mode") {
		t.Errorf("a record without a mode is written: %v", err)
	}
}

// statusOf is a status that holds a spec.
func statusOf(spec *Image) release.ImageStatus {
	planned := spec.Spec()
	return release.ImageStatus{Conditions: release.Conditions(nil, release.Verifying, time.Unix(0, 0).UTC()), Listed: true, Spec: &planned}
}

// What YAML takes for the end of a line may be anywhere in a text of somebody else's.
func TestTextsAreReadBack(t *testing.T) {
	for _, separator := range []string{"\u0085", "\u2028", "\u2029", "\ufeff", "\r", "\t", "\n", " "} {
		for _, text := range []string{separator + "a\nb", "a" + separator + "\nb", "a\n" + separator + "b", "a" + separator, separator} {
			data, err := encode(map[string]string{"text": text})
			if err != nil {
				t.Fatal(err)
			}
			var again map[string]string
			if err := yaml.Unmarshal(data, &again); err != nil || again["text"] != text {
				t.Errorf("%q is read back as %q, %v", text, again["text"], err)
			}
		}
	}
}
