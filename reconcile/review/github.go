package review

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	api "github.com/google/go-github/v88/github"
)

// github is a repository at GitHub (docs.github.com/rest).
type github struct {
	*board
	authorize   authorizer
	owner, name string
	branch      string
	app         *app // nil for a token
}

func newGitHub(d *door, o ForgeOptions, owner, name string) Forge {
	g := &github{authorize: token("Bearer", o.TokenFile), owner: owner, name: name, branch: o.Branch}
	if o.AppID != 0 {
		g.app = &app{door: d, id: o.AppID, keyFile: o.AppKeyFile, owner: owner, name: name}
		g.authorize = g.app.authorize
	}
	g.board = newBoard(d, g)
	return g
}

func (g *github) api(operation string) (*api.Client, error) {
	return gitHubClient(g.door, g.door.client(operation, g.authorize))
}

// gitHubClient leaves it to the door to know of limits.
func gitHubClient(d *door, client *http.Client) (*api.Client, error) {
	base := d.api.String() + "/"
	return api.NewClient(api.WithHTTPClient(client), api.WithURLs(&base, nil), api.WithUserAgent("tidewaiter"), api.WithDisableRateLimitCheck())
}

func (g *github) login(ctx context.Context) (string, error) {
	if g.app != nil {
		return g.app.login(ctx)
	}
	client, err := g.api(onIdentity)
	if err != nil {
		return "", err
	}
	user, _, err := client.Users.Get(ctx, "")
	return user.GetLogin(), err
}

func (g *github) word(s State) string { return string(s) }

func (g *github) marks(ctx context.Context, head string) ([]signed[mark], error) {
	client, err := g.api(onStatus)
	if err != nil {
		return nil, err
	}
	all, _, err := client.Repositories.ListStatuses(ctx, g.owner, g.name, head, &api.ListOptions{PerPage: 100})
	var ours []signed[mark]
	for _, s := range all { // newest first, says the documentation
		if s.GetContext() == statusName {
			ours = append(ours, signed[mark]{s.GetCreator().GetLogin(), mark{s.GetState(), s.GetDescription(), s.GetTargetURL()}})
		}
	}
	return ours, err
}

func (g *github) setMark(ctx context.Context, head string, m mark) error {
	status := api.RepoStatus{Context: new(statusName), State: &m.state, Description: &m.summary}
	if m.link != "" {
		status.TargetURL = &m.link
	}
	client, err := g.api(onStatus)
	if err != nil {
		return err
	}
	_, _, err = client.Repositories.CreateStatus(ctx, g.owner, g.name, head, status)
	return err
}

func (g *github) notes(ctx context.Context, number, page int) ([]signed[note], int, error) {
	client, err := g.api(onComment)
	if err != nil {
		return nil, 0, err
	}
	all, answer, err := client.Issues.ListComments(ctx, g.owner, g.name, number,
		&api.IssueListCommentsOptions{ListOptions: api.ListOptions{PerPage: 100, Page: page}})
	if err != nil {
		return nil, 0, err
	}
	var notes []signed[note]
	for _, c := range all {
		notes = append(notes, signed[note]{c.GetUser().GetLogin(), note{c.GetID(), c.GetBody()}})
	}
	return notes, answer.NextPage, nil
}

func (g *github) addNote(ctx context.Context, number int, body string) (int64, error) {
	client, err := g.api(onComment)
	if err != nil {
		return 0, err
	}
	made, _, err := client.Issues.CreateComment(ctx, g.owner, g.name, number, &api.IssueComment{Body: &body})
	return made.GetID(), err
}

func (g *github) editNote(ctx context.Context, _ int, n note) error {
	client, err := g.api(onComment)
	if err != nil {
		return err
	}
	_, _, err = client.Issues.EditComment(ctx, g.owner, g.name, n.id, &api.IssueComment{Body: &n.body})
	return err
}

