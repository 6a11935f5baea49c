package review_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"code.gitea.io/sdk/gitea"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/review"
	"tidewaiter/reconcile/web"
	"tidewaiter/schema"
)

// venue is where the story of a pull request takes place: a Git server and the forge that belongs to it.
type venue struct {
	git     gitrepo.Options
	forge   review.ForgeOptions
	author  *gittest.Author
	propose func(branch string) (number int) // opens a pull request of what was pushed to a branch
	update  func(number int, branch string)  // makes its head what is checked out
	merge   func(number int, branch string) (commit string)
	said    func(number int, head string) (statuses, comments []string) // statuses as "success: text", the newest last
	merger  string
	link    string // how the record names the pull request
}

// TestStoryOfAPullRequest: a mistake is shown at its line, its correction turns the same comment good, what it would release can be
// tried before anybody else sees it, and what is merged is released as it was said, with who merged it.
func TestStoryOfAPullRequest(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			tellStory(t, newVenue(t, kind))
		})
	}
	t.Run("a real gitea", func(t *testing.T) {
		server, token := os.Getenv("TIDEWAITER_TEST_GITEA_URL"), os.Getenv("TIDEWAITER_TEST_GITEA_TOKEN")
		if server == "" || token == "" {
			t.Skip("TIDEWAITER_TEST_GITEA_URL and TIDEWAITER_TEST_GITEA_TOKEN name no server")
		}
		tellStory(t, giteaVenue(t, near(t, server), token))
	})
}

// newVenue is a plain Git server whose pull requests are refs, beside a forge that answers as its API documents say.
func newVenue(t *testing.T, kind string) venue {
	forge := setUp(t, kind)
	server := gittest.NewServer(t)
	server.Create("catalog.git")
	author := gittest.NewAuthor(t, server.Repo("catalog.git"))
	ref := "refs/pull/%d/head"
	link := "https://github.acme.dev/acme/catalog/pull/7"
	switch kind {
	case "gitlab":
		ref, link = "refs/merge-requests/%d/head", "https://gitlab.acme.dev/acme/images/catalog/-/merge_requests/7"
	case "gitea":
		link = "https://gitea.acme.dev/acme/catalog/pulls/7"
	}
	const number = 7
	update := func(number int, _ string) {
		author.Git("push", "--quiet", "--force", "origin", "HEAD:"+fmt.Sprintf(ref, number))
	}
	return venue{
		git: gitrepo.Options{URL: server.Repo("catalog.git")}, forge: forge.options, author: author, merger: "grace", link: link,
		propose: func(branch string) int {
			forge.change(func() { forge.pulls = append(forge.pulls, pull{number: number, base: "main", by: "ada"}) })
			update(number, branch)
			return number
		},
		update: update,
		merge: func(_ int, branch string) string {
			commit := author.Merge(branch, "merge")
			forge.change(func() { forge.pulls[0].merge, forge.pulls[0].mergedBy = commit, "grace" })
			author.Push()
			return commit
		},
		said: func(_ int, head string) (statuses, comments []string) {
			forge.mu.Lock()
			defer forge.mu.Unlock()
			for _, s := range forge.statuses {
				if s.head == head {
					statuses = append(statuses, strings.Replace(s.state, "failed", "failure", 1)+": "+s.summary)
				}
			}
			for _, c := range forge.comments {
				comments = append(comments, c.body)
			}
			return statuses, comments
		},
	}
}

