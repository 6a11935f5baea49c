package reconcile

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tidewaiter/reconcile/release"
)

// What files mean does not depend on whether a daemon saw every commit or starts from what is written: a catalog read again
// with the owners that statuses hold says the same of every later commit.
func TestWhatFilesMeanAfterARestart(t *testing.T) {
	paths, names := []string{"images/1.yaml", "images/2.yaml", "images/3.yaml"}, []string{"a", "b"}
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		contents := map[string]string{}
		steady, restarted := newBare(), newBare()
		var story []string
		for i := range 8 {
			if r.IntN(2) == 0 {
				restarted = restarted.restart(t, contents)
				story = append(story, "restart")
			}
			var edits []edit
			for range 1 + r.IntN(2) {
				path, name := paths[r.IntN(len(paths))], names[r.IntN(len(names))]
				content := specAt("registry.example.com", name, "1", fmt.Sprintf("compatible-fix: %d", i))
				switch kind := r.IntN(6); kind {
				case 0:
					content = ""
				case 1:
					content = "kind: ["
				case 2:
					content = strings.Replace(content, "tag:", "tug:", 1)
				}
				if slices.ContainsFunc(edits, func(e edit) bool { return e.path == path }) || content == "" && contents[path] == "" {
					continue
				}
				contents[path] = content
				edits = append(edits, edit{path, fileOf(t, path, content)})
				story = append(story, fmt.Sprintf("%d: %s: %.60q", i, path, strings.TrimPrefix(content, "apiVersion: tidewaiter/v1\nkind: Image\n")))
			}
			commit := release.Commit{ID: fmt.Sprintf("%040d", i)}
			steady.give(commit, steady.catalog.apply(edits))
			restarted.give(commit, restarted.catalog.apply(edits))
			if got, want := restarted.summary(), steady.summary(); got != want {
				t.Fatalf("seed %d\n%s\nafter a restart:\n%s\nwithout:\n%s", seed, strings.Join(story, "\n"), got, want)
			}
		}
	}
}

// newBare is a daemon of a catalog without files, without anything to ask.
func newBare() *Daemon {
	return &Daemon{log: slog.New(slog.NewTextHandler(io.Discard, nil)), catalog: newCatalog(nil), images: map[string]*image{}, active: map[string]bool{}}
}

// restart is a daemon that knows what the statuses hold, and read the files again.
func (d *Daemon) restart(t testing.TB, contents map[string]string) *Daemon {
	next := newBare()
	for name, i := range d.images {
		state, _, _ := i.state.Advance(release.World{Hold: release.Suspended})
		status := state.Status(release.ImageStatus{}, "", true, state.Changed.Time)
		if !state.Gone() {
			next.images[name] = &image{state: status.Restore(name, nil), written: status}
		}
	}
	next.catalog = newCatalog(next.standings())
	var edits []edit
	for path, content := range contents {
		if f := fileOf(t, path, content); f != nil {
			edits = append(edits, edit{path, f})
		}
	}
	next.catalog.apply(edits)
	return next
}

// summary is what each image is by now.
func (d *Daemon) summary() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(d.images)) {
		i := d.images[name]
		state, _, _ := i.state.Advance(release.World{Hold: release.Suspended})
		if state.Gone() {
			continue
		}
		path := ""
		if state.Spec != nil {
			path = state.Spec.Path
		}
		fmt.Fprintf(&b, "%s listed %t at %q, last changed in %.2s…, problems %q, %d requests\n", name, state.Listed, path, state.Changed.ID[38:], state.Problems, len(state.Requests))
	}
	return b.String()
}
