package release_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"tidewaiter/reconcile/release"
)

// daemon lives through a history as the real one does: it polls when it likes, asks registries whose answers come late and in
// any order, writes what it knows to Git from time to time and is killed at any moment, losing everything it did not write.
// Its choices come from pick, which returns one of 0..n-1.
type daemon struct {
	history history
	pick    func(n int) int
	seen    func(feature string)
	outside outside
	disk

	states map[string]release.State
	made   map[string][]release.Release // by image, in the order they were made
	walked int                          // events seen
	asked  []release.Look               // not answered yet
	known  map[question]bool            // answered
	clock  time.Time
}

// disk is what survives.
type disk struct {
	observed int
	statuses map[string]release.ImageStatus
	releases map[string][]release.Release // by image, in the order they were made
}

// question tells looks apart as the daemon does.
type question struct{ name, commit, image string }

func questionOf(l release.Look) question {
	return question{l.Name, l.Commit, fmt.Sprint(l.Image, l.Image.Credentials, l.Image.Platforms)}
}

// live is what a history comes to when a daemon with these choices follows it. The error is a promise broken on the way.
func (h history) live(pick func(n int) int, seen func(feature string)) (outcome, error) {
	d := &daemon{history: h, pick: pick, seen: seen, clock: origin}
	d.restart()
	for from := 0; from < len(h); {
		to := from
		for to < len(h) && h[to].outside == nil {
			to++
		}
		if err := d.stretch(to); err != nil {
			return nil, err
		}
		if to < len(h) {
			d.outside, d.walked, d.known, d.asked = *h[to].outside, to+1, map[question]bool{}, nil
			d.write()
			to++
		}
		from = to
	}
	if err := d.settle(); err != nil {
		return nil, err
	}
	return d.outcome(), nil
}

// stretch follows the history up to an event, while nothing changes outside, and comes to rest.
func (d *daemon) stretch(to int) error {
	for range 2 + 3*(to-d.walked) {
		switch d.pick(9) {
		case 0, 1, 2:
			if d.walked < to {
				d.poll(d.walked + 1 + d.pick(min(6, to-d.walked)))
			}
		case 3, 4:
			if err := d.advance(); err != nil {
				return err
			}
		case 5, 6:
			d.answer()
		case 7:
			d.write()
		case 8:
			if d.pick(2) == 0 {
				d.write()
				if len(d.asked) > 0 {
					d.seen("restart between write and answer")
				}
			}
			d.restart()
		}
	}
	d.poll(to)
	return d.settle()
}

func (d *daemon) poll(to int) {
	for ; d.walked < to; d.walked++ {
		name := d.history[d.walked].name
		d.states[name] = d.states[name].Observe(d.history.change(d.walked))
	}
}

func (d *daemon) answer() {
	if len(d.asked) > 0 {
		i := d.pick(len(d.asked))
		d.known[questionOf(d.asked[i])] = true
		d.asked = slices.Delete(d.asked, i, i+1)
	}
}

// settle answers everything until there is nothing more to ask.
func (d *daemon) settle() error {
	for {
		if err := d.advance(); err != nil || len(d.asked) == 0 {
			return err
		}
		for len(d.asked) > 0 {
			d.answer()
		}
	}
}

// world answers what was answered before, or everything at once, as it is when a plan could not be written and is made again.
func (d *daemon) world(everything bool) release.World {
	w := d.outside.world()
	w.Look = func(l release.Look) (release.Answer, bool) {
		if !everything && !d.known[questionOf(l)] {
			return release.Answer{}, false
		}
		d.known[questionOf(l)] = true
		return d.outside.answer(l.Image), true
	}
	return w
}

func (d *daemon) advance() error {
	d.clock = d.clock.Add(time.Minute)
	for _, name := range d.history.names() {
		before := d.states[name]
		world, careful := d.world(d.pick(8) == 0), d.pick(8) == 0
		var kept release.State
		if careful {
			kept = reread(before)
		}
		after, made, look := before.Advance(world)
		if err := consistent(before, after, made); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
		if careful {
			again, more, same := after.Advance(world)
			switch {
			case !reflect.DeepEqual(before, kept):
				return fmt.Errorf("image %s: planning changed the state it was given:\n%+v\n%+v", name, kept, before)
			case len(more) > 0 || !reflect.DeepEqual(again, after) || !reflect.DeepEqual(same, look):
				return fmt.Errorf("image %s: planning again with nothing new changed something:\n%+v\n%+v", name, after, again)
			}
		}
		d.states[name] = after
		d.made[name] = append(d.made[name], made...)
		if look != nil && !slices.ContainsFunc(d.asked, func(l release.Look) bool { return questionOf(l) == questionOf(*look) }) {
			d.asked = append(d.asked, *look)
		}
	}
	return nil
}

