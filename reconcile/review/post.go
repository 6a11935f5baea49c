package review

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	statusName    = "tidewaiter"
	commentMarker = "<!-- tidewaiter -->" // how a comment of ours begins; no page shows it
	maxComment    = 60_000                // bytes; GitHub takes 65,536 characters
	maxSummary    = 140                   // characters; GitLab takes 255
	maxPages      = 10                    // of comments or pull requests
	maxOpen       = 500                   // pull requests; ten pages of Gitea's
	maxRemembered = 1000                  // heads, and pull requests
)

// board is what all forges have in common: it posts only what changed, and only over what is ours. What it remembers is a copy
// of what the forge shows, so that forgetting costs a request.
type board struct {
	door *door
	at   driver
	turn chan struct{} // holds one token; whoever has it may use the maps, and write

	statuses map[string]mark // by head, as set last
	comments map[int]posted  // by number of the pull request
}

// driver is how one forge is read and written.
type driver interface {
	// login is the name of the account that the token is of, empty where the forge does not say.
	login(context.Context) (string, error)
	// word is what the forge calls a state; all say pending.
	word(State) string
	// marks are the statuses of a head by our name, newest first.
	marks(ctx context.Context, head string) ([]signed[mark], error)
	setMark(ctx context.Context, head string, m mark) error
	// notes are a page of a pull request's comments, oldest first, and the number of the next page, 0 where there is none.
	notes(ctx context.Context, number, page int) ([]signed[note], int, error)
	addNote(ctx context.Context, number int, body string) (id int64, err error)
	editNote(ctx context.Context, number int, n note) error
	// merged is Approval as the forge words it.
	merged(ctx context.Context, commit string) (Approval, bool, error)
	// open are a page of the pull requests against a branch, newest first, and the number of the next page, 0 where there is none.
	open(ctx context.Context, branch string, page int) (numbers []int, next int, err error)
}

// mark is a status in a forge's words, note a comment there.
type (
	mark struct{ state, summary, link string }
	note struct {
		id   int64
		body string
	}
)

// signed is what the forge says that an account wrote.
type signed[T any] struct {
	by    string
	wrote T
}

// posted is a comment as we wrote it last.
type posted struct {
	id  int64
	sum [sha256.Size]byte // of its body
}

func newBoard(d *door, at driver) *board {
	return &board{
		door: d, at: at, turn: make(chan struct{}, 1),
		statuses: map[string]mark{}, comments: map[int]posted{},
	}
}

func (b *board) Collectors() []prometheus.Collector {
	return []prometheus.Collector{b.door.metrics.requests, b.door.metrics.quota}
}

// inTurn does one thing at a time, as GitHub asks those who write to.
func (b *board) inTurn(ctx context.Context, do func() error) error {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
		return understand(ctx, do)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *board) Status(ctx context.Context, head string, s Status) error {
	switch s.State {
	case Success, Failure, Pending, Error:
	default:
		return fmt.Errorf("setting a status: there is no state %q", s.State)
	}
	if err := checkCommit(head); err != nil {
		return fmt.Errorf("setting a status: %w", err)
	}
	m := mark{b.at.word(s.State), plainText(s.Summary, maxSummary), s.Link}
	err := b.inTurn(ctx, func() error {
		last, known := b.statuses[head]
		if !known {
			var err error
			if last, known, err = b.shown(ctx, head); err != nil {
				return err
			}
		}
		// GitLab refuses to make a pending status pending again.
		if known && (last == m || last.state == string(Pending) && m.state == last.state) {
			remember(b.statuses, head, last)
			return nil
		}
		if err := b.at.setMark(ctx, head, m); err != nil {
			delete(b.statuses, head) // it may be set all the same
			return err
		}
		remember(b.statuses, head, m)
		return nil
	})
	if err != nil {
		return fmt.Errorf("setting the status of %s: %w", head, err)
	}
	return nil
}

// shown is the status that a head shows, if it is one of ours.
func (b *board) shown(ctx context.Context, head string) (mark, bool, error) {
	all, err := b.at.marks(ctx, head)
	if err != nil || len(all) == 0 {
		return mark{}, false, err
	}
	self, err := b.self(ctx)
	return all[0].wrote, err == nil && all[0].by == self, err
}

// self is the account that the token is of. It is asked each time, so that another account's token does not take over the
// comments of the last one.
func (b *board) self(ctx context.Context) (string, error) {
	name, err := b.at.login(ctx)
	if err == nil && name == "" {
		err = explained{fmt.Errorf("%w: it does not say whose token it is", ErrForgeUnavailable)}
	}
	return name, err
}

func (b *board) Comment(ctx context.Context, number int, body string) error {
	body = commentOf(body)
	sum := sha256.Sum256([]byte(body))
	err := b.inTurn(ctx, func() error {
		if last, known := b.comments[number]; known {
			if last.sum == sum {
				return nil
			}
			err := b.at.editNote(ctx, number, note{last.id, body})
			if err == nil {
				remember(b.comments, number, posted{last.id, sum})
				return nil
			}
			delete(b.comments, number)
			if !errors.Is(err, ErrForgeNotFound) {
				return err
			}
		}
		n, found, err := b.find(ctx, number)
		switch {
		case err != nil:
			return err
		case !found:
			n.id, err = b.at.addNote(ctx, number, body)
		case bare(n.body) != bare(body):
			err = b.at.editNote(ctx, number, note{n.id, body})
		}
		if err != nil {
			return err
		}
		remember(b.comments, number, posted{n.id, sum})
		return nil
	})
	if err != nil {
		return fmt.Errorf("commenting on pull request %d: %w", number, err)
	}
	return nil
}

