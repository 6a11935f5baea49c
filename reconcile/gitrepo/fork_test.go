package gitrepo_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
)

// forked asks for a fork that must be found, checks that all of it can be read, and returns it with the hashes of the commits and
// how many requests it took.
func forked(t testing.TB, s *gittest.Server, r *gitrepo.Repo, ref string, head, base gitrepo.Hash, most int) (fork string, own []string, requests int) {
	t.Helper()
	s.Requests()
	at, commits, err := r.Fork(t.Context(), ref, head, base, most)
	if err != nil {
		t.Fatal(err)
	}
	requests = len(s.Requests())
	for _, c := range commits {
		own = append(own, c.Hash.String())
	}
	for _, c := range append(commits, gitrepo.Commit{Hash: at}, gitrepo.Commit{Hash: head}) {
		files, err := r.Files(c.Hash, "")
		if err != nil {
			t.Fatalf("commit %s cannot be read: %v", c.Hash, err)
		}
		for _, f := range files {
			if _, err := r.Blob(f.Hash, 1<<19); err != nil {
				t.Fatalf("%s of %s cannot be read: %v", f.Path, c.Hash, err)
			}
		}
	}
	return at.String(), own, requests
}

// propose pushes what is checked out as the head of a pull request.
func propose(t testing.TB, a *gittest.Author, number int) gitrepo.Hash {
	t.Helper()
	a.Git("push", "--quiet", "--force", "origin", fmt.Sprintf("HEAD:refs/pull/%d/head", number))
	return hash(t, a.Head())
}

// Whatever histories look like, the answer is that of git merge-base and git rev-list, which know all of them.
func TestForkIsWhatGitFinds(t *testing.T) {
	for name, draw := range map[string]func(a *gittest.Author){
		"at the tip": func(a *gittest.Author) { a.Branch("head"); commits(a, "head", 2) },
		"a few back": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 3)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 5)
		},
		"long ago": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 1)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 70)
		},
		"long": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 70)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 3)
		},
		"both long": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 40)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 40)
		},
		"merged": func(a *gittest.Author) {
			a.Branch("head")
			commits(a, "head", 2)
			a.Git("checkout", "--quiet", "main")
			a.Git("merge", "--quiet", "--no-ff", "--message", "merge", "head")
			commits(a, "main", 30)
		},
		"the same": func(a *gittest.Author) { a.Git("branch", "head") },
		"behind":   func(a *gittest.Author) { a.Git("branch", "head", "HEAD~4") },
		"updated": func(a *gittest.Author) { // the button that merges the branch into the pull request
			a.Branch("head")
			commits(a, "head", 2)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 40)
			a.Git("checkout", "--quiet", "head")
			a.Git("merge", "--quiet", "--message", "update", "main")
			commits(a, "head", 1)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 2)
		},
		"of a topic": func(a *gittest.Author) { // that was merged, long as it was; its beginning is further from the base than its parent
			a.Branch("topic")
			commits(a, "topic", 2)
			a.Git("branch", "head")
			commits(a, "topic", 30)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 3)
			a.Git("merge", "--quiet", "--no-ff", "--message", "merge", "topic")
			commits(a, "main", 1)
			a.Git("checkout", "--quiet", "head")
			commits(a, "head", 1)
		},
		"another root": func(a *gittest.Author) {
			a.Git("checkout", "--quiet", "--orphan", "other")
			commits(a, "other", 2)
			a.Git("checkout", "--quiet", "-b", "head", "main")
			a.Git("merge", "--quiet", "--allow-unrelated-histories", "--message", "join", "other")
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 3)
		},
		"clock behind": func(a *gittest.Author) {
			a.Branch("head")
			dated(a, 0)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 3)
		},
		"clock ahead": func(a *gittest.Author) { // where it leaves first is not where it leaves
			dated(a, 4_000_000_000)
			a.Branch("head")
			commits(a, "head", 1)
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 5)
			a.Git("checkout", "--quiet", "head")
			a.Git("merge", "--quiet", "--message", "update", "main")
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 2)
		},
		"before the beginning": func(a *gittest.Author) { // of what is read of the base at first
			a.Git("checkout", "--quiet", "-b", "head", "HEAD~87")
			commits(a, "head", 1)
			a.Git("merge", "--quiet", "--message", "update", "main")
			a.Git("checkout", "--quiet", "main")
			commits(a, "main", 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := gittest.NewServer(t)
			s.Create("catalog.git")
			history(t, s.Dir("catalog.git"), "main", make([]map[string]file, 90))
			a := gittest.NewAuthor(t, s.Dir("catalog.git"))
			draw(a)
			a.Git("push", "--quiet", "origin", "main", "head:refs/pull/1/head")
			wantFork := a.Git("merge-base", "main", "head")
			want := strings.Fields(a.Git("rev-list", "main..head"))

			r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
			base := tip(t, r, "main")
			head := refs(t, r, "main", "refs/pull/*/head")["refs/pull/1/head"]
			fork, own, _ := forked(t, s, r, "refs/pull/1/head", head, base, 100)
			if fork != wantFork {
				t.Errorf("the fork is %s, want %s", fork, wantFork)
			}
			at := map[string]int{}
			for i, c := range own {
				at[c] = i
			}
			for _, c := range own {
				for _, parent := range strings.Fields(a.Git("log", "-1", "--format=%P", c)) {
					if i, ok := at[parent]; ok && i > at[c] {
						t.Errorf("commit %s comes before its parent %s", c, parent)
					}
				}
			}
			slices.Sort(own)
			slices.Sort(want)
			if !slices.Equal(own, want) {
				t.Errorf("the commits are %q, want %q", own, want)
			}
			again, _, requests := forked(t, s, r, "refs/pull/1/head", head, base, 100)
			if again != fork || requests != 0 {
				t.Errorf("the second time: the fork is %s after %d requests, want the same after none", again, requests)
			}
		})
	}
}

