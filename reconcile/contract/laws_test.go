package contract

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The generators draw from few values, so that two draws are often equal in part.
var (
	platforms = []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "windows/amd64"}
	modes     = rapid.SampledFrom([]Mode{Fix, Feature, Incompatible})
	levels    = rapid.SampledFrom([]Level{Info, Warn, Deny})
)

func drawPart(t *rapid.T, platform string) part {
	words := func(name string, from ...string) []string {
		return rapid.SliceOfN(rapid.SampledFrom(from), 0, 3).Draw(t, name)
	}
	set := func(name string, from ...string) map[string]struct{} {
		m := map[string]struct{}{}
		for _, w := range words(name, from...) {
			m[w] = struct{}{}
		}
		return m
	}
	labels := map[string]string{}
	for label := range set("labels", "team", "tier", "org.opencontainers.image.title") {
		labels[label] = "x"
	}
	config, err := json.Marshal(map[string]any{
		"User":         rapid.SampledFrom([]string{"", "root", "app", "0:1"}).Draw(t, "user"),
		"WorkingDir":   rapid.SampledFrom([]string{"", "/srv", "/srv/"}).Draw(t, "workdir"),
		"StopSignal":   rapid.SampledFrom([]string{"", "SIGTERM", "SIGINT"}).Draw(t, "signal"),
		"Entrypoint":   words("entrypoint", "/app", "sh"),
		"Cmd":          words("cmd", "serve", "-v"),
		"Shell":        words("shell", "bash"),
		"OnBuild":      words("onbuild", "RUN a"),
		"Healthcheck":  map[string]any{"Test": words("healthcheck", "NONE", "CMD")},
		"ExposedPorts": set("ports", "80", "80/tcp", "53/udp"),
		"Volumes":      set("volumes", "/data", "/data/", "/srv"),
		"Labels":       labels,
		"Env":          words("env", "PATH=/bin", "PATH=/bin:/opt", "LANG=C", "LANG=de", "A=1", "A=2", "GO_VERSION=1", "X_HOME=/x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return part{
		platform: platform,
		config:   string(config),
		size:     rapid.SampledFrom([]int64{0, 1 << 20, 1<<20 + 1<<19, 1 << 22}).Draw(t, "size"),
		manifest: rapid.SampledFrom([]string{"", `"artifactType": "application/x",`, `"annotations": {"org.opencontainers.image.base.name": "a"},`, `"annotations": {"org.opencontainers.image.base.name": "b"},`}).Draw(t, "manifest"),
		created:  drawTime(t),
	}
}

func drawTime(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"}).Draw(t, "created")
}

func drawParts(t *rapid.T) []part {
	var parts []part
	for _, platform := range rapid.SliceOfNDistinct(rapid.SampledFrom(platforms), 1, len(platforms), rapid.ID).Draw(t, "platforms") {
		parts = append(parts, drawPart(t, platform))
	}
	return parts
}

// drawSpec adds what a spec says to a contract.
func drawSpec(t *rapid.T, c Contract) Contract {
	c.Repository = rapid.SampledFrom([]string{"", "docker.io/acme/a", "docker.io/acme/b"}).Draw(t, "repository")
	c.ContractEnv = rapid.SliceOfN(rapid.SampledFrom([]string{"A", "GO_VERSION"}), 0, 2).Draw(t, "contractEnv")
	c.ContractLabels = rapid.SliceOfN(rapid.SampledFrom([]string{"team"}), 0, 1).Draw(t, "contractLabels")
	return c
}

// drawContract is an index, or a single manifest, of any image.
func drawContract(t *rapid.T) Contract {
	parts := drawParts(t)
	if len(parts) == 1 && rapid.Bool().Draw(t, "single") {
		return drawSpec(t, build(t, single(parts[0])))
	}
	return drawSpec(t, build(t, multi(parts...)))
}

func drawPolicy(t *rapid.T) Policy {
	return Policy{
		Mode:   modes.Draw(t, "mode"),
		Levels: rapid.MapOfN(rapid.SampledFrom(Rules()), levels, 0, 4).Draw(t, "levels"),
		Inform: rapid.Bool().Draw(t, "inform"),
	}
}

func build(t *rapid.T, s Source) Contract {
	c, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnImageKeepsItsOwnContract(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawContract(t)
		if found := Compare(c, c, drawPolicy(t)); len(found) > 0 {
			t.Fatalf("%v", found)
		}
	})
}

func TestAddingAPlatformNeedsAFeatureAtMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := drawParts(t)
		more := append(slices.Clone(parts), drawPart(t, "linux/s390x"))
		old := build(t, multi(parts...))
		if len(parts) == 1 && rapid.Bool().Draw(t, "single") {
			old = build(t, single(parts[0]))
		}
		p := drawPolicy(t)
		v := Judge(Compare(old, build(t, multi(more...)), p), p)
		if v.Needs != Feature || v.Right > max(p.Mode, Feature) {
			t.Fatalf("verdict is %+v", v)
		}
	})
}

