package release_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tidewaiter/reconcile/release"
)

var (
	seedFlag  = flag.Uint64("history.seed", 0, "seed of the first random history; 0 draws one")
	countFlag = flag.Int("history.count", 2000, "number of random histories; a fifth of it with -short")
)

// The features that histories are about, and the smallest share of the histories, in percent, that must have each:
// without it the property would hold of histories in which nothing happens.
var features = map[string]int{
	"carried": 5, "corrected": 5, "superseded": 5, "from beside head": 5, "UpgradeNotDeclared": 5, "invalid": 5, "relisted": 5,
	"policy change": 5, "restart between write and answer": 5,
	"AlreadyReleased": 5, "VersionExists": 5, "UpgradeContradicted": 5, "UnknownBase": 5, "passed over": 5, "taken over": 5, "ImageNotFound": 5,
	"RegistryUnavailable": 5, "RateLimited": 5, "InternalError": 5, "AccessDenied": 5, "RegistryNotAllowed": 2, "InvalidSpec": 2,
	"held": 2, "queue dropped": 5, "next look": 2, "another host": 2, "digest moved to a new line": 1,
}

// TestOutcomeIsIndependentOfPollingAndCrashes is the promise of the package: the same releases come out, in the same order,
// whenever the daemon looks, however late the answers come and wherever it is killed. It also leaves the same requests open
// and the same channels.
func TestOutcomeIsIndependentOfPollingAndCrashes(t *testing.T) {
	t.Parallel()
	seed, count := *seedFlag, *countFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	if testing.Short() {
		count /= 5
	}
	found := map[string]int{}
	for n := range uint64(count) {
		r := rand.New(rand.NewPCG(seed, n))
		seen := map[string]bool{}
		see := func(feature string) { seen[feature] = true }
		h := randomHistory(r.IntN)
		if again := parse(t, h.String()); again.String() != h.String() {
			t.Fatalf("a history reads back as another:\n%s\nbecame\n%s", h, again)
		}
		if err := h.check(r.IntN, see); err != nil {
			h = h.shrink()
			t.Fatalf("history %d of -history.seed=%d: %v\nthe shortest like it:\n%s%v", n, seed, err, h, h.checkOften(100))
		}
		for feature := range seen {
			found[feature]++
		}
	}
	for _, feature := range slices.Sorted(maps.Keys(features)) {
		share := 100 * float64(found[feature]) / float64(count)
		t.Logf("%5.1f %% of histories: %s", share, feature)
		if share < float64(features[feature]) {
			t.Errorf("only %.1f %% of the histories of -history.seed=%d have %q, want %d %%", share, seed, feature, features[feature])
		}
	}
}

// check follows the history once, with choices from pick, and compares what comes out with the model.
func (h history) check(pick func(n int) int, seen func(feature string)) error {
	want := h.play(seen)
	got, err := h.live(pick, seen)
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("the daemon comes to\n%sand the model to\n%s", strings.Join(got, ""), strings.Join(want, ""))
	}
	return err
}

// checkOften follows the history with so many patterns of polls, answers and restarts.
func (h history) checkOften(patterns uint64) error {
	for n := range patterns {
		if err := h.check(rand.New(rand.NewPCG(n, n)).IntN, func(string) {}); err != nil {
			return err
		}
	}
	return nil
}

// shrink leaves events out for as long as the history fails.
func (h history) shrink() history {
	for i := 0; i < len(h); i++ {
		if shorter := slices.Delete(slices.Clone(h), i, i+1); shorter.checkOften(100) != nil {
			h, i = shorter, -1
		}
	}
	return h
}

// author writes random histories that are about something: what it declares next depends on what is released.
type author struct {
	pick   func(n int) int
	models map[string]*model
	specs  map[string][]release.Spec // by image, every one there was
}

// randomHistory is a history of 5 to 40 commits of 1 to 3 images.
func randomHistory(pick func(n int) int) history {
	names := []string{"a", "b", "c"}[:1+pick(3)]
	w := author{pick, map[string]*model{}, map[string][]release.Spec{}}
	for _, name := range names {
		w.models[name] = &model{name: name, seen: func(string) {}}
	}
	var h history
	var o outside
	for commits := 5 + pick(36); commits > 0; {
		if pick(16) == 0 || (o.suspend || o.broken) && pick(4) == 0 {
			o = w.turn(o)
			h = append(h, event{outside: &o})
			for _, m := range w.models {
				m.move(o)
			}
			continue
		}
		e := w.commit(names[pick(len(names))], len(h)+1)
		h = append(h, e)
		w.models[e.name].commit(h.change(len(h) - 1))
		commits--
	}
	return h
}

