package gitrepo_test

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
)

// large is a server with a catalog of so many specs of 1 kB, flat in one folder or a hundred to a folder, and twice as many
// files on the status branch.
func large(b testing.TB, specs int, flat bool) (*gittest.Server, *gittest.Author) {
	b.Helper()
	s := gittest.NewServer(b)
	s.Create("catalog.git")
	a := gittest.NewAuthor(b, s.Dir("catalog.git"))
	for i := range specs {
		a.Write(specPath(i, flat), spec(i, 0))
	}
	a.Commit("specs")
	a.Push()
	a.Git("checkout", "--quiet", "--orphan", "status")
	a.Git("rm", "-rfq", ".")
	for i := range specs {
		a.Write(fmt.Sprintf("images/image-%05d.yaml", i), spec(i, 1))
		a.Write(fmt.Sprintf("releases/image-%05d/1.0.0.yaml", i), spec(i, 2))
	}
	a.Commit("status")
	a.Push()
	a.Git("checkout", "--quiet", "main")
	a.Git("-C", s.Dir("catalog.git"), "gc", "--quiet")
	return s, a
}

func specPath(i int, flat bool) string {
	if flat {
		return fmt.Sprintf("images/image-%05d.yaml", i)
	}
	return fmt.Sprintf("images/%03d/image-%05d.yaml", i/100, i)
}

func spec(i, version int) string {
	return fmt.Sprintf("name: image-%05d\nversion: %d\n%s\n", i, version, strings.Repeat(fmt.Sprintf("# %08x\n", i*7919), 90))
}

func BenchmarkRepo(b *testing.B) {
	for _, size := range []int{1_000, 10_000} {
		for _, flat := range []bool{true, false} {
			b.Run(fmt.Sprintf("specs=%d/flat=%t", size, flat), func(b *testing.B) { benchmark(b, size, flat) })
		}
	}
}

func benchmark(all *testing.B, size int, flat bool) {
	s, a := large(all, size, flat)
	var r *gitrepo.Repo
	var tips gitrepo.Refs
	all.Run("start", func(b *testing.B) {
		for b.Loop() {
			if r != nil {
				r.Close()
			}
			r = open(all, gitrepo.Options{URL: s.Repo("catalog.git")})
			tips = refs(b, r, "main", "status")
			for _, branch := range []string{"main", "status"} {
				if _, err := r.Chain(b.Context(), branch, tips.Branch(branch), gitrepo.Hash{}); err != nil {
					b.Fatal(err)
				}
			}
		}
		runtime.GC()
		b.ReportMetric(float64(resident(b)>>20), "MB-resident")
	})
	all.Run("poll", func(b *testing.B) {
		for b.Loop() {
			refs(b, r, "main", "status")
		}
	})
	all.Run("merge", func(b *testing.B) {
		at := tips.Branch("main")
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			a.Write(specPath(i*37%size, flat), spec(i, i+3))
			a.Commit("change")
			a.Push()
			b.StartTimer()
			tip := refs(b, r, "main").Branch("main")
			if _, err := r.Chain(b.Context(), "main", tip, at); err != nil {
				b.Fatal(err)
			}
			deltas, err := r.Diff(at, tip, "images")
			if err != nil || len(deltas) != 1 {
				b.Fatal(deltas, err)
			}
			at = tip
		}
	})
	all.Run("files", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.Files(tips.Branch("status"), ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	all.Run("write", func(b *testing.B) {
		at := tips.Branch("status")
		for i := 0; b.Loop(); i++ {
			var err error
			if at, err = r.Commit(b.Context(), gitrepo.Change{
				Branch: "status", Parent: at, Message: "release", When: noon,
				Author: gitrepo.Person{Name: "tidewaiter", Email: "tidewaiter@example.com"},
				Files:  map[string][]byte{fmt.Sprintf("images/image-%05d.yaml", i*37%size): []byte(spec(i, i+3))},
			}); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		b.ReportMetric(float64(resident(b)>>20), "MB-resident")
	})
	gittest.Fsck(all, s.Dir("catalog.git"))
}

// resident is the memory of this process in bytes, the server's part of it included.
func resident(b *testing.B) (bytes int64) {
	b.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	var pages int64
	if _, err := fmt.Sscan(string(statm), new(int64), &pages); err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// BenchmarkQuietLook is what a look at a quiet repository costs over http with so many heads of pull requests on the server: in the
// version of the protocol that sends all refs and the one that sends those asked for, with reviews and without.
func BenchmarkQuietLook(b *testing.B) {
	for _, heads := range []int{0, 500, 5_000} {
		s := gittest.NewServer(b)
		s.Create("catalog.git")
		a := gittest.NewAuthor(b, s.Dir("catalog.git"))
		a.Commit("first")
		a.Git("push", "--quiet", "origin", "main", "main:status")
		s.Reviews("catalog.git", heads)
		for _, version := range []int{0, 2} {
			for asked, names := range map[string][]string{"branches": {"main", "status"}, "reviews": {"main", "status", "refs/pull/*/head"}} {
				b.Run(fmt.Sprintf("heads=%d/version=%d/asked=%s", heads, version, asked), func(b *testing.B) {
					var sent int
					s.Fail("/catalog.git", func(w http.ResponseWriter, r *http.Request, server http.Handler) {
						if version == 0 {
							r.Header.Del("Git-Protocol")
						}
						gittest.Count(&sent)(w, r, server)
					})
					defer s.Heal()
					r := open(b, gitrepo.Options{URL: s.Repo("catalog.git")})
					refs(b, r, names...)
					sent = 0
					for b.Loop() {
						refs(b, r, names...)
					}
					b.ReportMetric(float64(sent)/1000/float64(b.N), "KB/op")
				})
			}
		}
	}
}