// What one direction removes the other adds, name by name and platform by platform.
func TestRemovingMirrorsAdding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, new := drawContract(t), drawContract(t)
		p := drawPolicy(t)
		forth, back := Compare(old, new, p), Compare(new, old, p)
		of := func(findings []Finding, rule string) (names []string) {
			for _, f := range findings {
				if f.Rule == rule {
					names = append(names, fmt.Sprint(f.Subject, f.Platforms))
				}
			}
			return names
		}
		for _, thing := range []string{"platform", "port", "volume"} {
			if gone, came := of(forth, thing+"-removed"), of(back, thing+"-added"); !slices.Equal(gone, came) {
				t.Fatalf("%s: removed %v, added on the way back %v", thing, gone, came)
			}
		}
		// What differs by being one thing or another differs from both sides, with old and new swapped.
		swapped := func(findings []Finding, swap bool) (seen []string) {
			for _, f := range findings {
				switch f.Rule {
				case "entrypoint-changed", "cmd-changed", "workdir-changed", "stopsignal-changed", "shell-changed", "base-changed", "artifact-type-changed", "env-changed", "repository-changed":
					if swap {
						f.Old, f.New = f.New, f.Old
					}
					seen = append(seen, fmt.Sprint(f.Rule, f.Needs, f.Level, f.Platforms, f.Subject, f.Old, f.New))
				}
			}
			slices.Sort(seen)
			return seen
		}
		if a, b := swapped(forth, false), swapped(back, true); !slices.Equal(a, b) {
			t.Fatalf("changed %v, on the way back %v", a, b)
		}
	})
}

func TestOrderAndAttestationsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := drawParts(t)
		shuffled := rapid.Permutation(parts).Draw(t, "order")
		for range rapid.IntRange(0, 3).Draw(t, "attestations") {
			attestation := rapid.SampledFrom([]part{
				{platform: "unknown/unknown"},
				{platform: "linux/amd64", annotations: `{"vnd.docker.reference.type": "attestation-manifest"}`, config: `{"User": "nobody"}`},
			}).Draw(t, "attestation")
			at := rapid.IntRange(0, len(shuffled)).Draw(t, "at")
			shuffled = slices.Insert(slices.Clone(shuffled), at, attestation)
		}
		if a, b := build(t, multi(parts...)), build(t, multi(shuffled...)); !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v, in another order %+v", a, b)
		}
	})
}

// Only the rule about timestamps looks at them, and it never contradicts.
func TestTimestampsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := build(t, multi(drawParts(t)...))
		parts := drawParts(t)
		p := Policy{Mode: modes.Draw(t, "mode")}
		judged := func() (Verdict, []Finding) {
			findings := Compare(old, build(t, multi(parts...)), p)
			return Judge(findings, p), slices.DeleteFunc(findings, func(f Finding) bool { return f.Rule == "created-regressed" })
		}
		verdict, findings := judged()
		for i := range parts {
			parts[i].created = drawTime(t)
		}
		verdictThen, findingsThen := judged()
		if !reflect.DeepEqual(verdict, verdictThen) || !reflect.DeepEqual(findings, findingsThen) {
			t.Fatalf("%+v %v, at other times %+v %v", verdict, findings, verdictThen, findingsThen)
		}
	})
}

func TestVerdictsAreMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, new, p := drawContract(t), drawContract(t), drawPolicy(t)
		all := Compare(old, new, p)
		var some []Finding
		for _, f := range all {
			if rapid.Bool().Draw(t, "kept") {
				some = append(some, f)
			}
		}
		less, more := Judge(some, p), Judge(all, p)
		if less.Contradicted && !more.Contradicted || less.Right > more.Right || less.Needs > more.Needs || len(less.Accept) > len(more.Accept) {
			t.Fatalf("verdict on some is %+v, on all %+v", less, more)
		}
	})
}

// A greater mode is contradicted by less: at the latest the one said to be right is right.
func TestTheRightModeIsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, new, p := drawContract(t), drawContract(t), drawPolicy(t)
		p.Inform = false
		delete(p.Levels, "created-regressed") // raised to deny it needs an accept whatever the mode
		v := Judge(Compare(old, new, p), p)
		for mode := p.Mode; mode <= Incompatible; mode++ {
			q := p
			q.Mode = mode
			if got := Judge(Compare(old, new, q), q); got.Contradicted != (mode < v.Right) {
				t.Fatalf("%s is said to be right, %s has the verdict %+v", v.Right, mode, got)
			}
		}
		p.Accept = v.Accept
		if got := Judge(Compare(old, new, p), p); got.Contradicted || len(got.Unused) > 0 {
			t.Fatalf("after accepting %v the verdict is %+v", v.Accept, got)
		}
	})
}

// Findings do not depend on how platforms were grouped, and come in one order.
func TestFindingsAreOrdered(t *testing.T) {
	ids := Rules()
	rapid.Check(t, func(t *rapid.T) {
		old, new, p := drawContract(t), drawContract(t), drawPolicy(t)
		found := Compare(old, new, p)
		if again := Compare(old, new, p); !reflect.DeepEqual(found, again) {
			t.Fatalf("found %v, then %v", found, again)
		}
		seen := map[string]bool{}
		for i, f := range found {
			if i > 0 && slices.Index(ids, found[i-1].Rule) > slices.Index(ids, f.Rule) {
				t.Fatalf("%s comes after %s", f.Rule, found[i-1].Rule)
			}
			if !slices.IsSorted(f.Platforms) || len(slices.Compact(slices.Clone(f.Platforms))) != len(f.Platforms) {
				t.Fatalf("%s is on %v", f.Rule, f.Platforms)
			}
			key := strings.Join([]string{f.Rule, f.Subject, f.Old, f.New}, "|")
			if seen[key] {
				t.Fatalf("%s is found twice", key)
			}
			seen[key] = true
		}
	})
}
