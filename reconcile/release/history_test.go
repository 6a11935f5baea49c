package release_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/release"
)

// A history is what the tests plan: the first-parent commits of a catalog, and between them changes of what holds outside of
// it. It is written one event a line, so that a case reads as a story and a random history that fails can be pasted as a case:
//
//	1 fix                          a commit: the spec asks for tag 1, declared as a compatible fix with notes of its own
//	b: 2@b feature                 the same for the image b (it is a unless said) on the registry b.test (a.test)
//	3 fix from=1.4.2 note=x accept=r pin suspend cred=key platform=linux/arm64 withdrawn=1.0.0,1.1.0
//	invalid                        a commit: the spec has mistakes
//	delete                         a commit: the spec is deleted
//	> inherit deny digests suspend broken up
//	                               no commit: what holds from here on, everything before being settled: the policy's
//	                               undeclaredUpgrade: inherit, without b.test in its registries, requireDigest, suspend, an
//	                               invalid policy, and registries that are up
//
// A tag says what its registry answers: it is found unless it begins with gone (ImageNotFound), private (AccessDenied without
// a credential), breaks (found, and UpgradeContradicted unless it is incompatible), down (RegistryUnavailable unless they are up), busy (RateLimited for ever) or ours (our own error unless they
// are up). Its number is its content: 1 and 1b have the same digest.
type history []event

type event struct {
	name    string
	spec    *release.Spec
	invalid bool
	outside *outside
}

// outside is what holds outside of an image's own history.
type outside struct {
	inherit, deny, digests, suspend, broken, up bool
}

var origin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// commit is the first-parent commit of the event i, c1 that of the first line.
func (h history) commit(i int) release.Commit {
	return release.Commit{ID: "c" + strconv.Itoa(i+1), Author: "Ada", Committer: "Grace", Time: origin.Add(time.Duration(i) * time.Hour)}
}

func (h history) change(i int) release.Change {
	c := release.Change{Commit: h.commit(i), Spec: h[i].spec}
	if h[i].invalid {
		c.Broken = "images/" + h[i].name + ".yaml"
		c.Problems = []string{c.Broken + ":3:5: unknown field"}
	}
	return c
}

// names are the images of the history.
func (h history) names() []string {
	var names []string
	for _, e := range h {
		if e.outside == nil && !slices.Contains(names, e.name) {
			names = append(names, e.name)
		}
	}
	return names
}

func (o outside) world() release.World {
	w := release.World{Now: origin, Check: breaks}
	w.Policy.Registries = []release.Registry{{Host: "a.test", Credentials: "key"}, {Host: "b.test", Credentials: "key"}}
	if o.deny {
		w.Policy.Registries = w.Policy.Registries[:1]
	}
	w.Policy.InheritUpgrade, w.Policy.RequireDigest, w.Policy.Suspend = o.inherit, o.digests, o.suspend
	switch {
	case o.broken:
		w.Hold = release.InvalidPolicy
	case o.suspend:
		w.Hold = release.Suspended
	}
	return w
}

// answer is what the world says of an image.
func (o outside) answer(i release.Image) release.Answer {
	kind := strings.TrimRight(strings.TrimRight(i.Tag, "bcd"), "0123456789")
	switch {
	case kind == "gone":
		return release.Answer{Reason: release.ImageNotFound}
	case kind == "private" && i.Credentials == "":
		return release.Answer{Reason: release.AccessDenied}
	case kind == "down" && !o.up:
		return release.Answer{Reason: release.RegistryUnavailable}
	case kind == "busy":
		return release.Answer{Reason: release.RateLimited}
	case kind == "ours" && !o.up:
		return release.Answer{Reason: release.InternalError}
	}
	return release.Answer{Digest: digestOf(i.Tag)}
}

// breaks says of images whose tags say so that they need an incompatible upgrade.
func breaks(c release.Check) (release.Reason, *release.Verdict) {
	if !strings.HasPrefix(c.Image.Tag, "breaks") || c.Mode == release.Incompatible || c.Baseline == nil || c.Inform {
		return "", nil
	}
	return release.UpgradeContradicted, &release.Verdict{
		Baseline: c.Baseline.Version, Right: release.Incompatible, Findings: []string{"it breaks"}, Accept: []string{"{rule: breaks}"},
	}
}

func digestOf(tag string) release.Digest {
	number := strings.Trim(tag, "abcdefghijklmnopqrstuvwxyz")
	return release.Digest(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(number))))
}

var shortModes = map[string]release.Mode{"fix": release.Fix, "feature": release.Feature, "incompatible": release.Incompatible}

func shortMode(m release.Mode) string { return strings.TrimPrefix(m.String(), "compatible-") }