// dated makes a commit of a second since 1970 on what is checked out.
func dated(a *gittest.Author, second int64) {
	a.Write(".git/dated", fmt.Sprintf("tree %s\nparent %s\nauthor A <a@b> %d +0000\ncommitter A <a@b> %[3]d +0000\n\ndated\n",
		a.Git("rev-parse", "HEAD^{tree}"), a.Head(), second))
	a.Git("reset", "--quiet", "--hard", a.Git("hash-object", "-t", "commit", "-w", ".git/dated"))
}

// commits makes so many of them, each of which changes a spec.
func commits(a *gittest.Author, name string, n int) {
	for i := range n {
		a.Write("images/"+name+".yaml", fmt.Sprint(name, i))
		a.Commit(fmt.Sprint(name, " ", i))
	}
}

// proposal is a server with a catalog of a hundred specs and as many commits, whose newest is readable, and its author.
func proposal(t testing.TB, o gitrepo.Options) (*gittest.Server, *gittest.Author, *gitrepo.Repo, gitrepo.Hash) {
	t.Helper()
	s := gittest.NewServer(t)
	s.Create("catalog.git")
	all := make([]map[string]file, 100)
	for n := range all {
		all[n] = map[string]file{"images/main.yaml": {"100644", fmt.Sprint(n)}}
		for i := range 100 {
			all[n][fmt.Sprintf("images/%02d.yaml", i)] = file{"100644", spec(i, 0)}
		}
	}
	history(t, s.Dir("catalog.git"), "main", all)
	o.URL = s.Repo("catalog.git")
	r := open(t, o)
	return s, gittest.NewAuthor(t, s.Dir("catalog.git")), r, tip(t, r, "main")
}

