package reconcile

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
)

// commit is a commit of people for fastImport: new contents by path, empty for a file that is deleted.
type commit struct {
	subject string
	files   map[string]string
}

// fastImport puts commits on main of a bare repository, and returns every commit of its first-parent chain, oldest first.
func fastImport(t testing.TB, dir string, commits []commit) []string {
	t.Helper()
	var b strings.Builder
	from := ""
	if gittest.Git(t, dir, "for-each-ref", "refs/heads/main") != "" {
		from = "from refs/heads/main^0\n"
	}
	for i, c := range commits {
		fmt.Fprintf(&b, "commit refs/heads/main\ncommitter Cleo Committer <cleo@example.com> %d +0000\ndata %d\n%s\n%s",
			1767268800+60*i, len(c.subject), c.subject, from)
		from = ""
		for path, content := range c.files {
			if content == "" {
				fmt.Fprintf(&b, "D %s\n", path)
			} else {
				fmt.Fprintf(&b, "M 100644 inline %s\ndata %d\n%s\n", path, len(content), content)
			}
		}
	}
	git := exec.Command("git", "fast-import", "--quiet")
	git.Dir, git.Stdin, git.Stderr = dir, strings.NewReader(b.String()), os.Stderr
	if err := git.Run(); err != nil {
		t.Fatalf("git fast-import: %v", err)
	}
	return strings.Fields(gittest.Git(t, dir, "log", "--first-parent", "--reverse", "--format=%H", "main"))
}

// randomHistory makes commits that write, break, move, copy and delete the specs of three images.
func randomHistory(r *rand.Rand, host string, n int) []commit {
	names, paths := []string{"a", "b", "c"}, []string{"images/1.yaml", "images/2.yaml", "images/3.yaml", "images/d/4.yaml"}
	tags := []string{"1", "2", "3", "1-again", "missing", "missing-too"}
	modes := []string{"compatible-fix", "compatible-fix", "compatible-feature", "incompatible"}
	files := map[string]string{}
	last := map[string]string{} // the newest upgrade of each name
	commits := []commit{{"policy", map[string]string{"catalog.yaml": policyOf([]string{host})}}}
	for i := range n {
		c := commit{fmt.Sprintf("commit %d", i), map[string]string{}}
		put := func(path, content string) {
			if content == "" && files[path] == "" {
				return
			}
			c.files[path], files[path] = content, content
		}
		for range 1 + r.IntN(3) {
			at := r.IntN(len(paths))
			path, other := paths[at], paths[r.IntN(len(paths))]
			name := names[at%len(names)]
			if r.IntN(8) == 0 {
				name = names[r.IntN(len(names))]
			}
			switch kind := r.IntN(20); {
			case kind < 13:
				mode := modes[r.IntN(len(modes))]
				if r.IntN(6) == 0 {
					mode += " from " + []string{"1.0.0", "1.0.1", "1.1.0", "2.0.0"}[r.IntN(4)]
				}
				if r.IntN(6) > 0 || last[name] == "" {
					last[name] = fmt.Sprintf("%s: change %d", mode, i)
				}
				var more []string
				if r.IntN(8) == 0 {
					more = append(more, "suspend: true")
				}
				if r.IntN(8) == 0 {
					more = append(more, "withdrawn:", "  - {version: 1.0.0, reason: broken}")
				}
				put(path, specAt(host, name, tags[r.IntN(len(tags))], last[name], more...))
			case kind < 14:
				put(path, "kind: [")
			case kind < 15:
				put(path, strings.Replace(specAt(host, name, "1", "incompatible: broken"), "tag:", "tug:", 1))
			case kind < 17:
				put(path, "")
			case kind < 18:
				content := files[path]
				put(path, files[other])
				put(other, content)
			case kind < 19:
				put(other, cmp.Or(files[path], files[other]))
			default:
				put(path, strings.Replace(files[path], "An image of the tests", fmt.Sprintf("Edited in %d", i), 1))
			}
		}
		commits = append(commits, c)
	}
	return commits
}

