package review

import (
	"cmp"
	"context"
	"errors"
	"slices"

	api "code.gitea.io/sdk/gitea"
)

// gitea is a repository at Gitea or Forgejo (docs.gitea.com/api).
type gitea struct {
	*board
	authorize   authorizer
	owner, name string
	branch      string
}

func newGitea(d *door, o ForgeOptions, owner, name string) Forge {
	g := &gitea{authorize: token("token", o.TokenFile), owner: owner, name: name, branch: o.Branch}
	g.board = newBoard(d, g)
	return g
}

// api is a client for one call, because the library keeps one context for all calls of a client. It asks for no version.
func (g *gitea) api(ctx context.Context, operation string) (*api.Client, error) {
	return api.NewClient(g.door.api.String(), api.SetGiteaVersion(""), api.SetContext(ctx), api.SetUserAgent("tidewaiter"),
		api.SetHTTPClient(g.door.client(operation, g.authorize)))
}

func (g *gitea) login(ctx context.Context) (string, error) {
	client, err := g.api(ctx, onIdentity)
	if err != nil {
		return "", err
	}
	user, _, err := client.GetMyUserInfo()
	return there(user).UserName, err
}

func (g *gitea) word(s State) string { return string(s) }

func (g *gitea) marks(ctx context.Context, head string) ([]signed[mark], error) {
	client, err := g.api(ctx, onStatus)
	if err != nil {
		return nil, err
	}
	all, _, err := client.ListStatuses(g.owner, g.name, head, api.ListStatusesOption{ListOptions: api.ListOptions{PageSize: 50}})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *api.Status) int { return cmp.Compare(b.ID, a.ID) })
	var ours []signed[mark]
	for _, s := range all {
		if s.Context == statusName {
			ours = append(ours, signed[mark]{there(s.Creator).UserName, mark{string(s.State), s.Description, s.TargetURL}})
		}
	}
	return ours, nil
}

func (g *gitea) setMark(ctx context.Context, head string, m mark) error {
	client, err := g.api(ctx, onStatus)
	if err != nil {
		return err
	}
	_, _, err = client.CreateStatus(g.owner, g.name, head,
		api.CreateStatusOption{State: api.StatusState(m.state), TargetURL: m.link, Description: m.summary, Context: statusName})
	return err
}

// notes is one page: Gitea sends all comments at once.
func (g *gitea) notes(ctx context.Context, number, page int) ([]signed[note], int, error) {
	client, err := g.api(ctx, onComment)
	if err != nil {
		return nil, 0, err
	}
	all, answer, err := client.ListIssueComments(g.owner, g.name, int64(number), api.ListIssueCommentOptions{ListOptions: api.ListOptions{Page: page}})
	if err != nil {
		return nil, 0, err
	}
	var notes []signed[note]
	for _, c := range all {
		notes = append(notes, signed[note]{there(c.Poster).UserName, note{c.ID, c.Body}})
	}
	return notes, answer.NextPage, nil
}

func (g *gitea) addNote(ctx context.Context, number int, body string) (int64, error) {
	client, err := g.api(ctx, onComment)
	if err != nil {
		return 0, err
	}
	made, _, err := client.CreateIssueComment(g.owner, g.name, int64(number), api.CreateIssueCommentOption{Body: body})
	return there(made).ID, err
}

func (g *gitea) editNote(ctx context.Context, _ int, n note) error {
	client, err := g.api(ctx, onComment)
	if err != nil {
		return err
	}
	_, _, err = client.EditIssueComment(g.owner, g.name, n.id, api.EditIssueCommentOption{Body: n.body})
	return err
}

// merged asks for the pull request whose merge made a commit. Of a rebase of several commits, Gitea knows that of the last.
func (g *gitea) merged(ctx context.Context, commit string) (Approval, bool, error) {
	client, err := g.api(ctx, onApproval)
	if err != nil {
		return Approval{}, false, err
	}
	p, _, err := client.GetCommitPullRequest(g.owner, g.name, commit)
	switch {
	case errors.Is(err, ErrForgeNotFound):
		return Approval{}, false, nil
	case err != nil:
		return Approval{}, false, err
	case !there(p).HasMerged, there(p.Base).Ref != g.branch, there(p.MergedCommitID) != commit:
		return Approval{}, false, nil
	}
	return Approval{int(p.Index), p.HTMLURL, there(p.MergedBy).UserName, there(p.Poster).UserName}, true, nil
}

// open looks at branches itself, since not every version can filter by them.
func (g *gitea) open(ctx context.Context, branch string, page int) (numbers []int, next int, err error) {
	client, err := g.api(ctx, onOpen)
	if err != nil {
		return nil, 0, err
	}
	all, answer, err := client.ListRepoPullRequests(g.owner, g.name,
		api.ListPullRequestsOptions{State: api.StateOpen, ListOptions: api.ListOptions{Page: page, PageSize: 50}})
	if err != nil {
		return nil, 0, err
	}
	for _, p := range all {
		if there(p.Base).Ref == branch {
			numbers = append(numbers, int(p.Index))
		}
	}
	return numbers, answer.NextPage, nil
}