// The usual head has one commit on a base that is known: one request, and not a byte of what others have.
func TestForkCostsItsOwnCommits(t *testing.T) {
	s, a, r, base := proposal(t, gitrepo.Options{MaxPack: 64 << 20})
	a.Git("checkout", "--quiet", "--detach", "HEAD~3")
	var heads []gitrepo.Hash
	for i := range 4 {
		a.Git("checkout", "--quiet", "--detach", "main~3")
		commits(a, fmt.Sprint("head", i), 1)
		heads = append(heads, propose(t, a, i))
	}
	forked(t, s, r, "refs/pull/0/head", heads[0], base, 200)
	for i, head := range heads[1:] {
		var sent int
		s.Fail("/git-upload-pack", gittest.Count(&sent))
		fork, own, requests := forked(t, s, r, fmt.Sprintf("refs/pull/%d/head", i+1), head, base, 200)
		s.Heal()
		if fork != a.Git("rev-parse", "main~3") || len(own) != 1 || requests != 1 || sent > 4096 { // the tree alone has 4 kB, the specs 100 kB
			t.Errorf("head %d leaves at %s with %q; that took %d requests and %d bytes", i+1, fork, own, requests, sent)
		}
	}

	// So does what is pushed on top of a head, and a head that is made anew.
	commits(a, "head3", 2)
	if _, own, requests := forked(t, s, r, "refs/pull/3/head", propose(t, a, 3), base, 200); len(own) != 3 || requests != 1 {
		t.Errorf("a head that went on has %q after %d requests", own, requests)
	}
	a.Git("commit", "--quiet", "--amend", "--message", "other")
	if _, own, requests := forked(t, s, r, "refs/pull/3/head", propose(t, a, 3), base, 200); len(own) != 3 || requests != 1 {
		t.Errorf("a head that was pushed by force has %q after %d requests", own, requests)
	}
}

func TestNoFork(t *testing.T) {
	s, a, r, base := proposal(t, gitrepo.Options{})
	commits(a, "main", 2)
	ahead := hash(t, a.Head()) // two more than the base
	a.Git("checkout", "--quiet", "--detach", "main~20")
	commits(a, "long", 31)
	long := propose(t, a, 1)
	a.Git("checkout", "--quiet", "--orphan", "unrelated")
	commits(a, "unrelated", 3)
	unrelated := propose(t, a, 2)
	a.Git("push", "--quiet", "origin", ahead.String()+":refs/pull/3/head")
	for name, head := range map[string]gitrepo.Hash{"refs/pull/1/head": long, "refs/pull/2/head": unrelated} {
		for range 2 {
			fork, commits, err := r.Fork(t.Context(), name, head, base, 30)
			wantError(t, err, gitrepo.ErrNoFork, name, "rebase it")
			if !fork.IsZero() || commits != nil {
				t.Errorf("%s: beside the error there are %v and %v", name, fork, commits)
			}
			if _, err := r.CommitAt(head); err == nil {
				t.Errorf("%s: what is no use was kept", name)
			}
		}
	}
	if fork, own, _ := forked(t, s, r, "refs/pull/1/head", long, base, 31); fork != a.Git("rev-parse", "main~20") || len(own) != 31 {
		t.Errorf("of 31 commits with a bound of 31: fork %s and %d commits", fork, len(own))
	}
	if fork, own, requests := forked(t, s, r, "refs/pull/3/head", ahead, base, 30); fork != base.String() || len(own) != 2 || requests != 1 {
		t.Errorf("after all that, a head leaves at %s with %q, in %d requests", fork, own, requests)
	}
	a.Git("push", "--quiet", "--force", "origin", "main:refs/pull/2/head")
	_, _, err := r.Fork(t.Context(), "refs/pull/2/head", unrelated, base, 30)
	wantError(t, err, gitrepo.ErrMoved, "not our ref")
}