func version(s string) release.Version {
	v, err := release.ParseVersion(s)
	if err != nil {
		panic(err)
	}
	return v
}

func parse(t testing.TB, text string) history {
	t.Helper()
	var h history
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		e, err := parseEvent(line, len(h)+1)
		if err != nil {
			t.Fatalf("history, line %d: %v", len(h)+1, err)
		}
		h = append(h, e)
	}
	return h
}

func parseEvent(line string, number int) (event, error) {
	words := strings.Fields(line)
	if words[0] == ">" {
		var o outside
		for _, word := range words[1:] {
			flag, ok := o.flags()[word]
			if !ok {
				return event{}, fmt.Errorf("unknown word %q", word)
			}
			*flag = true
		}
		return event{outside: &o}, nil
	}
	e := event{name: "a"}
	if name, ok := strings.CutSuffix(words[0], ":"); ok {
		e.name, words = name, words[1:]
	}
	switch words[0] {
	case "delete":
		return e, nil
	case "invalid":
		e.invalid = true
		return e, nil
	}
	tag, host, _ := strings.Cut(words[0], "@")
	spec := release.Spec{Path: "images/" + e.name + ".yaml"}
	spec.Image.Reference = release.Reference{Registry: host + ".test", Repository: "acme/" + e.name, Tag: tag}
	if host == "" {
		spec.Image.Registry = "a.test"
	}
	spec.Upgrade.Notes = "n" + strconv.Itoa(number)
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "from":
			from := version(value)
			spec.Upgrade.From = &from
		case "note":
			spec.Upgrade.Notes = value
		case "accept":
			spec.Upgrade.Accept = []release.Accept{{Rule: value, Reason: "documented"}}
		case "pin":
			spec.Image.Digest = digestOf(tag)
		case "suspend":
			spec.Suspend = true
		case "cred":
			spec.Image.Credentials = value
		case "platform":
			spec.Image.Platforms = []release.Platform{release.Platform(value)}
		case "withdrawn":
			for v := range strings.SplitSeq(value, ",") {
				spec.Withdrawn = append(spec.Withdrawn, release.Withdrawal{Version: version(v), Reason: "broken"})
			}
		default:
			mode, ok := shortModes[key]
			if !ok {
				return event{}, fmt.Errorf("unknown word %q", word)
			}
			spec.Upgrade.Mode = mode
		}
	}
	e.spec = &spec
	return e, nil
}

func (o *outside) flags() map[string]*bool {
	return map[string]*bool{
		"inherit": &o.inherit, "deny": &o.deny, "digests": &o.digests, "suspend": &o.suspend, "broken": &o.broken, "up": &o.up,
	}
}

// String writes what parse reads.
func (h history) String() string {
	var text strings.Builder
	for i, e := range h {
		text.WriteString(e.text("n"+strconv.Itoa(i+1)) + "\n")
	}
	return text.String()
}

func (e event) text(notes string) string {
	if e.outside != nil {
		words := []string{">"}
		for word, set := range e.outside.flags() {
			if *set {
				words = append(words, word)
			}
		}
		slices.Sort(words)
		return strings.Join(words, " ")
	}
	var words []string
	if e.name != "a" {
		words = append(words, e.name+":")
	}
	switch s := e.spec; {
	case e.invalid:
		words = append(words, "invalid")
	case s == nil:
		words = append(words, "delete")
	default:
		words = append(words, shortTag(s.Image.Reference), shortMode(s.Upgrade.Mode))
		if s.Upgrade.From != nil {
			words = append(words, "from="+s.Upgrade.From.String())
		}
		if s.Upgrade.Notes != notes {
			words = append(words, "note="+s.Upgrade.Notes)
		}
		for _, a := range s.Upgrade.Accept {
			words = append(words, "accept="+a.Rule)
		}
		if s.Image.Digest != "" {
			words = append(words, "pin")
		}
		if s.Suspend {
			words = append(words, "suspend")
		}
		if s.Image.Credentials != "" {
			words = append(words, "cred="+s.Image.Credentials)
		}
		for _, p := range s.Image.Platforms {
			words = append(words, "platform="+string(p))
		}
		var withdrawn []string
		for _, w := range s.Withdrawn {
			withdrawn = append(withdrawn, w.Version.String())
		}
		if withdrawn != nil {
			words = append(words, "withdrawn="+strings.Join(withdrawn, ","))
		}
	}
	return strings.Join(words, " ")
}

func shortTag(r release.Reference) string {
	if r.Registry == "a.test" {
		return r.Tag
	}
	return r.Tag + "@" + strings.TrimSuffix(r.Registry, ".test")
}
