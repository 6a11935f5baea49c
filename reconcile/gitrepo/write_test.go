package gitrepo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
)

// commit makes a commit on the status branch that must work.
func commit(t testing.TB, r *gitrepo.Repo, parent gitrepo.Hash, files map[string][]byte) gitrepo.Hash {
	t.Helper()
	h, err := r.Commit(t.Context(), change(parent, files))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestCommitIsWhatGitSees(t *testing.T) {
	s, _ := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	first := commit(t, r, gitrepo.Hash{}, map[string][]byte{"a/b/c": []byte("1"), "a/x": []byte("2"), "z": []byte("3")})
	second := commit(t, r, first, map[string][]byte{"a/b/c": nil, "a/x": []byte("two"), "new/é \"q\"": []byte("4"), "gone/already": nil, "empty": {}})
	third := commit(t, r, second, nil)

	git := func(args ...string) string { return gittest.Git(t, s.Dir("catalog.git"), args...) }
	if got, want := git("rev-list", "--reverse", "status"), fmt.Sprintf("%s\n%s\n%s", first, second, third); got != want {
		t.Errorf("the branch holds\n%s\nwant\n%s", got, want)
	}
	if got, want := git("ls-tree", "-r", "-z", "--name-only", "status"), "a/x\x00empty\x00new/é \"q\"\x00z\x00"; got != want {
		t.Errorf("the files are %q, want %q", got, want)
	}
	if got := git("show", "status:a/x"); got != "two" {
		t.Errorf("a/x holds %q", got)
	}
	if got, want := git("log", "-1", "--format=%an <%ae> %at %cn <%ce> %ct%n%B", "status"),
		fmt.Sprintf("tidewaiter <tidewaiter@example.com> %d tidewaiter <tidewaiter@example.com> %d\nrelease a 1.0.0\n\nCatalog-Commit: 0", noon.Unix(), noon.Unix()); got != want {
		t.Errorf("the commit is\n%s\nwant\n%s", got, want)
	}
	if got := git("rev-parse", "status^{tree}"); got != git("rev-parse", "status~1^{tree}") {
		t.Error("a commit without files changed the tree")
	}
	gittest.Fsck(t, s.Dir("catalog.git"))
}

// Names and messages come from strangers in part; what they hold must not make another commit of it.
func TestCommitTextIsHarmless(t *testing.T) {
	s, _ := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	c := change(gitrepo.Hash{}, nil)
	c.Author = gitrepo.Person{Name: "a\nparent <x>\x00", Email: " e> 0\n"}
	c.Message = "subject\x00\xff\n\n\n"
	if _, err := r.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	got := gittest.Git(t, s.Dir("catalog.git"), "log", "-1", "--format=%an|%ae|%s", "status")
	if want := "aparent x|e 0|subject\uFFFD"; got != want {
		t.Errorf("the commit says %q, want %q", got, want)
	}
	gittest.Fsck(t, s.Dir("catalog.git"))
}

func TestCommitRefusesPaths(t *testing.T) {
	s, a := catalog(t)
	a.Write("dir/file", "x")
	a.Commit("a directory")
	a.Push()
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	main := tip(t, r, "main")
	s.Requests()
	for _, files := range []map[string][]byte{
		{"": {}}, {"/x": {}}, {"x/": {}}, {"x//y": {}}, {".": {}}, {"x/../y": {}}, {".git/config": {}}, {"x/.GIT": {}}, {"git~1": {}}, {"a\x00b": {}},
		{"dir": []byte("a file now")}, {"README.md/x": []byte("a directory now")}, {"n": []byte("1"), "n/m": []byte("2")},
	} {
		c := change(main, files)
		c.Branch = "main"
		if _, err := r.Commit(t.Context(), c); err == nil {
			t.Errorf("%q was written", files)
		}
	}
	if asked := s.Requests(); len(asked) != 0 {
		t.Errorf("paths that cannot be were asked about: %q", asked)
	}
	c := change(main, map[string][]byte{"README.md": nil, "README.md/x": []byte("said to be replaced")})
	c.Branch = "main"
	if _, err := r.Commit(t.Context(), c); err != nil {
		t.Errorf("a file deleted and a directory in its place: %v", err)
	}
	gittest.Fsck(t, s.Dir("catalog.git"))
}

// The law of Commit: after any sequence of changes the tree is what a map would hold.
func TestCommitIsAMap(t *testing.T) {
	s, _ := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Dir("catalog.git")})
	random := rand.New(rand.NewPCG(3, 4))
	names := []string{"a", "a-b", "a.b", "b", "ab"}
	model := map[string]string{}
	var at gitrepo.Hash
	for step := range 40 {
		files := map[string][]byte{}
		for range random.IntN(6) {
			path := names[random.IntN(len(names))] + ".d/" + names[random.IntN(len(names))]
			if random.IntN(2) == 0 {
				path = names[random.IntN(len(names))] + ".d/sub/" + names[random.IntN(len(names))] + ".f"
			}
			files[path] = nil
			delete(model, path)
			if random.IntN(3) > 0 {
				content := fmt.Sprint(random.IntN(4))
				files[path], model[path] = []byte(content), content
			}
		}
		at = commit(t, r, at, files)
		got := map[string]string{}
		entries, err := r.Files(at, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			content, err := r.Blob(e.Hash, 100)
			if err != nil {
				t.Fatal(err)
			}
			got[e.Path] = string(content)
		}
		if !reflect.DeepEqual(got, model) {
			t.Fatalf("step %d: got %q, want %q", step, got, model)
		}
	}
	gittest.Fsck(t, s.Dir("catalog.git"))
}

