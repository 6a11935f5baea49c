package review_test

import (
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"code.gitea.io/sdk/gitea"

	"tidewaiter/reconcile/review"
)

// TestGiteaServer tells the story of one pull request to a real Gitea or Forgejo, in a repository that it makes and deletes. It
// needs the URL of the server, and a token of any account that may do so: with the scopes write:repository, write:issue and
// write:user.
func TestGiteaServer(t *testing.T) {
	server, token := os.Getenv("TIDEWAITER_TEST_GITEA_URL"), os.Getenv("TIDEWAITER_TEST_GITEA_TOKEN")
	if server == "" || token == "" {
		t.Skip("TIDEWAITER_TEST_GITEA_URL and TIDEWAITER_TEST_GITEA_TOKEN name no server")
	}
	at := near(t, server)
	client, err := gitea.NewClient(at, gitea.SetToken(token), gitea.SetGiteaVersion(""))
	must(t, err)
	self, _, err := client.GetMyUserInfo()
	must(t, err)
	owner, name := self.UserName, fmt.Sprintf("tidewaiter-test-%d", time.Now().UnixNano())
	_, _, err = client.CreateRepo(gitea.CreateRepoOption{Name: name, AutoInit: true, DefaultBranch: "main"})
	must(t, err)
	forget(client, owner, name)
	file := gitea.CreateFileOptions{
		FileOptions: gitea.FileOptions{Message: "Add go-builder", BranchName: "main", NewBranchName: "go-builder"},
		Content:     base64.StdEncoding.EncodeToString([]byte("kind: Image\n")),
	}
	_, _, err = client.CreateFile(owner, name, "images/go-builder.yaml", file)
	must(t, err)
	pull, _, err := client.CreatePullRequest(owner, name, gitea.CreatePullRequestOption{Head: "go-builder", Base: "main", Title: "Add go-builder"})
	must(t, err)

	options := review.ForgeOptions{Kind: "gitea", API: at, Repository: at + "/" + owner + "/" + name + ".git", Branch: "main", TokenFile: write(t, token)}
	open := func() review.Forge {
		forge, err := review.NewForge(options)
		must(t, err)
		return forge
	}
	forge := open()
	number, tip := int(pull.Index), pull.Head.Sha
	wantOpen(t, forge, number)

	link := "https://tidewaiter.acme.dev/reviews/1"
	must(t, forge.Status(t.Context(), tip, review.Status{State: review.Pending, Summary: "looking at 1 image"}))
	must(t, forge.Status(t.Context(), tip, review.Status{State: review.Success, Summary: "go-builder becomes 1.0.0", Link: link}))
	must(t, open().Status(t.Context(), tip, review.Status{State: review.Success, Summary: "go-builder becomes 1.0.0", Link: link}))
	statuses, _, err := client.ListStatuses(owner, name, tip, gitea.ListStatusesOption{})
	must(t, err)
	success := 0
	for _, s := range statuses {
		if s.State == gitea.StatusSuccess && s.Context == "tidewaiter" && s.Description == "go-builder becomes 1.0.0" && s.TargetURL == link {
			success++
		}
	}
	if success != 1 || len(statuses) != 2 {
		t.Errorf("the head has %d statuses, %d of them the last one; want 2 and 1", len(statuses), success)
	}

	must(t, forge.Comment(t.Context(), number, "becomes **1.0.0**\n"))
	must(t, open().Comment(t.Context(), number, "becomes **1.0.0**\n"))
	before := comments(t, client, owner, name, pull.Index)
	must(t, open().Comment(t.Context(), number, "cannot be pulled\n"))
	after := comments(t, client, owner, name, pull.Index)
	if len(before) != 1 || len(after) != 1 || before[0].ID != after[0].ID || strings.TrimSpace(after[0].Body) != marker+"cannot be pulled" {
		t.Errorf("there are %d comments, then %d; want one that is edited", len(before), len(after))
	}

	if _, ok, err := forge.Approval(t.Context(), tip); ok || err != nil {
		t.Errorf("what is not merged is approved: %t, %v", ok, err)
	}
	commit := merge(t, client, owner, name, pull.Index)
	want := review.Approval{Number: number, Link: pull.HTMLURL, Merger: owner, Author: owner}
	got, ok, err := forge.Approval(t.Context(), commit)
	if got.Link == "" {
		want.Link = "" // the server calls itself by what is no link to follow
	}
	if got != want || !ok || err != nil {
		t.Errorf("%s is approved by %+v, %t, %v; want %+v", commit, got, ok, err, want)
	}
	wantOpen(t, forge)
}

// forgotten takes away what the tests made on a real server, the last first. That is done when all tests have ended: a server works on what was pushed in the
// background, and some hang when its repository is gone meanwhile.
var forgotten []func() error

func forget(client *gitea.Client, owner, name string) {
	forgotten = append(forgotten, func() error {
		_, err := client.DeleteRepo(owner, name)
		return err
	})
}

func TestMain(m *testing.M) {
	code := m.Run()
	if len(forgotten) > 0 {
		time.Sleep(5 * time.Second)
	}
	for _, do := range slices.Backward(forgotten) {
		if err := do(); err != nil {
			fmt.Fprintln(os.Stderr, "deleting what the tests made:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// near is a loopback address of a server, which may be one that speaks plain http from afar.
func near(t *testing.T, server string) string {
	t.Helper()
	to, err := url.Parse(strings.TrimRight(server, "/"))
	must(t, err)
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }})
	forgotten = append(forgotten, func() error { proxy.Close(); return nil })
	return proxy.URL
}

// merge merges a pull request, once the server has found out that it can, and returns the commit.
func merge(t *testing.T, client *gitea.Client, owner, name string, index int64) string {
	t.Helper()
	for range 300 {
		if done, _, err := client.MergePullRequest(owner, name, index, gitea.MergePullRequestOption{Style: gitea.MergeStyleMerge}); done && err == nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	pull, _, err := client.GetPullRequest(owner, name, index)
	must(t, err)
	if !pull.HasMerged || pull.MergedCommitID == nil {
		t.Fatal("the pull request cannot be merged")
	}
	return *pull.MergedCommitID
}

func comments(t *testing.T, client *gitea.Client, owner, name string, index int64) []*gitea.Comment {
	t.Helper()
	all, _, err := client.ListIssueComments(owner, name, index, gitea.ListIssueCommentOptions{})
	must(t, err)
	return all
}

func wantOpen(t *testing.T, forge review.Forge, want ...int) {
	t.Helper()
	got, err := forge.Open(t.Context(), "main", 10)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v are open, %v; want %v", got, err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
