package reconcile

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tidewaiter/reconcile/release"
)

// TestDelistingsThatAreHeld is where the line is: one commit that deletes more than half of the specs, and more than five.
func TestDelistingsThatAreHeld(t *testing.T) {
	for _, test := range []struct {
		specs, deleted int
		held           bool
	}{
		{1, 1, false}, {5, 5, false}, {6, 5, false}, {6, 6, true}, {11, 6, true}, {12, 6, false}, {13, 6, false}, {13, 7, true}, {1000, 500, false}, {1000, 501, true},
	} {
		d := &Daemon{log: slog.New(slog.DiscardHandler), catalog: newCatalog(nil), images: map[string]*image{}, active: map[string]bool{}}
		var edits []edit
		for i := range test.specs {
			name := fmt.Sprintf("image-%04d", i)
			edits = append(edits, edit{"images/" + name + ".yaml", &file{name: name, spec: &release.Spec{}}})
		}
		d.give(release.Commit{ID: "1"}, d.catalog.apply(edits))
		for i := range edits {
			edits[i].file = nil
		}
		d.give(release.Commit{ID: "2"}, d.catalog.apply(edits[:test.deleted]))
		delisted := 0
		for _, i := range d.images {
			if _, _, there := i.state.Standing(); !there {
				delisted++
			}
		}
		if held := d.held == "2"; held != test.held || held != (delisted == 0) || !held && delisted != test.deleted {
			t.Errorf("%d of %d specs deleted: held %t, %d delisted", test.deleted, test.specs, held, delisted)
		}
	}
}

// TestWhatIsNoSpec: under images/ are specs, and whatever leads elsewhere is not followed.
func TestWhatIsNoSpec(t *testing.T) {
	w := newWorld(t)
	w.image("go", "1")
	w.author.Write("elsewhere.yaml", w.spec("go", "1", "compatible-fix: a"))
	if err := os.MkdirAll(filepath.Join(w.author.Dir, "images"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../elsewhere.yaml", filepath.Join(w.author.Dir, "images", "link.yaml")); err != nil {
		t.Fatal(err)
	}
	w.author.Write("images/notes.txt", w.spec("go", "1", "compatible-fix: a"))
	w.author.Write("images/large.yaml", w.spec("go", "1", "compatible-fix: a")+"# "+strings.Repeat("x", 256<<10)+"\n")
	w.author.Git("add", "--all")
	w.author.Git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",images/module.yaml")
	w.author.Git("commit", "--quiet", "--message", "nothing that is a spec")
	w.author.Push()
	d := w.start()
	d.settle()
	var got []string
	for _, p := range w.catalogStatus().Problems {
		_, text, _ := strings.Cut(p.Message, ":1:1: ")
		text, _, _ = strings.Cut(text, ";")
		got = append(got, p.Path+": "+text)
	}
	want := []string{
		"images/large.yaml: the file is larger than 256 KiB", "images/link.yaml: this is a symbolic link",
		"images/module.yaml: this is no regular file", "images/notes.txt: " + strings.Split(notYAML, ";")[0],
	}
	if !slices.Equal(got, want) {
		t.Errorf("the problems are\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	w.wantReleased()
}

// TestWithoutAListNoInternalAddressIsAsked: any public host may be named where the policy lists none, and no other.
func TestWithoutAListNoInternalAddressIsAsked(t *testing.T) {
	w := newWorld(t)
	w.author.Remove("catalog.yaml")
	w.publish("go", "1", "compatible-fix: a")
	w.registry.Requests()
	d := w.start()
	d.settle()
	w.wantReason("go: RegistryNotAllowed")
	if got := w.registry.Requests(); len(got) > 0 {
		t.Errorf("a registry on a loopback address was asked %v", got)
	}
}

// TestTheObservedCommitIsWrittenNowAndThen: where nothing else is news it is written once in so many commits, so that a start
// never has to walk further.
func TestTheObservedCommitIsWrittenNowAndThen(t *testing.T) {
	w := newWorld(t)
	first := w.merge("an empty catalog")
	d := w.start()
	d.settle()
	w.merge("nothing that concerns the daemon")
	d.settle()
	if got := w.catalogStatus().Observed; got != first {
		t.Errorf("observed is %s, want %s still: the other commit is no news", got, first)
	}
	d.ahead = observeAtLeastEvery - 1
	last := w.merge("one too many")
	d.settle()
	if got := w.catalogStatus().Observed; got != last {
		t.Errorf("after %d commits without news observed is %s, want %s", observeAtLeastEvery, got, last)
	}
	w.quiet(d)
}

// TestASupersededRequestStaysSuperseded: that a newer request took its place is written although the newer one has no answer
// yet, so that a restart does not take the old one up again when its image is there at last.
func TestASupersededRequestStaysSuperseded(t *testing.T) {
	w := newWorld(t)
	w.publish("go", "1", "compatible-fix: a")
	d := w.start()
	d.settle()
	w.author.Write("images/go.yaml", w.spec("go", "2", "incompatible: never pushed"))
	w.merge("one that is not there")
	d.settle()
	w.wantReason("go: ImageNotFound")
	w.registry.Wrap(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
	})
	w.author.Write("images/go.yaml", w.spec("go", "3", "compatible-fix: c"))
	w.merge("one whose registry does not answer")
	d.settle()
	d.end()
	w.registry.Wrap(nil)
	w.image("go", "2", "3")
	d = w.start()
	d.settle()
	w.wantReleased("go 1.0.0 = 1 (compatible-fix)", "go 2.0.0 = 3 (incompatible)")
}
