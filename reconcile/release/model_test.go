package release_test

import (
	"fmt"
	"slices"
	"strings"

	"tidewaiter/reconcile/release"
)

// model is the naive reading of the rules that the planner is held against: it takes one commit at a time, has every answer
// at once, knows no polls, restarts or backlog, and after everything that happens it starts again from the first request.
// It shares the value types with the planner and nothing else.
type model struct {
	name    string
	outside outside
	spec    *release.Spec
	listed  bool
	open    []*ask // in first-parent order
	current *ask   // made by the spec as it stands
	made    []release.Release
	seen    func(feature string)
}

// ask is a request that is not final.
type ask struct {
	commit release.Commit
	image  release.Image
	up     release.Upgrade
	carry  release.Mode
	reason release.Reason
}

// play is what a history comes to.
func (h history) play(seen func(feature string)) outcome {
	models := h.models(seen)
	var o outcome
	for _, name := range h.names() {
		o = append(o, models[name].outcome())
	}
	return o
}

// models are the images at the end of a history, by name. It says which features it came across.
func (h history) models(seen func(feature string)) map[string]*model {
	models := map[string]*model{}
	for _, name := range h.names() {
		models[name] = &model{name: name, seen: seen}
	}
	var policy outside
	for i, e := range h {
		if e.outside != nil {
			for _, m := range models {
				m.move(*e.outside)
			}
			policy.up = e.outside.up
			if policy != *e.outside {
				seen("policy change")
			}
			policy = *e.outside
			continue
		}
		models[e.name].commit(h.change(i))
	}
	return models
}

func (m *model) move(o outside) {
	m.outside = o
	m.settle()
}

func (m *model) commit(c release.Change) {
	switch {
	case c.Problems != nil:
		m.seen("invalid")
	case c.Spec == nil:
		if len(m.open) > 0 {
			m.seen("queue dropped")
		}
		m.listed, m.open, m.current = false, nil, nil
	default:
		before, appears := m.spec, !m.listed
		m.spec, m.listed = c.Spec, true
		if appears && before != nil {
			m.seen("relisted")
		}
		switch {
		case appears || before.Image.Reference != c.Spec.Image.Reference || !before.Upgrade.Equal(c.Spec.Upgrade):
			m.current = &ask{commit: c.Commit, image: c.Spec.Image, up: c.Spec.Upgrade}
			m.open = append(m.open, m.current)
		case m.current != nil && !m.current.image.Equal(c.Spec.Image):
			m.current.image = c.Spec.Image // for the next look
			m.seen("next look")
		}
	}
	m.settle()
}

func (m *model) settle() {
	if m.held() {
		if len(m.open) > 1 {
			m.seen("held")
		}
		return
	}
	for m.step() {
	}
}

func (m *model) held() bool {
	return m.outside.suspend || m.outside.broken || m.spec != nil && m.spec.Suspend
}

// step lets one thing happen, and reports whether anything did.
func (m *model) step() bool {
	for _, r := range m.open {
		var before []*ask
		for _, q := range m.open {
			if q == r {
				break
			}
			if m.line(q) == m.line(r) {
				before = append(before, q)
			}
		}
		if m.line(r) != "head" && slices.ContainsFunc(m.open, func(q *ask) bool { return m.line(q) == "head" }) {
			m.seen("from beside head")
		}
		if r.up.From != nil && len(m.made) > 0 && *r.up.From == m.max(nil) {
			if len(before) > 0 || r.carry != 0 {
				m.seen("taken over")
				m.drop(before...)
				r.carry = 0
				return true
			}
		} else if len(before) > 0 {
			if waits(m.verdict(before[0]).Reason) {
				if len(m.made) == 0 && before[0].image.Registry != r.image.Registry {
					m.seen("another host")
					m.supersede(append(before, r)...)
					return true
				}
				r.reason = ""
				m.seen("passed over")
				continue
			}
			m.supersede(before[0], r)
			return true
		}
		v := m.verdict(r)
		r.reason = v.Reason
		switch v.Reason {
		case release.Released:
			if v.Mode > r.up.Mode && len(m.made) > 0 {
				m.seen("carried")
			}
			m.made = append(m.made, v.Release)
		case release.AlreadyReleased:
		default:
			continue
		}
		m.seen(string(v.Reason))
		m.drop(r)
		return true
	}
	for _, r := range m.open {
		m.seen(string(r.reason))
	}
	return false
}

type verdict struct {
	release.Release
	release.Reason
}

// verdict goes through the rules in their order.
func (m *model) verdict(r *ask) verdict {
	v := verdict{Release: release.Release{Mode: r.up.Mode, Image: r.image, Upgrade: r.up, Request: r.commit, Carried: r.carry, Time: origin}}
	if r.up.From == nil {
		v.Mode = max(r.up.Mode, r.carry)
	}
	switch base := r.up.From; {
	case len(m.made) == 0 && base == nil:
		v.Version = release.Version{Major: 1}
	case len(m.made) > 0 && base != nil && !m.has(*base):
		return verdict{Reason: release.UnknownBase}
	default:
		if base == nil {
			newest := m.max(nil)
			base = &newest
		}
		v.Version = raise(*base, v.Mode)
	}
	if m.has(v.Version) {
		return verdict{Reason: release.VersionExists}
	}
	world := m.outside.world()
	if _, reason := world.Policy.Judge(r.image); reason != "" {
		return verdict{Reason: reason}
	}
	answer := m.outside.answer(r.image)
	if answer.Reason != "" {
		return verdict{Reason: answer.Reason}
	}
	v.Digest = answer.Digest
	for _, old := range m.made {
		if old.Version != m.max(r.up.From) || old.Digest != v.Digest {
			continue
		}
		withdrawn := slices.ContainsFunc(m.spec.Withdrawn, func(w release.Withdrawal) bool { return w.Version == old.Version })
		if !withdrawn || r.up.Mode != release.Incompatible {
			return verdict{Reason: release.AlreadyReleased}
		}
		m.seen("digest moved to a new line")
	}
	if m.used(r.up) {
		return verdict{Reason: release.UpgradeNotDeclared}
	}
	if m.breaks(v) {
		return verdict{Reason: release.UpgradeContradicted}
	}
	v.Reason = release.Released
	return v
}