// turn changes one thing outside.
func (w author) turn(o outside) outside {
	switch {
	case o.suspend || o.broken:
		o.suspend, o.broken = false, false
	default:
		flag := []*bool{&o.inherit, &o.deny, &o.digests, &o.suspend, &o.broken, &o.up, &o.up}[w.pick(7)]
		*flag = !*flag
	}
	return o
}

func (w author) commit(name string, line int) event {
	m := w.models[name]
	e := event{name: name}
	if m.spec == nil {
		if e.invalid = w.pick(10) == 0; !e.invalid {
			e.spec = w.request(m, release.Spec{}, line)
		}
		return e
	}
	s := *m.spec
	switch choice := w.pick(20); {
	case choice == 0:
		e.invalid = true
		return e
	case choice == 1 && m.listed:
		return e
	case choice < 4:
		w.edit(m, &s)
		e.spec = &s
	case s.Suspend && choice < 10:
		s.Suspend = false
		e.spec = &s
	case choice == 10: // git revert, of the image and its declaration
		old := w.specs[name][w.pick(len(w.specs[name]))]
		s.Image, s.Upgrade = old.Image, old.Upgrade
		e.spec = &s
	case !m.listed && choice < 16: // appears again as it was
		e.spec = &s
	default:
		e.spec = w.request(m, s, line)
	}
	return e
}

// edit changes what makes no request.
func (w author) edit(m *model, s *release.Spec) {
	switch w.pick(4) {
	case 0:
		s.Image.Credentials = []string{"", "key", "key", "other"}[w.pick(4)]
	case 1:
		s.Image.Platforms = [][]release.Platform{nil, {"linux/arm64"}}[w.pick(2)]
	case 2:
		s.Suspend = !s.Suspend
	case 3:
		s.Withdrawn = nil
		if len(m.made) > 0 && w.pick(4) > 0 {
			s.Withdrawn = []release.Withdrawal{{Version: w.version(m), Reason: "broken"}}
		}
	}
}

// refused reports whether the newest request waits for a correction.
func (m *model) refused() bool {
	return len(m.open) > 0 && !waits(m.open[len(m.open)-1].reason)
}

// version is one that was released, the newest one often.
func (w author) version(m *model) release.Version {
	if w.pick(3) == 0 {
		return m.max(nil)
	}
	return m.made[w.pick(len(m.made))].Version
}

// request changes the reference or the declaration, or both.
func (w author) request(m *model, s release.Spec, line int) *release.Spec {
	s.Path = "images/" + m.name + ".yaml"
	if s.Upgrade.Mode == 0 || w.pick(5) > 0 {
		kind := []string{"", "", "", "", "", "", "gone", "gone", "breaks", "breaks", "down", "busy", "private", "ours"}[w.pick(14)]
		if m.refused() && w.pick(2) == 0 {
			kind = ""
		}
		host := []string{"a.test", "a.test", "a.test", "b.test"}[w.pick(4)]
		s.Image.Reference = release.Reference{Registry: host, Repository: "acme/" + m.name, Tag: kind + strconv.Itoa(line)}
		if w.pick(8) == 0 {
			s.Image.Digest = digestOf(s.Image.Tag)
		}
	}
	withdrawn := len(s.Withdrawn) > 0 && s.Withdrawn[0].Version == m.max(nil)
	if len(m.made) > 0 && (w.pick(8) == 0 || withdrawn && w.pick(2) == 0) { // another tag for content released before
		old := m.made[len(m.made)-1].Image.Reference
		s.Image.Reference = release.Reference{Registry: old.Registry, Repository: old.Repository, Tag: strings.TrimRight(old.Tag, "bcd") + string("bcd"[w.pick(3)])}
	}
	switch w.pick(8) {
	case 0:
		if len(m.made) > 0 {
			s.Upgrade = m.made[w.pick(len(m.made))].Upgrade
		}
	case 1: // the declaration that stands there
	default:
		s.Upgrade = release.Upgrade{Mode: release.Modes()[w.pick(3)], Notes: "n" + strconv.Itoa(line)}
		if m.refused() && w.pick(2) == 0 { // by less than what it supersedes and carries
			s.Upgrade.Mode = release.Fix
		}
		if w.pick(10) == 0 {
			s.Upgrade.Accept = []release.Accept{{Rule: "r", Reason: "documented"}}
		}
		switch {
		case len(m.made) == 0 && w.pick(6) == 0, w.pick(12) == 0:
			s.Upgrade.From = &release.Version{Major: uint32(w.pick(3)), Minor: uint32(w.pick(3)), Patch: uint32(w.pick(2))}
		case len(m.made) > 0 && w.pick(3) == 0:
			from := w.version(m)
			s.Upgrade.From = &from
		}
	}
	if s.Upgrade.Mode == 0 {
		s.Upgrade = release.Upgrade{Mode: release.Fix, Notes: "n" + strconv.Itoa(line)}
	}
	w.specs[m.name] = append(w.specs[m.name], s)
	return &s
}