// Somebody reformats everything. That is a lot, and no more than that.
func TestForkThatChangesEverything(t *testing.T) {
	s, _, r, base := proposal(t, gitrepo.Options{MaxPack: 64 << 20})
	var stream strings.Builder
	stream.WriteString("commit refs/pull/1/head\ncommitter C <c@example.com> 1800000000 +0000\ndata 1\nx\nfrom refs/heads/main^0\n")
	for i := range 5000 {
		content := spec(i, 1)
		fmt.Fprintf(&stream, "M 100644 inline images/%02d/%d.yaml\ndata %d\n%s\n", i%100, i, len(content), content)
	}
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin = s.Dir("catalog.git"), strings.NewReader(stream.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v\n%s", err, out)
	}
	head := refs(t, r, "refs/pull/*/head")["refs/pull/1/head"]
	fork, own, _ := forked(t, s, r, "refs/pull/1/head", head, base, 200)
	if fork != base.String() || len(own) != 1 {
		t.Errorf("fork %s, commits %q", fork, own)
	}
	deltas, err := r.Diff(base, head, "images")
	if err != nil || len(deltas) != 5000 {
		t.Errorf("%d files differ, %v", len(deltas), err)
	}
}

// What a stranger pushes can be too much in many ways. It is given up soon, takes no memory meanwhile and nothing after, and other
// heads are read as if nothing had happened.
func TestForkThatIsTooLarge(t *testing.T) {
	for name, c := range map[string]struct {
		bound int64
		says  string
		write func(a *gittest.Author)
	}{
		"a file": {64 << 20, "more than 67108864 bytes to download", func(a *gittest.Author) {
			noise(t, a, "noise", 100<<20)
		}},
		"many files": {4 << 20, "more than 4194304 bytes to download", func(a *gittest.Author) {
			for i := range 10 {
				noise(t, a, fmt.Sprint("noise", i), 1<<20)
			}
		}},
		"a file that packs well": {4 << 20, "more than 67108864 bytes when unpacked", func(a *gittest.Author) {
			a.Write("zero", strings.Repeat("\x00", 64<<20))
		}},
		"many files that pack well": {4 << 20, "more than 67108864 bytes when unpacked", func(a *gittest.Author) {
			for i := range 7 {
				a.Write(fmt.Sprint("zero", i), fmt.Sprint(i)+strings.Repeat("\x00", 10<<20))
			}
		}},
		"many files that hold nothing": {64 << 10, "more than 1048576 bytes when unpacked", func(a *gittest.Author) {
			for i := range 520 {
				a.Write(fmt.Sprint("small/", i), fmt.Sprint(i))
			}
		}},
		"a message": {4 << 20, "the limit is 262144", func(a *gittest.Author) {
			a.Write("../message", strings.Repeat("word ", 60_000))
			a.Git("commit", "--quiet", "--allow-empty", "--file", "../message")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, a, r, base := proposal(t, gitrepo.Options{MaxPack: c.bound})
			local := open(t, gitrepo.Options{URL: s.Dir("catalog.git"), MaxPack: c.bound})
			tip(t, local, "main")
			a.Git("checkout", "--quiet", "--detach")
			commits(a, "good", 1)
			good := propose(t, a, 1)
			a.Git("checkout", "--quiet", "--detach", "main")
			c.write(a)
			a.Commit("huge")
			head := propose(t, a, 2)
			for place, r := range map[string]*gitrepo.Repo{"http": r, "local": local} {
				start := time.Now()
				peak := peakHeap(func() {
					_, _, err := r.Fork(t.Context(), "refs/pull/2/head", head, base, 200)
					wantError(t, err, gitrepo.ErrTooLarge, c.says)
				})
				if peak > 192<<20 { // some objects of 16 MiB, and what the collector has not seen yet
					t.Errorf("%s: reading it took %d MiB of memory", place, peak>>20)
				}
				if took := time.Since(start); place == "local" && took > 5*time.Second { // what a program that is waited for has, beside the reading
					t.Errorf("it took %s to give up", took)
				}
				if _, err := r.CommitAt(head); err == nil {
					t.Errorf("%s: the head is there", place)
				}
				if fork, own, _ := forked(t, s, r, "refs/pull/1/head", good, base, 200); fork != base.String() || len(own) != 1 {
					t.Errorf("%s: after it, another head leaves at %s with %q", place, fork, own)
				}
			}
		})
	}
}