// upgradesOnly makes commits that upgrade one or two of three images.
func upgradesOnly(r *rand.Rand, host string, n int) []commit {
	commits := []commit{{"policy", map[string]string{"catalog.yaml": policyOf([]string{host})}}}
	for i := range n {
		c := commit{fmt.Sprintf("commit %d", i), map[string]string{}}
		for range 1 + r.IntN(2) {
			name := string(rune('a' + r.IntN(3)))
			tag := []string{"1", "2", "3", "1-again", "missing"}[r.IntN(5)]
			mode := []string{"compatible-fix", "compatible-feature", "incompatible"}[r.IntN(3)]
			c.files["images/"+name+".yaml"] = specAt(host, name, tag, fmt.Sprintf("%s: change %d", mode, i))
		}
		commits = append(commits, c)
	}
	return commits
}

// outcome is everything that must not depend on when the daemon looked: the releases with their numbers, digests, modes and the
// commits that asked for them, what the channels serve, and why each image stands where it stands.
func (w *world) outcome() string {
	w.t.Helper()
	var b strings.Builder
	for name, releases := range w.records() {
		for _, r := range releases {
			fmt.Fprintf(&b, "%s %s %s %s %s\n", name, r.Version, r.Mode, r.Digest, r.Request.ID)
		}
	}
	names, err := w.written().Names()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range names {
		s := w.status(name)
		fmt.Fprintf(&b, "%s is %s, serves %s, mistakes %q\n", name, readyReason(s.Conditions), w.channels(name), s.Problems)
	}
	all := strings.Split(strings.TrimSpace(b.String()), "\n")
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// A looking is a way of looking at a history while it grows: poll moves main on and returns false where it was at its end.
type looking struct {
	name string
	look func(w *world, r *rand.Rand, poll func(by int) bool)
}

var lookings = []looking{
	{"after each commit", func(w *world, _ *rand.Rand, poll func(int) bool) {
		d := w.start()
		for poll(1) {
			d.settle()
		}
	}},
	{"at the end", func(w *world, _ *rand.Rand, poll func(int) bool) {
		for poll(1) {
		}
		w.start().settle()
	}},
	{"now and then, restarted each time", func(w *world, r *rand.Rand, poll func(int) bool) {
		for poll(1 + r.IntN(9)) {
			d := w.start()
			for range r.IntN(3) {
				d.pass() // may leave questions open
			}
			if r.IntN(2) == 0 {
				d.settle()
			}
			d.end()
		}
		w.start().settle()
	}},
	{"killed while it writes", func(w *world, r *rand.Rand, poll func(int) bool) {
		for poll(1 + r.IntN(5)) {
			d := w.start()
			w.git.Fail("/git-receive-pack", []gittest.Fault{
				gittest.Refuse(http.StatusInternalServerError), // before it
				gittest.LoseAnswer, // after it, and it finds out
				gittest.Cut(10),
				func(rw http.ResponseWriter, req *http.Request, server http.Handler) { // after it, and it never knows
					gittest.LoseAnswer(rw, req, server)
					w.git.Fail("/info/refs", gittest.Refuse(http.StatusServiceUnavailable))
				},
			}[r.IntN(4)])
			_ = d.Once(d.ctx) // whatever it makes of it
			d.end()
			w.git.Heal()
		}
		w.start().settle()
	}},
	{"by two daemons at once", func(w *world, r *rand.Rand, poll func(int) bool) {
		daemons := []*daemon{w.start(), w.start()}
		for poll(1 + r.IntN(4)) {
			for range 2 + r.IntN(4) {
				d := daemons[r.IntN(2)]
				if err := d.Pass(d.ctx); err != nil && !errors.Is(err, gitrepo.ErrMoved) {
					w.t.Fatal(err)
				}
			}
		}
		daemons[0].settle()
		daemons[1].settle()
	}},
}

// throughAnIllRegistry looks after every few commits while the registry answers every other request with an error.
var throughAnIllRegistry = looking{"through an ill registry", func(w *world, r *rand.Rand, poll func(int) bool) {
	d := w.start()
	for poll(1 + r.IntN(4)) {
		var asked atomic.Int64
		w.registry.Wrap(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
				if asked.Add(1)%2 == 0 {
					next.ServeHTTP(rw, req)
					return
				}
				http.Error(rw, "injected", http.StatusServiceUnavailable)
			})
		})
		d.settle()
	}
	w.registry.Wrap(nil)
	w.clock.advance(2 * time.Hour)
	d.looks.AskAgain()
	d.settle()
}}