// A push names the parent that the server must still have. Nothing but that decides, whatever the writer has seen since.
func TestCompareAndSwap(t *testing.T) {
	s, _ := catalog(t)
	one := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	two := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	first := commit(t, one, gitrepo.Hash{}, map[string][]byte{"one": []byte("1")})
	_, err := two.Commit(t.Context(), change(gitrepo.Hash{}, map[string][]byte{"two": []byte("2")}))
	wantError(t, err, gitrepo.ErrMoved, "refs/heads/status")

	tip(t, two, "status")
	second := commit(t, one, first, map[string][]byte{"one": []byte("11")})
	c := change(first, map[string][]byte{"two": []byte("2")})
	_, err = two.Commit(t.Context(), c)
	wantError(t, err, gitrepo.ErrMoved)

	tip(t, two, "status") // having seen the new tip does not make the old parent right
	_, err = two.Commit(t.Context(), c)
	wantError(t, err, gitrepo.ErrMoved)

	c.Parent = second
	third, err := two.Commit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	gittest.Git(t, s.Dir("catalog.git"), "update-ref", "-d", "refs/heads/status")
	_, err = one.Commit(t.Context(), change(third, nil))
	wantError(t, err, gitrepo.ErrMoved)
	_, err = two.Commit(t.Context(), change(third, nil))
	wantError(t, err, gitrepo.ErrMoved)
	gittest.Fsck(t, s.Dir("catalog.git"))
}

// Writers that race, read again and try again lose nothing, and each of their commits is there once.
func TestRacingWriters(t *testing.T) {
	s, _ := catalog(t)
	const writers, each = 3, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r, err := gitrepo.Open(gitrepo.Options{URL: s.Repo("catalog.git")})
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			for i := 0; i < each; {
				refs, err := r.Refs(t.Context(), "status")
				if err != nil {
					t.Error(err)
					return
				}
				at := refs.Branch("status")
				_, err = r.Commit(t.Context(), change(at, map[string][]byte{fmt.Sprintf("w%d/%d", w, i): []byte("x")}))
				switch {
				case err == nil:
					i++
				case !errors.Is(err, gitrepo.ErrMoved):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := gittest.Git(t, s.Dir("catalog.git"), "rev-list", "--count", "status"); got != fmt.Sprint(writers*each) {
		t.Errorf("the branch has %s commits, want %d", got, writers*each)
	}
	if got := gittest.Git(t, s.Dir("catalog.git"), "ls-tree", "-r", "--name-only", "status"); len(strings.Fields(got)) != writers*each {
		t.Errorf("the branch has files %s, want %d", got, writers*each)
	}
	gittest.Fsck(t, s.Dir("catalog.git"))
}

// An answer that is lost says nothing about the push: the remote ref does.
func TestLostAnswers(t *testing.T) {
	s, _ := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	at := commit(t, r, gitrepo.Hash{}, map[string][]byte{"x": []byte("0")})
	next := func() gitrepo.Change { return change(at, map[string][]byte{"x": []byte(at.String())}) }

	for name, fault := range map[string]gittest.Fault{"502 after success": gittest.LoseAnswer, "cut": gittest.Cut(10)} {
		s.Fail("/git-receive-pack", fault)
		h, err := r.Commit(t.Context(), next())
		s.Heal()
		if err != nil {
			t.Fatalf("%s: the push was made, got error %v", name, err)
		}
		if got := refs(t, r, "status").Branch("status"); got != h {
			t.Fatalf("%s: status is at %s, want %s", name, got, h)
		}
		at = h
	}

	s.Fail("/git-receive-pack", gittest.Refuse(503))
	_, err := r.Commit(t.Context(), next())
	s.Heal()
	wantError(t, err, gitrepo.ErrUnavailable, "503", "injected refusal")
	at = commit(t, r, at, map[string][]byte{"x": []byte("after an error the same change goes through")})

	// The answer is lost, and so is the way to ask: then the error says so, and the next look finds the commit.
	s.Fail("/git-receive-pack", gittest.LoseAnswer)
	s.Fail("/info/refs", gittest.Refuse(503))
	_, err = r.Commit(t.Context(), next())
	s.Heal()
	wantError(t, err, gitrepo.ErrUnavailable, "could not be asked")
	head := tip(t, r, "status")
	if c, err := r.Chain(t.Context(), "status", head, at); err != nil || len(c) != 1 {
		t.Errorf("the commit whose fate was open: got %v, %v", c, err)
	}
	gittest.Fsck(t, s.Dir("catalog.git"))
}

// An answer is lost, and before the ref is asked somebody else moves it on: it is not ours any more.
func TestLostAnswerThenMoved(t *testing.T) {
	s, a := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	at := commit(t, r, gitrepo.Hash{}, map[string][]byte{"x": []byte("0")})
	s.Fail("/git-receive-pack", gittest.LoseAnswer)
	s.Fail("/info/refs", gittest.Before(func() {
		gittest.Git(t, s.Dir("catalog.git"), "update-ref", "refs/heads/status", a.Head())
	}))
	_, err := r.Commit(t.Context(), change(at, nil))
	wantError(t, err, gitrepo.ErrMoved)
}

func TestProtectedBranch(t *testing.T) {
	s, _ := catalog(t)
	s.Protect("catalog.git", "status", `protected: ask \033[31mthe build team\033[0m`)
	for _, url := range []string{s.Repo("catalog.git"), s.Dir("catalog.git")} {
		r := open(t, gitrepo.Options{URL: url})
		_, err := r.Commit(t.Context(), change(gitrepo.Hash{}, nil))
		wantError(t, err, gitrepo.ErrRefused, "pre-receive hook declined", "protected: ask", "the build team")
		if strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("the error %q holds control characters", err)
		}
	}
	s.Hook("catalog.git", "pre-receive", "exit 0")
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	commit(t, r, gitrepo.Hash{}, nil)
}

func TestHungServer(t *testing.T) {
	s, _ := catalog(t)
	r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	at := commit(t, r, gitrepo.Hash{}, nil)
	for where, ask := range map[string]func(context.Context, *gitrepo.Repo) error{
		"/info/refs": func(ctx context.Context, r *gitrepo.Repo) error { _, err := r.Refs(ctx, "main"); return err },
		"/git-receive-pack": func(ctx context.Context, r *gitrepo.Repo) error {
			_, err := r.Commit(ctx, change(at, nil))
			return err
		},
		"/git-upload-pack": func(ctx context.Context, _ *gitrepo.Repo) error {
			r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
			_, err := r.Chain(ctx, "status", at, gitrepo.Hash{})
			return err
		},
	} {
		s.Fail(where, s.Hang)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		start := time.Now()
		err := ask(ctx, r)
		cancel()
		s.Heal()
		wantError(t, err, context.DeadlineExceeded)
		wantError(t, err, gitrepo.ErrUnavailable)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s hangs: it took %s to give up", where, took)
		}
	}
	if got := refs(t, r, "status").Branch("status"); got != at {
		t.Errorf("after all that status is at %s, want %s", got, at)
	}
}