// giteaVenue is a repository of its own on a real Gitea, which is deleted when the test ends.
func giteaVenue(t *testing.T, at, token string) venue {
	client, err := gitea.NewClient(at, gitea.SetToken(token), gitea.SetGiteaVersion(""))
	must(t, err)
	self, _, err := client.GetMyUserInfo()
	must(t, err)
	owner, name := self.UserName, fmt.Sprintf("tidewaiter-story-%d", time.Now().UnixNano())
	_, _, err = client.CreateRepo(gitea.CreateRepoOption{Name: name, DefaultBranch: "main"})
	must(t, err)
	forget(client, owner, name)
	repository := at + "/" + owner + "/" + name + ".git"
	withToken, err := url.Parse(repository)
	must(t, err)
	withToken.User = url.UserPassword(owner, token)
	author := gittest.NewAuthor(t, withToken.String())
	push := func(branch string) { author.Git("push", "--quiet", "--force", "origin", "HEAD:refs/heads/"+branch) }
	return venue{
		git:    gitrepo.Options{URL: repository, Username: owner, PasswordFile: write(t, token)},
		forge:  review.ForgeOptions{Kind: "gitea", API: at, Repository: repository, Branch: "main", TokenFile: write(t, token)},
		author: author, merger: owner,
		propose: func(branch string) int {
			push(branch)
			for deadline := time.Now().Add(storyPatience); ; time.Sleep(200 * time.Millisecond) { // until the server has seen both branches
				opened, _, err := client.CreatePullRequest(owner, name, gitea.CreatePullRequestOption{Head: branch, Base: "main", Title: "Add <b>go</b> @everyone"})
				if err == nil {
					return int(opened.Index)
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
		},
		update: func(_ int, branch string) { push(branch) },
		merge:  func(number int, _ string) string { return merge(t, client, owner, name, int64(number)) },
		said: func(number int, head string) (statuses, notes []string) {
			all, _, err := client.ListStatuses(owner, name, head, gitea.ListStatusesOption{})
			must(t, err)
			slices.SortFunc(all, func(a, b *gitea.Status) int { return int(a.ID - b.ID) })
			for _, s := range all {
				statuses = append(statuses, string(s.State)+": "+s.Description)
			}
			for _, c := range comments(t, client, owner, name, int64(number)) {
				notes = append(notes, c.Body)
			}
			return statuses, notes
		},
	}
}

// storyPatience is how long one event of the story may take; a server that does its part in the background takes seconds.
const storyPatience = time.Minute

func tellStory(t *testing.T, v venue) {
	images, err := registrytest.Start(registrytest.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, images.Close()) })
	digest, err := images.Push(t.Context(), "acme/go", "1", registrytest.Image{Seed: "go"})
	must(t, err)
	v.author.Write("catalog.yaml", "apiVersion: tidewaiter/v1\nkind: Catalog\nmetadata:\n  name: acme\nspec:\n  registries:\n    - host: "+images.Host+
		"\n  debugProjects:\n    sandbox: {url: \"https://ci.acme.dev/sandbox?image={image}&review={review}&ref={ref}\"}\n")
	v.author.Commit("Write the policy")
	v.author.Push()
	page := v.start(t)

	spec := func(mode string) string {
		return "apiVersion: tidewaiter/v1\nkind: Image\nmetadata:\n  name: go\nspec:\n  summary: Go\n  image:\n    registry: " + images.Host +
			"\n    repository: acme/go\n    tag: \"1\"\n  upgrade:\n    mode: " + mode + "\n    notes: The first one.\n  debugProject: sandbox\n"
	}
	v.author.Branch("add-go")
	v.author.Write("images/go.yaml", spec("compatible-fixx"))
	bad := v.author.Commit("Add go")
	number := v.propose("add-go")
	v.wait(t, number, bad, "failure: 1 problem to correct", "images/go.yaml&#58;12&#58;11&#58; ")

	v.author.Write("images/go.yaml", spec("compatible-fix"))
	good := v.author.Commit("Correct it")
	v.update(number, "add-go")
	v.wait(t, number, good, "success: releases go 1.0.0", "latest becomes 1.0.0", "(<https://ci.acme.dev/sandbox?image=go&review="+fmt.Sprint(number)+"&ref=")

	pinned := images.Host + "/acme/go:1@" + string(digest)
	if code, body := get(t, page+"/api/v1/resolve/go/1.latest?project=sandbox&review="+fmt.Sprint(number), "try me"); code != 200 || !strings.Contains(body, pinned) {
		t.Errorf("the debug project is answered %d %s", code, body)
	}
	for _, token := range []string{"", "try you"} {
		if code, body := get(t, page+"/api/v1/resolve/go/1.latest?project=sandbox&review="+fmt.Sprint(number), token); code != 401 || strings.Contains(body, "sha256") {
			t.Errorf("whoever shows the token %q is answered %d %s", token, code, body)
		}
	}
	if code, body := get(t, page+"/api/v1/resolve/go/1.latest", ""); code != 404 {
		t.Errorf("everybody else is answered %d %s", code, body)
	}
	if code, body := get(t, page+"/reviews/"+fmt.Sprint(number), ""); code != 200 || !strings.Contains(body, "try it in sandbox") {
		t.Errorf("the page answers %d %s", code, body)
	}

	commit := v.merge(number, "add-go")
	v.wait(t, number, good, "success: releases go 1.0.0", "go 1.0.0 is released with "+strings.ReplaceAll(string(digest), ":", "&#58;")+", as it was reviewed")
	record := v.record(t)
	if record.Version.String() != "1.0.0" || record.Digest != digest || record.Request.Commit != commit {
		t.Errorf("released %s %s for %s, want 1.0.0 %s for %s", record.Version, record.Digest, record.Request.Commit, digest, commit)
	}
	if by := record.ApprovedBy; by.Source != "forge" || by.Committer != v.merger || by.PullRequest == "" || v.link != "" && by.PullRequest != v.link {
		t.Errorf("it was approved by %+v", by)
	}
	if code, body := get(t, page+"/api/v1/resolve/go/1.latest", ""); code != 200 || !strings.Contains(body, pinned) {
		t.Errorf("everybody is answered %d %s", code, body)
	}
}