// breaks is what the upgrade checks say of images whose tags say so: they need an incompatible upgrade of whatever is served.
func (m *model) breaks(v verdict) bool {
	if !strings.HasPrefix(v.Image.Tag, "breaks") || v.Mode == release.Incompatible {
		return false
	}
	for _, old := range m.made {
		if v.Upgrade.From != nil {
			if old.Version == *v.Upgrade.From {
				return true
			}
			continue
		}
		withdrawn := slices.ContainsFunc(m.spec.Withdrawn, func(w release.Withdrawal) bool { return w.Version == old.Version })
		if old.Version.Major == m.max(nil).Major && !withdrawn {
			return true
		}
	}
	return false
}

// supersede makes each of the requests but the last superseded by the one behind it.
func (m *model) supersede(queue ...*ask) {
	for i, old := range queue[:len(queue)-1] {
		m.seen("superseded")
		by := queue[i+1]
		by.carry = max(by.carry, old.carry)
		switch {
		case by.image.Reference == old.image.Reference:
			m.seen("corrected")
		case !m.used(old.up):
			by.carry = max(by.carry, old.up.Mode)
		}
		m.drop(old)
	}
}

func (m *model) drop(asks ...*ask) {
	m.open = slices.DeleteFunc(slices.Clone(m.open), func(r *ask) bool { return slices.Contains(asks, r) })
	if slices.Contains(asks, m.current) {
		m.current = nil
	}
}

func waits(r release.Reason) bool {
	return r == release.RegistryUnavailable || r == release.RateLimited || r == release.InternalError
}

func (m *model) used(u release.Upgrade) bool {
	return !m.outside.inherit && slices.ContainsFunc(m.made, func(r release.Release) bool { return r.Upgrade.Equal(u) })
}

func (m *model) has(v release.Version) bool {
	return slices.ContainsFunc(m.made, func(r release.Release) bool { return r.Version == v })
}

// max is the newest version released, of one line where from is given.
func (m *model) max(from *release.Version) release.Version {
	var newest release.Version
	for _, r := range m.made {
		if (from == nil || r.Version.Major == from.Major) && r.Version.Compare(newest) > 0 {
			newest = r.Version
		}
	}
	return newest
}

// line names the queue of a request.
func (m *model) line(r *ask) string {
	if len(m.made) == 0 || r.up.From == nil || *r.up.From == m.max(nil) {
		return "head"
	}
	return fmt.Sprint(r.up.From.Major)
}

func raise(v release.Version, mode release.Mode) release.Version {
	switch mode {
	case release.Fix:
		return release.Version{Major: v.Major, Minor: v.Minor, Patch: v.Patch + 1}
	case release.Feature:
		return release.Version{Major: v.Major, Minor: v.Minor + 1}
	case release.Incompatible:
		return release.Version{Major: v.Major + 1}
	}
	panic("no history declares another mode")
}

// outcome is what a history came to, image by image, in words: equal words are equal releases, in the order they were made,
// equal open requests and equal channels.
type outcome []string

func (m *model) outcome() string {
	var open []string
	for _, r := range m.open {
		open = append(open, openText(r.commit, r.image, r.carry, r.reason, m.held()))
	}
	var channels []string
	names := map[string]release.Release{}
	for _, r := range m.made {
		if !m.listed || slices.ContainsFunc(m.spec.Withdrawn, func(w release.Withdrawal) bool { return w.Version == r.Version }) {
			continue
		}
		v := r.Version
		for _, name := range []string{"latest", fmt.Sprintf("%d.latest", v.Major), fmt.Sprintf("%d.%d.latest", v.Major, v.Minor)} {
			if old, ok := names[name]; !ok || old.Version.Compare(v) < 0 {
				names[name] = r
			}
		}
	}
	for name, r := range names {
		channels = append(channels, channelText(name, r.Version, r.Image.Registry+"/"+r.Image.Repository+":"+r.Image.Tag+"@"+string(r.Digest)))
	}
	return outcomeText(m.name, m.made, open, channels)
}

func openText(c release.Commit, i release.Image, carried release.Mode, reason release.Reason, held bool) string {
	if held {
		reason = "held" // what was found out before the hold depends on when that was
	}
	return fmt.Sprintf("%s %s %s%v carrying %v: %s", c.ID, i, i.Credentials, i.Platforms, carried, reason)
}

func channelText(name string, v release.Version, reference string) string {
	return fmt.Sprintf("%s = %s %s", name, v, reference)
}

func outcomeText(name string, made []release.Release, open, channels []string) string {
	slices.Sort(channels)
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n", name)
	for _, r := range made {
		fmt.Fprintf(&text, "  released %s %s %s %s carrying %s\n", r.Version, r.Digest[len("sha256:"):][:8], r.Mode, r.Request.ID, r.Carried)
	}
	for _, s := range open {
		fmt.Fprintf(&text, "  open %s\n", s)
	}
	for _, s := range channels {
		fmt.Fprintf(&text, "  channel %s\n", s)
	}
	return text.String()
}