// A pack that ends early must leave nothing that looks whole.
func TestCutFetch(t *testing.T) {
	s, a := catalog(t)
	random := rand.New(rand.NewPCG(5, 6))
	for i := range 50 {
		a.Write(fmt.Sprintf("images/%d.yaml", i), fmt.Sprintf("%x %x %x\n", random.Uint64(), random.Uint64(), random.Uint64()))
	}
	a.Commit("many")
	a.Push()
	for _, at := range []int{0, 3, 60, 200, 400, 1500, 3000} {
		r := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
		main := refs(t, r, "main").Branch("main")
		s.Fail("/git-upload-pack", gittest.Cut(at))
		_, err := r.Chain(t.Context(), "main", main, gitrepo.Hash{})
		s.Heal()
		wantError(t, err, gitrepo.ErrUnavailable)
		if _, err := r.Chain(t.Context(), "main", main, gitrepo.Hash{}); err != nil {
			t.Fatalf("cut after %d bytes, then again: %v", at, err)
		}
		files, err := r.Files(main, "")
		if err != nil || len(files) != 53 {
			t.Fatalf("cut after %d bytes, then again: %d files, %v", at, len(files), err)
		}
		for _, f := range files {
			if _, err := r.Blob(f.Hash, 1<<18); err != nil {
				t.Errorf("cut after %d bytes, then again: %v", at, err)
			}
		}
	}
}

// What a failed push would have brought is in the next one again.
func TestRetryAfterConflict(t *testing.T) {
	s, _ := catalog(t)
	one := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	two := open(t, gitrepo.Options{URL: s.Repo("catalog.git")})
	first := commit(t, one, gitrepo.Hash{}, map[string][]byte{"a": []byte("1")})
	tip(t, two, "status")
	second := commit(t, two, first, map[string][]byte{"b": []byte("2")})
	files := map[string][]byte{"deep/er/file": bytes.Repeat([]byte("payload "), 100), "a": []byte("3")}
	_, err := one.Commit(t.Context(), change(first, files))
	wantError(t, err, gitrepo.ErrMoved)
	third := commit(t, one, second, files)
	if got := gittest.Git(t, s.Dir("catalog.git"), "rev-parse", "status"); got != third.String() {
		t.Errorf("status is at %s, want %s", got, third)
	}
	gittest.Fsck(t, s.Dir("catalog.git"))
}