// noise writes a file that cannot be made smaller.
func noise(t testing.TB, a *gittest.Author, name string, size int64) {
	t.Helper()
	for _, dir := range []string{a.Dir, a.Git("remote", "get-url", "origin")} { // do not try
		gittest.Git(t, dir, "config", "core.bigFileThreshold", "5m")
		gittest.Git(t, dir, "config", "core.compression", "0")
	}
	f, err := os.Create(filepath.Join(a.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var seed [32]byte
	copy(seed[:], name)
	if _, err := io.CopyN(f, rand.NewChaCha8(seed), size); err != nil {
		t.Fatal(err)
	}
}

// What is no commit, or comes in part, leaves nothing; and it is not the end of what comes whole.
func TestForkThatIsBroken(t *testing.T) {
	s, a, r, base := proposal(t, gitrepo.Options{MaxPack: 64 << 20})
	a.Git("checkout", "--quiet", "--detach")
	commits(a, "head", 3)
	head := propose(t, a, 1)
	a.Write("blob", "x")
	blob := a.Git("hash-object", "-w", "blob")
	a.Git("tag", "--annotate", "--message", "x", "v1")
	a.Git("push", "--quiet", "origin", blob+":refs/pull/2/head", "v1:refs/pull/3/head")
	for ref, h := range refs(t, r, "refs/pull/*/head") {
		if h != head {
			if _, _, err := r.Fork(t.Context(), ref, h, base, 200); err == nil || !strings.Contains(err.Error(), "not a commit") {
				t.Errorf("%s: got error %v", ref, err)
			}
		}
	}
	_, _, err := r.Fork(t.Context(), "refs/pull/9/head", hash(t, strings.Repeat("9", 40)), base, 200)
	wantError(t, err, gitrepo.ErrMoved)
	for _, at := range []int{0, 60, 300, 600} {
		s.Fail("/git-upload-pack", gittest.Cut(at))
		_, _, err := r.Fork(t.Context(), "refs/pull/1/head", head, base, 200)
		wantError(t, err, gitrepo.ErrUnavailable)
		s.Heal()
		if _, err := r.CommitAt(head); err == nil {
			t.Errorf("after %d bytes the head is there", at)
		}
	}
	if fork, own, requests := forked(t, s, r, "refs/pull/1/head", head, base, 200); fork != base.String() || len(own) != 3 || requests != 1 {
		t.Errorf("after all that, the head leaves at %s with %q, in %d requests", fork, own, requests)
	}
}

// A head that is given up may have brought older commits of the base. They are gone with it, and must be known to be: the server
// would not send them again.
func TestForkAfterOneThatReachedFurther(t *testing.T) {
	s, a, r, base := proposal(t, gitrepo.Options{})
	a.Git("checkout", "--quiet", "--detach", "main~10")
	a.Write(".git/message", strings.Repeat("word ", 60_000))
	a.Git("commit", "--quiet", "--allow-empty", "--file", ".git/message")
	bad := propose(t, a, 1)
	a.Git("checkout", "--quiet", "--detach", "main~40")
	commits(a, "good", 1)
	good := propose(t, a, 2)
	_, _, err := r.Fork(t.Context(), "refs/pull/1/head", bad, base, 200)
	wantError(t, err, gitrepo.ErrTooLarge)
	if fork, own, _ := forked(t, s, r, "refs/pull/2/head", good, base, 200); fork != a.Git("rev-parse", "main~40") || len(own) != 1 {
		t.Errorf("it leaves at %s with %q", fork, own)
	}
}
