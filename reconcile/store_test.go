package reconcile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tidewaiter/reconcile/web"
)

// What pages show is of one moment, and may be read at any time, also while the daemon writes the next.
func TestTheStoreMayBeReadAtAnyTime(t *testing.T) {
	w := newWorld(t)
	w.merge("an empty catalog")
	d := w.start()
	if d.Store() != nil {
		t.Error("there is a store before the first pass")
	}
	d.settle()
	stop := d.run()
	over := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				s := d.Store()
				for _, i := range s.Images {
					// A branch may have moved on and its files be forgotten; but what is read is right.
					records, err := s.Records(i.Name)
					if err == nil && len(i.Status.Channels) > 0 && records[len(records)-1].Version.Compare(i.Status.Channels[0].Version) < 0 {
						t.Errorf("%s serves %s, and its newest record is %s", i.Name, i.Status.Channels[0].Version, records[len(records)-1].Version)
					}
					if spec, err := s.Spec(i); err == nil && spec != nil && spec.Name != i.Name {
						t.Errorf("the spec of %s is that of %s", i.Name, spec.Name)
					}
				}
			}
		})
	}
	for n := range 5 {
		tag := fmt.Sprint(n)
		w.publish("go", tag, "compatible-fix: change "+tag)
		d.Hurry()
		eventually(t, "the release is shown", func() bool {
			i, ok := d.Store().Find("go")
			return ok && i.Latest() != nil && i.Latest().Version.Patch == uint32(n) && i.Card.Summary == "An image of the tests"
		})
	}
	close(over)
	readers.Wait()
	stop()
	if got := len(d.Store().Images); got != 1 {
		t.Errorf("%d images are shown, want 1", got)
	}
}

// Pages show regular files of the catalog of a bounded size, and nothing that a link leads to.
func TestFilesOfTheCatalog(t *testing.T) {
	w := newWorld(t)
	w.author.Write("docker/go", "FROM scratch\n")
	w.author.Write("docker/large", strings.Repeat("#", web.MaxFile+1))
	if err := errors.Join(os.Symlink("go", filepath.Join(w.author.Dir, "docker/link")), os.Symlink("docker", filepath.Join(w.author.Dir, "elsewhere"))); err != nil {
		t.Fatal(err)
	}
	w.merge("add files")
	d := w.start()
	d.settle()
	for path, want := range map[string]string{"docker/go": "FROM scratch\n", "docker/large": "", "docker/link": "", "elsewhere/go": "", "docker": "", "missing": "", "../go": ""} {
		if content, err := d.Store().File(path); string(content) != want || err != nil {
			t.Errorf("%s: %q, %v", path, content, err)
		}
	}
}
