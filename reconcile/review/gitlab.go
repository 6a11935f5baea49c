package review

import (
	"cmp"
	"context"
	"slices"

	api "gitlab.com/gitlab-org/api/client-go"
	"golang.org/x/time/rate"
)

// gitlab is a project at GitLab (docs.gitlab.com/api). Pull requests are merge requests there, and comments are notes.
//
// GitLab takes statuses for commits that are on a branch of the project or have a pipeline there, so a head of a fork may get a
// comment and no status.
type gitlab struct {
	*board
	authorize       authorizer
	project, branch string
}

func newGitLab(d *door, o ForgeOptions, project string) Forge {
	g := &gitlab{authorize: token("Bearer", o.TokenFile), project: project, branch: o.Branch}
	g.board = newBoard(d, g)
	return g
}

// api is a client without what the library does by itself: it would sleep and ask again. The door knows of limits.
func (g *gitlab) api(operation string) (*api.Client, error) {
	return api.NewAuthSourceClient(api.Unauthenticated{}, api.WithBaseURL(g.door.api.String()), api.WithUserAgent("tidewaiter"),
		api.WithHTTPClient(g.door.client(operation, g.authorize)),
		api.WithoutRetries(), api.WithCustomLimiter(rate.NewLimiter(rate.Inf, 0)))
}

func (g *gitlab) login(ctx context.Context) (string, error) {
	client, err := g.api(onIdentity)
	if err != nil {
		return "", err
	}
	user, _, err := client.Users.CurrentUser(api.WithContext(ctx))
	return there(user).Username, err
}

func (g *gitlab) word(s State) string {
	if s == Failure || s == Error { // there is nothing between
		return string(api.Failed)
	}
	return string(s)
}

func (g *gitlab) marks(ctx context.Context, head string) ([]signed[mark], error) {
	client, err := g.api(onStatus)
	if err != nil {
		return nil, err
	}
	all, _, err := client.Commits.GetCommitStatuses(g.project, head,
		&api.GetCommitStatusesOptions{Name: new(statusName), ListOptions: api.ListOptions{PerPage: 100}}, api.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *api.CommitStatus) int { return cmp.Compare(b.ID, a.ID) }) // one for each pipeline
	var ours []signed[mark]
	for _, s := range all {
		if s.Name == statusName {
			ours = append(ours, signed[mark]{s.Author.Username, mark{s.Status, s.Description, s.TargetURL}})
		}
	}
	return ours, nil
}

func (g *gitlab) setMark(ctx context.Context, head string, m mark) error {
	options := &api.SetCommitStatusOptions{State: api.BuildStateValue(m.state), Name: new(statusName), Description: &m.summary}
	if m.link != "" {
		options.TargetURL = &m.link
	}
	client, err := g.api(onStatus)
	if err != nil {
		return err
	}
	_, _, err = client.Commits.SetCommitStatus(g.project, head, options, api.WithContext(ctx))
	return err
}

func (g *gitlab) notes(ctx context.Context, number, page int) ([]signed[note], int, error) {
	client, err := g.api(onComment)
	if err != nil {
		return nil, 0, err
	}
	all, answer, err := client.Notes.ListMergeRequestNotes(g.project, int64(number), &api.ListMergeRequestNotesOptions{
		OrderBy: new("created_at"), Sort: new("asc"), ListOptions: api.ListOptions{PerPage: 100, Page: int64(page)},
	}, api.WithContext(ctx))
	if err != nil {
		return nil, 0, err
	}
	var notes []signed[note]
	for _, n := range all {
		if !n.System {
			notes = append(notes, signed[note]{n.Author.Username, note{n.ID, n.Body}})
		}
	}
	return notes, int(answer.NextPage), nil
}

func (g *gitlab) addNote(ctx context.Context, number int, body string) (int64, error) {
	client, err := g.api(onComment)
	if err != nil {
		return 0, err
	}
	made, _, err := client.Notes.CreateMergeRequestNote(g.project, int64(number),
		&api.CreateMergeRequestNoteOptions{Body: &body}, api.WithContext(ctx))
	return there(made).ID, err
}

func (g *gitlab) editNote(ctx context.Context, number int, n note) error {
	client, err := g.api(onComment)
	if err != nil {
		return err
	}
	_, _, err = client.Notes.UpdateMergeRequestNote(g.project, int64(number), n.id,
		&api.UpdateMergeRequestNoteOptions{Body: &n.body}, api.WithContext(ctx))
	return err
}

func (g *gitlab) merged(ctx context.Context, commit string) (Approval, bool, error) {
	client, err := g.api(onApproval)
	if err != nil {
		return Approval{}, false, err
	}
	all, _, err := client.Commits.ListMergeRequestsByCommit(g.project, commit, api.WithContext(ctx))
	if err != nil {
		return Approval{}, false, err
	}
	var merges []merge
	for _, m := range all {
		if m.State != "merged" || m.TargetBranch != g.branch {
			continue
		}
		found := Approval{int(m.IID), m.WebURL, there(m.MergeUser).Username, there(m.Author).Username}
		merges = append(merges, merge{found, []string{m.MergeCommitSHA, m.SquashCommitSHA, m.SHA}})
	}
	found, ok := onlyMerge(commit, merges)
	return found, ok, nil
}

func (g *gitlab) open(ctx context.Context, branch string, page int) (numbers []int, next int, err error) {
	client, err := g.api(onOpen)
	if err != nil {
		return nil, 0, err
	}
	all, answer, err := client.MergeRequests.ListProjectMergeRequests(g.project, &api.ListProjectMergeRequestsOptions{
		State: new("opened"), TargetBranch: &branch, OrderBy: new("created_at"), Sort: new("desc"),
		ListOptions: api.ListOptions{PerPage: 100, Page: int64(page)},
	}, api.WithContext(ctx))
	if err != nil {
		return nil, 0, err
	}
	for _, m := range all {
		numbers = append(numbers, int(m.IID))
	}
	return numbers, int(answer.NextPage), nil
}