// find finds our comment on a pull request: the oldest that begins with the marker and is by the token's own account. Anybody
// can copy the marker.
func (b *board) find(ctx context.Context, number int) (note, bool, error) {
	self := ""
	for page, count := 1, 0; page != 0; count++ {
		if count == maxPages {
			// Not knowing whether there is one, we would add another at every start.
			return note{}, false, explained{fmt.Errorf("%w: it has more than %d pages of comments, and ours is on none of them", ErrForgeRefused, maxPages)}
		}
		all, next, err := b.at.notes(ctx, number, page)
		if err != nil {
			return note{}, false, err
		}
		var own []note
		for _, n := range all {
			if !strings.HasPrefix(n.wrote.body, commentMarker) {
				continue
			}
			if self == "" {
				if self, err = b.self(ctx); err != nil {
					return note{}, false, err
				}
			}
			if n.by == self {
				own = append(own, n.wrote)
			}
		}
		if len(own) > 0 {
			return slices.MinFunc(own, func(a, b note) int { return cmp.Compare(a.id, b.id) }), true, nil
		}
		page = next
	}
	return note{}, false, nil
}

func (b *board) Approval(ctx context.Context, commit string) (Approval, bool, error) {
	if err := checkCommit(commit); err != nil {
		return Approval{}, false, fmt.Errorf("asking for an approval: %w", err)
	}
	var a Approval
	var ok bool
	err := understand(ctx, func() (err error) {
		a, ok, err = b.at.merged(ctx, commit)
		return err
	})
	if err != nil {
		return Approval{}, false, fmt.Errorf("asking who approved %s: %w", commit, err)
	}
	if !ok || a.Merger == "" {
		return Approval{}, false, nil
	}
	return Approval{a.Number, webLink(a.Link), plainText(a.Merger, maxName), plainText(a.Author, maxName)}, true, nil
}

func (b *board) Open(ctx context.Context, branch string, most int) ([]int, error) {
	most = max(min(most, maxOpen), 0)
	var all []int
	err := understand(ctx, func() error {
		for page, count := 1, 0; page != 0 && len(all) < most && count < maxPages; count++ {
			numbers, next, err := b.at.open(ctx, branch, page)
			if err != nil {
				return err
			}
			all, page = append(all, numbers...), next
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing open pull requests: %w", err)
	}
	return all[:min(len(all), most)], nil
}

// remember keeps a map from growing for ever.
func remember[K comparable, V any](m map[K]V, key K, value V) {
	if len(m) >= maxRemembered {
		clear(m)
	}
	m[key] = value
}

// command is what begins a line that GitLab, or a bot that listens to comments, would obey as one of the account that posts.
var command = regexp.MustCompile(`(?m)^/`)

// commentOf is a body as it is posted: marked, without commands, and no longer than a comment may be.
func commentOf(body string) string {
	body = strings.ReplaceAll(strings.ToValidUTF8(body, "\uFFFD"), "\r", "") // which GitLab drops before it looks for commands
	body = commentMarker + "\n" + command.ReplaceAllString(body, " /")
	if len(body) <= maxComment {
		return body
	}
	const cut = "\n\n*This comment was cut because it is longer than a forge takes; the full report has the rest.*\n"
	body = strings.ToValidUTF8(body[:maxComment-len(cut)], "")
	if end := strings.LastIndexByte(body, '\n'); end > maxComment-1000 {
		body = body[:end]
	}
	return body + cut
}

// bare is a body as forges may give it back: other line ends, and no white space at the end.
func bare(body string) string {
	return strings.TrimRightFunc(strings.ReplaceAll(body, "\r", ""), unicode.IsSpace)
}

// merge is a merged pull request that a forge lists for a commit.
type merge struct {
	Approval
	commits []string // that the merge made, or fast-forwarded to
}

// onlyMerge is the one merge that brought a commit: the one that made it or, of a rebase of several commits, the only one that is
// listed for it. Of several nobody can tell.
func onlyMerge(commit string, all []merge) (Approval, bool) {
	made := slices.DeleteFunc(slices.Clone(all), func(m merge) bool { return !slices.Contains(m.commits, commit) })
	if len(made) > 0 {
		all = made
	}
	if len(all) != 1 {
		return Approval{}, false
	}
	return all[0].Approval, true
}

// there is what a forge sent, the zero value where that was null.
func there[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

var commitName = regexp.MustCompile(`^[0-9a-f]{40}$`)

// checkCommit keeps what is no commit out of URLs.
func checkCommit(commit string) error {
	if !commitName.MatchString(commit) {
		return fmt.Errorf("commit %q: want 40 hexadecimal digits", commit)
	}
	return nil
}

// plainText is one printable line of at most so many characters.
func plainText(s string, most int) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case !unicode.IsPrint(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) > most {
		return string([]rune(s)[:most-1]) + "…"
	}
	return s
}

// maxName bounds the name of an account, in characters.
const maxName = 100

// webLink is a link to a page, or nothing.
func webLink(s string) string {
	u, err := url.Parse(s)
	if err != nil || len(s) > 1000 || plainText(s, 1000) != s || u.User != nil ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return ""
	}
	return s
}