// merged asks which merged pull requests brought a commit, then for the one that did, because lists do not say who merged.
func (g *github) merged(ctx context.Context, commit string) (Approval, bool, error) {
	client, err := g.api(onApproval)
	if err != nil {
		return Approval{}, false, err
	}
	all, _, err := client.PullRequests.ListPullRequestsWithCommit(ctx, g.owner, g.name, commit, &api.ListOptions{PerPage: 100})
	if err != nil {
		return Approval{}, false, err
	}
	var merges []merge
	for _, p := range all {
		if p.MergedAt != nil && p.GetBase().GetRef() == g.branch {
			merges = append(merges, merge{Approval{Number: p.GetNumber()}, []string{p.GetMergeCommitSHA()}})
		}
	}
	found, ok := onlyMerge(commit, merges)
	if !ok {
		return Approval{}, false, nil
	}
	p, _, err := client.PullRequests.Get(ctx, g.owner, g.name, found.Number)
	if err != nil {
		return Approval{}, false, err
	}
	found.Link, found.Merger, found.Author = p.GetHTMLURL(), p.GetMergedBy().GetLogin(), p.GetUser().GetLogin()
	return found, p.GetMerged(), nil
}

func (g *github) open(ctx context.Context, branch string, page int) (numbers []int, next int, err error) {
	client, err := g.api(onOpen)
	if err != nil {
		return nil, 0, err
	}
	all, answer, err := client.PullRequests.List(ctx, g.owner, g.name, &api.PullRequestListOptions{
		State: "open", Base: branch, Sort: "created", Direction: "desc", ListOptions: api.ListOptions{PerPage: 100, Page: page},
	})
	if err != nil {
		return nil, 0, err
	}
	for _, p := range all {
		numbers = append(numbers, p.GetNumber())
	}
	return numbers, answer.NextPage, nil
}

// app is a GitHub App, which acts by short-lived tokens of its installation on a repository.
type app struct {
	door        *door
	id          int64
	keyFile     string
	owner, name string

	mu     sync.Mutex
	header string // of the newest token
	until  time.Time
}

// self is the App by its own key, read again, which may do little but ask for tokens.
func (a *app) self() (*ghinstallation.AppsTransport, *api.Client, error) {
	key, err := os.ReadFile(a.keyFile)
	if err != nil {
		return nil, nil, explained{fmt.Errorf("reading the private key of the GitHub App: %w", err)}
	}
	signing, err := ghinstallation.NewAppsTransport(errand{a.door, onIdentity, nil}, a.id, key)
	if err != nil {
		return nil, nil, explained{fmt.Errorf("the file %s holds no RSA private key in PEM, as GitHub gives for an App", a.keyFile)}
	}
	signing.BaseURL = a.door.api.String()
	client := a.door.client(onIdentity, nil)
	client.Transport = signing
	asked, err := gitHubClient(a.door, client)
	return signing, asked, err
}

// authorize makes a token for this repository alone where the last one is used up.
func (a *app) authorize(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().Before(a.until) {
		return a.header, nil
	}
	signing, client, err := a.self()
	if err != nil {
		return "", err
	}
	installation, _, err := client.Apps.GetRepositoryInstallation(ctx, a.owner, a.name)
	if errors.Is(err, ErrForgeNotFound) {
		return "", explained{fmt.Errorf("%w: the GitHub App is not installed on it", ErrForgeNotFound)}
	}
	if err != nil {
		return "", err
	}
	made := ghinstallation.NewFromAppsTransport(signing, installation.GetID())
	made.InstallationTokenOptions = &api.InstallationTokenOptions{Repositories: []string{a.name}}
	secret, err := made.Token(ctx)
	if err != nil {
		return "", err
	}
	_, a.until, err = made.Expiry() // a minute before it really ends
	a.header = "Bearer " + secret
	return a.header, err
}

// login is the name of the App's own account, which no person can have.
func (a *app) login(ctx context.Context) (string, error) {
	_, client, err := a.self()
	if err != nil {
		return "", err
	}
	self, _, err := client.Apps.Get(ctx, "")
	if err != nil || self.GetSlug() == "" {
		return "", err
	}
	return self.GetSlug() + "[bot]", nil
}