// start runs a daemon and its page, of which it returns the URL.
func (v venue) start(t *testing.T) string {
	forge, err := review.NewForge(v.forge)
	must(t, err)
	projects := t.TempDir()
	must(t, os.Mkdir(filepath.Join(projects, "sandbox"), 0o700))
	must(t, os.WriteFile(filepath.Join(projects, "sandbox", "token"), []byte("try me\n"), 0o600))
	log := &syncBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log:\n%s", log)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	daemon, err := reconcile.New(ctx, reconcile.Config{
		Git: v.git, Branch: "main", StatusBranch: "status", Registry: registry.Options{}, Interval: 200 * time.Millisecond, Settle: time.Hour,
		Author: gitrepo.Person{Name: "tidewaiter", Email: "tidewaiter@localhost"}, Version: "v0.0.0-test", Now: time.Now,
		Log: slog.New(slog.NewTextHandler(log, nil)),
		Reviews: reconcile.ReviewConfig{
			Refs: []string{"refs/pull/*/head", "refs/merge-requests/*/head"}, Most: 10, Age: 100 * 365 * 24 * time.Hour, Interval: time.Minute, Forge: forge,
		},
	})
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- daemon.Run(ctx) }()
	server := httptest.NewServer(web.Handler(web.Options{Ready: daemon.Ready, Store: daemon.Store, Reviews: daemon.Reviews, Projects: projects}))
	t.Cleanup(func() {
		server.Close()
		cancel()
		must(t, <-ended)
		must(t, daemon.Close())
	})
	return server.URL
}

// wait waits until the newest status of a head is as wanted, and the only comment holds all of the texts.
func (v venue) wait(t *testing.T, number int, head, status string, texts ...string) {
	t.Helper()
	var statuses, notes []string
	for deadline := time.Now().Add(storyPatience); ; time.Sleep(20 * time.Millisecond) {
		statuses, notes = v.said(number, head)
		good := len(statuses) > 0 && statuses[len(statuses)-1] == status && len(notes) == 1
		for _, text := range texts {
			good = good && strings.Contains(notes[0], text)
		}
		if good {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the head has %q and the comments\n%s\nwant %s and %q", statuses, strings.Join(notes, "\n---\n"), status, texts)
		}
	}
}

// record is the release of go 1.0.0.
func (v venue) record(t *testing.T) schema.Record {
	t.Helper()
	v.author.Git("fetch", "--quiet", "origin", "status")
	record, err := schema.DecodeRelease("1.0.0.yaml", []byte(v.author.Git("show", "FETCH_HEAD:releases/go/1.0.0.yaml")+"\n"))
	must(t, err)
	return record
}

func get(t *testing.T, at, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
	must(t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	return answer.StatusCode, string(body)
}

type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