// consistent holds what must be true of every step, whatever the history is.
func consistent(before, after release.State, made []release.Release) error {
	known := slices.Clone(before.Releases)
	for _, r := range made {
		base := release.Version{}
		if len(known) > 0 {
			base = slices.MaxFunc(known, func(a, b release.Release) int { return a.Version.Compare(b.Version) }).Version
		}
		if r.Upgrade.From != nil {
			base = *r.Upgrade.From
		}
		switch next, err := base.Bump(r.Mode); {
		case slices.ContainsFunc(known, func(old release.Release) bool { return old.Version == r.Version }):
			return fmt.Errorf("version %s is used twice", r.Version)
		case r.Version.Compare(base) <= 0:
			return fmt.Errorf("version %s is not above %s, which it upgrades", r.Version, base)
		case len(known) == 0 && r.Upgrade.From == nil && r.Version != release.First:
			return fmt.Errorf("the first version is %s", r.Version)
		case (len(known) > 0 || r.Upgrade.From != nil) && (err != nil || next != r.Version):
			return fmt.Errorf("version %s is not the next %v one after %s", r.Version, r.Mode, base)
		}
		known = append(known, r)
	}
	if len(known) != len(after.Releases) {
		return fmt.Errorf("%d releases became %d, and %d were made", len(before.Releases), len(after.Releases), len(made))
	}
	for i, r := range after.Releases[min(1, len(after.Releases)):] {
		if after.Releases[i].Version.Compare(r.Version) >= 0 {
			return fmt.Errorf("releases are out of order: %v", after.Releases)
		}
	}
	for _, r := range before.Releases {
		if kept, ok := after.Find(r.Version); !ok || !reflect.DeepEqual(kept, r) {
			return fmt.Errorf("the record of %s changed", r.Version)
		}
	}
	channels := map[string]release.Version{}
	for _, c := range after.Channels() {
		channels[c.Name] = c.Version
	}
	for _, c := range before.Channels() {
		_, withdrawn := after.Withdrawn(c.Version)
		if channels[c.Name].Compare(c.Version) < 0 && !withdrawn && after.Listed {
			return fmt.Errorf("channel %s moved from %s to %s", c.Name, c.Version, channels[c.Name])
		}
	}
	return nil
}

// write puts what is known into Git.
func (d *daemon) write() {
	now := disk{d.walked, map[string]release.ImageStatus{}, map[string][]release.Release{}}
	for name, state := range d.states {
		now.statuses[name] = state.Status(d.statuses[name], d.outside.world().Hold, d.pick(2) == 0, d.clock)
		now.releases[name] = slices.Clone(d.made[name])
	}
	d.disk = now
}

// restart forgets everything but what was written.
func (d *daemon) restart() {
	d.states, d.made = map[string]release.State{}, map[string][]release.Release{}
	d.asked, d.known, d.walked = nil, map[question]bool{}, d.observed
	for _, name := range d.history.names() {
		d.made[name] = slices.Clone(d.releases[name])
		byVersion := slices.SortedFunc(slices.Values(d.made[name]), func(a, b release.Release) int { return a.Version.Compare(b.Version) })
		d.states[name] = reread(d.statuses[name]).Restore(name, byVersion)
	}
}

func (d *daemon) outcome() outcome {
	var o outcome
	for _, name := range d.history.names() {
		s := d.states[name]
		held := d.outside.world().Hold != "" || s.Spec != nil && s.Spec.Suspend
		var open, channels []string
		for _, r := range s.Requests {
			open = append(open, openText(r.Commit, r.Image, r.Carried, r.Reason, held))
		}
		for _, c := range s.Channels() {
			channels = append(channels, channelText(c.Name, c.Version, c.Reference))
		}
		o = append(o, outcomeText(name, d.made[name], open, channels))
	}
	return o
}

// reread is a value as it comes back from a file; nothing of it is shared.
func reread[T any](value T) (again T) {
	if err := json.Unmarshal([]byte(asJSON(value)), &again); err != nil {
		panic(err)
	}
	return again
}

func asJSON(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// answering is a world in which every answer is there at once.
func answering(o outside) release.World {
	w := o.world()
	w.Look = func(l release.Look) (release.Answer, bool) { return o.answer(l.Image), true }
	return w
}

// state is where a history of one image leads when every answer is there at once.
func state(h history, w release.World) release.State {
	s := release.State{Name: "a"}
	for i := range h {
		s = s.Observe(h.change(i))
	}
	s, _, _ = s.Advance(w)
	return s
}

// unanswered is a world in which nothing is known yet.
func unanswered(o outside) release.World {
	w := o.world()
	w.Look = func(release.Look) (release.Answer, bool) { return release.Answer{}, false }
	return w
}