// replay shows a daemon the empty catalog, which makes the first commit of the status branch, and then the history; it returns
// the outcome.
func replay(t *testing.T, r *registrytest.Registry, archive string, commits []string, seed uint64, l looking) string {
	w := emptyWorld(t, r)
	dir := w.git.Dir(catalogRepo)
	gittest.Git(t, dir, "fetch", "--quiet", archive, "main:refs/archive/main")
	at := -1
	poll := func(by int) bool {
		if at == len(commits)-1 {
			return false
		}
		at = min(at+by, len(commits)-1)
		gittest.Git(t, dir, "update-ref", "refs/heads/main", commits[at])
		return true
	}
	poll(1)
	first := w.start()
	first.settle()
	first.end()
	l.look(w, rand.New(rand.NewPCG(seed, 1)), poll)
	return w.outcome()
}

// registryOfHistories has everything that random histories release.
func registryOfHistories(t *testing.T) *registrytest.Registry {
	r := startRegistry(t, registrytest.Options{})
	for _, name := range []string{"a", "b", "c"} {
		for _, tag := range []string{"1", "2", "3"} {
			pushImage(t, r, name, tag, name+" "+tag)
		}
		pushImage(t, r, name, "1-again", name+" 1")
	}
	return r
}

var seed = flag.Uint64("seed", 0, "replay the random histories of this seed only")

// seeds are those of the histories to replay: one that is always the same and one that never is.
func seeds() []uint64 {
	random := uint64(time.Now().UnixNano())
	switch {
	case *seed != 0:
		return []uint64{*seed}
	case testing.Short():
		return []uint64{random}
	}
	return []uint64{1, random}
}

func TestInvariant6TheOutcomeIsIndependentOfPollingAndCrashes(t *testing.T) {
	r := registryOfHistories(t)
	for _, seed := range seeds() {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			archive := t.TempDir()
			gittest.Git(t, archive, "init", "--quiet", "--bare", "--initial-branch=main")
			commits := fastImport(t, archive, randomHistory(rand.New(rand.NewPCG(seed, 0)), r.Host, 30))
			want := ""
			for _, l := range lookings {
				t.Run(l.name, func(t *testing.T) {
					switch got := replay(t, r, archive, commits, seed, l); {
					case want == "":
						want = got
						t.Logf("the outcome:\n%s", want)
					case got != want:
						t.Errorf("looked at %s:\n%s\nlooked at after each commit:\n%s", l.name, got, want)
					}
				})
			}
		})
	}
}

// A registry that does not answer delays releases and changes none of them. (What makes it matter when an answer comes is left
// out of this history: a request that waits is dropped by a delisting, and superseded by one that names the newest release
// as the one it comes from.)
func TestAnIllRegistryDelaysReleasesAndChangesNone(t *testing.T) {
	r := registryOfHistories(t)
	for _, seed := range seeds() {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			archive := t.TempDir()
			gittest.Git(t, archive, "init", "--quiet", "--bare", "--initial-branch=main")
			commits := fastImport(t, archive, upgradesOnly(rand.New(rand.NewPCG(seed, 0)), r.Host, 30))
			want := replay(t, r, archive, commits, seed, lookings[0])
			if got := replay(t, r, archive, commits, seed, throughAnIllRegistry); got != want {
				t.Errorf("looked at through an ill registry:\n%s\nthrough a sound one:\n%s", got, want)
			}
		})
	}
}
