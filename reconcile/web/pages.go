package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	gmtext "github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"asset": linkTo, "bytes": contract.Bytes, "time": shownTime, "visible": Visible,
}).ParseFS(files, "templates/*.html"))

// shownTime is a moment as pages show it. They may be kept by whoever asked, so it is no age.
func shownTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// policy is what a page may do (CSP): show itself, its own style and the logos of the catalog, and copy. Whatever a spec holds,
// nothing of it runs and nothing is fetched from anywhere else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// pages show people what is in the store. They work without scripts.
type pages struct {
	store   func() *Store
	ready   func() bool
	reviews reviews
	build   string
}

// frame is what every page has around it.
type frame struct {
	Title   string // without the name of the site
	Here    string // the entry of the navigation that it is, empty where it is none
	Version string // of what it shows, empty where it shows nothing of the catalog
}

func (p pages) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /static/{name}", p.static)
	mux.HandleFunc("GET /{$}", p.current(p.unlessSeen(p.list)))
	mux.HandleFunc("GET /images/{name}", p.current(p.image))
	mux.HandleFunc("GET /images/{name}/logo", p.current(p.logo))
	mux.HandleFunc("GET /failing", p.current(p.failing))
	mux.HandleFunc("/", p.nothing)
}

type handler func(http.ResponseWriter, *http.Request, *Store)

// current gives a handler the store of this moment.
func (p pages) current(do handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := p.store()
		if s == nil {
			w.Header().Set("Retry-After", "5")
			p.fail(w, http.StatusServiceUnavailable, "The catalog was not read yet. Try again in a moment.")
			return
		}
		do(w, r, s)
	}
}

// unlessSeen answers 304 to whoever has seen the page.
func (p pages) unlessSeen(do handler) handler {
	return func(w http.ResponseWriter, r *http.Request, s *Store) {
		if !fresh(w, r, s.Version+"-"+p.build) {
			do(w, r, s)
		}
	}
}

func (p pages) show(w http.ResponseWriter, status int, name string, data any) {
	if page, ok := render(w, name, data); ok {
		sendPage(w, status, page)
	}
}

// render makes a page, whole or not at all.
func render(w http.ResponseWriter, name string, data any) ([]byte, bool) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return nil, false
	}
	return b.Bytes(), true
}

func sendPage(w http.ResponseWriter, status int, page []byte) {
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	send(w, status, "text/html; charset=utf-8", page)
}

func (p pages) fail(w http.ResponseWriter, status int, detail string) {
	p.show(w, status, "problem", struct {
		frame
		Detail string
	}{frame{Title: http.StatusText(status)}, detail})
}

// nothing answers whoever asks for what is not there, or wants to change something.
func (p pages) nothing(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		p.fail(w, http.StatusMethodNotAllowed, "These pages are read only. The catalog is changed by merging into its repository.")
		return
	}
	p.fail(w, http.StatusNotFound, "There is nothing at this address.")
}

// later answers where something cannot be read at this moment, as when a branch is just moving on.
func (p pages) later(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	p.fail(w, http.StatusServiceUnavailable, "This cannot be read now. Try again in a moment.")
}

// choice is a value of a filter and its name.
type choice struct{ Value, Text string }

var states = []choice{{"True", "ready"}, {"False", "not ready"}, {"Unknown", "on its way"}}

func (p pages) list(w http.ResponseWriter, r *http.Request, s *Store) {
	number, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil {
		number = 1
	}
	filter := filterOf(r)
	data := struct {
		frame
		Catalog            release.Condition
		Filter             Filter
		Page               Page
		Categories, Labels []string
		States             []choice
		Previous, Next     string
		Everything         string // the list without the reason that it is restricted to
	}{
		frame:  frame{Title: "Images", Here: "images", Version: s.Version},
		Filter: filter, Page: s.page(filter, number, perPage), States: states, Catalog: readyOf(s.Catalog.Conditions),
	}
	if filter.Text != "" {
		data.Title = filter.Text + " – images"
	}
	if data.Page.Page > 1 {
		data.Title += fmt.Sprintf(", page %d", data.Page.Page)
	}
	data.Categories, data.Labels = s.facets()
	if filter.Reason != "" {
		without := filter
		without.Reason = ""
		data.Everything = linkOf(without, 1)
	}
	if data.Page.Page > 1 {
		data.Previous = linkOf(filter, data.Page.Page-1)
	}
	if data.Page.Page < data.Page.Pages {
		data.Next = linkOf(filter, data.Page.Page+1)
	}
	p.show(w, http.StatusOK, "list", data)
}

// linkOf is the address of a part of the list.
func linkOf(f Filter, page int) string {
	q := url.Values{}
	for name, value := range map[string]string{"q": f.Text, "category": f.Category, "label": f.Label, "state": f.State, "reason": f.Reason} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if page > 1 {
		q.Set("page", strconv.Itoa(page))
	}
	return "/?" + q.Encode()
}

// asked is a change that is not released, and how far it has come.
type asked struct {
	release.Request
	Problems []string // of the file, where that is what it stands still for
	Steps    []step
	Stuck    release.Reason // why it stands still, empty while it moves
}

// step is a part of the way of a request.
type step struct {
	Class string // done, stuck, now for the one that is being taken, or empty
	Text  string
}

// way is that of every request, with the reasons for which it can stand still at each step.
var way = []struct {
	text  string
	stuck []release.Reason
}{
	{"submitted", nil},
	{"validated", []release.Reason{release.InvalidSpec, release.DuplicateName, release.UnknownBase, release.VersionExists, release.UpgradeNotDeclared}},
	{"allowed by the policy", []release.Reason{
		release.RegistryNotAllowed, release.CredentialNotBound, release.CredentialUnknown, release.InvalidPolicy, release.Suspended, release.HistoryRewritten,
	}},
	{"pull verified", []release.Reason{
		release.ImageNotFound, release.AccessDenied, release.LayerMissing, release.PlatformMissing, release.DigestMismatch, release.ManifestInvalid,
		release.ImageTooLarge, release.RateLimited, release.RegistryUnavailable, release.InternalError,
	}},
	{"upgrade mode found true", []release.Reason{release.UpgradeContradicted, release.UpgradeUnknown}},
	{"", nil}, // the debug project, where the spec names one
	{"released", nil},
}

// pulling is the step that a request is at while nothing stands in its way.
const pulling = 3

// steps are the way of a request that stands still for a reason, or moves where there is none.
func steps(reason release.Reason, project string) []step {
	at := slices.IndexFunc(way, func(w struct {
		text  string
		stuck []release.Reason
	}) bool {
		return slices.Contains(w.stuck, reason)
	})
	var list []step
	for n, w := range way {
		s := step{Text: w.text}
		switch {
		case at < 0 && n == pulling:
			s.Class = "now"
		case n < at || at < 0 && n < pulling:
			s.Class = "done"
		case n == at:
			s.Class = "stuck"
		}
		if w.text == "" && project != "" {
			s.Text = "offered to the debug project " + project
		}
		if s.Text != "" {
			list = append(list, s)
		}
	}
	return list
}

// inFlight are the changes of an image that are not released, in the order in which they were merged. A file that cannot be used
// makes no request; it is shown as one that did not get far.
func inFlight(i Image, project string) []asked {
	var list []asked
	ready := i.Ready().Reason
	for _, q := range i.Status.Requests {
		reason := q.Reason
		if reason == "" && slices.Contains(way[pulling-1].stuck, ready) {
			reason = ready // it is held up with all others
		}
		list = append(list, asked{Request: q, Steps: steps(reason, project), Stuck: reason})
	}
	if len(i.Status.Problems) > 0 {
		list = append(list, asked{
			Request: release.Request{Commit: i.Status.Changed}, Problems: i.Status.Problems,
			Steps: steps(release.InvalidSpec, project), Stuck: release.InvalidSpec,
		})
	}
	return list
}

// record is a release as a page shows it.
type record struct {
	schema.Record
	Notes     template.HTML
	Withdrawn string // why, where it is
	Weighty   []contract.Finding
	Minor     []contract.Finding
}

// Approved says who vouches for the names of those who approved a release.
func (r record) Approved() string {
	switch r.ApprovedBy.Source {
	case "forge":
		return "confirmed by the forge"
	case "signature":
		return "confirmed by a signature"
	}
	return "as the commit says"
}

// PullRequest is the request that approved a release: a link where the forge gave one that a browser may be given.
func (r record) PullRequest() (link string) {
	if u, err := url.Parse(r.ApprovedBy.PullRequest); err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil {
		return u.String()
	}
	return ""
}

// What an image page shows at most of what has no bound of its own.
const (
	maxVersions = 100
	maxChannels = 6 // at once; the others are unfolded
)

// dockerfile is where an image's Dockerfile is to be seen, with its text where it is in the catalog.
type dockerfile struct {
	schema.Dockerfile
	Text template.HTML
}

func (p pages) image(w http.ResponseWriter, r *http.Request, s *Store) {
	i, ok := s.Find(r.PathValue("name"))
	if !ok {
		p.fail(w, http.StatusNotFound, "The catalog has no image of this name.")
		return
	}
	offered := p.reviews.about(i.Name)
	if fresh(w, r, fmt.Sprintf("%s-%s-%s", s.Version, p.build, hashOf(fmt.Append(nil, offered)))) {
		return
	}
	spec, specErr := s.Spec(i)
	records, err := s.Releases(i.Name)
	if err != nil || specErr != nil {
		p.later(w)
		return
	}
	data := struct {
		frame
		Image               Image
		Ready               release.Condition
		Drifts              []release.Condition
		Requests            []asked
		Offered             []offer
		Channels, Lines     []release.Channel // those shown at once, and the others
		Description         template.HTML
		Publisher, LogoLink string
		Dockerfile          *dockerfile
		Records             []record
		Older               int // releases that are not shown
	}{frame: frame{Title: i.Name, Version: s.Version}, Image: i, Ready: i.Ready(), Offered: offered}
	for _, c := range i.Status.Conditions {
		if c.IsDrift() {
			data.Drifts = append(data.Drifts, c)
		}
	}
	project := ""
	if spec != nil {
		project = spec.DebugProject
		data.Description, data.Publisher = markdown(spec.Description), spec.Publisher
		if strings.HasPrefix(spec.Logo, "https://") {
			data.LogoLink = spec.Logo
		}
		if data.Dockerfile, err = dockerfileOf(spec.Dockerfile, s.File); err != nil {
			p.later(w)
			return
		}
	}
	data.Requests = inFlight(i, project)
	shown := min(len(i.Status.Channels), maxChannels)
	data.Channels, data.Lines = i.Status.Channels[:shown], i.Status.Channels[shown:]
	data.Older = max(0, len(records)-maxVersions)
	state := i.Status.Restore(i.Name, nil)
	for _, made := range slices.Backward(records[data.Older:]) {
		shown := record{Record: made, Notes: markdown(made.Upgrade.Notes)}
		shown.Withdrawn, _ = state.Withdrawn(made.Version)
		for _, f := range made.Findings {
			if f.Level == contract.Info {
				shown.Minor = append(shown.Minor, f)
			} else {
				shown.Weighty = append(shown.Weighty, f)
			}
		}
		data.Records = append(data.Records, shown)
	}
	p.show(w, http.StatusOK, "image", data)
}

// dockerfileOf is what a page shows of a Dockerfile, nil where the spec has none.
func dockerfileOf(d schema.Dockerfile, file func(string) ([]byte, error)) (*dockerfile, error) {
	shown := &dockerfile{Dockerfile: d}
	switch {
	case d.Inline != "":
		shown.Text = highlight(d.Inline)
	case d.Path != "":
		content, err := file(d.Path)
		if err != nil {
			return nil, err
		}
		if utf8.Valid(content) {
			shown.Text = highlight(string(content))
		}
	case d.URL == "":
		return nil, nil
	}
	return shown, nil
}

var (
	converter = goldmark.New(
		goldmark.WithExtensions(extension.Table, extension.Strikethrough),
		goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(lower{}, 0))),
	)
	sanitiser = func() *bluemonday.Policy {
		p := bluemonday.NewPolicy() // without images: nothing is fetched from elsewhere
		p.AllowStandardURLs()
		p.AllowAttrs("href").OnElements("a")
		p.RequireNoFollowOnLinks(true)
		p.RequireNoReferrerOnLinks(true)
		p.AllowElements("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong",
			"del", "table", "thead", "tbody", "tr", "th", "td")
		return p
	}()
)

// lower makes the headings of a text those of a part of a page, which has one of the first level already.
type lower struct{}

// Transform is called by goldmark for each text.
func (lower) Transform(text *ast.Document, _ gmtext.Reader, _ parser.Context) {
	_ = ast.Walk(text, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if h, ok := n.(*ast.Heading); ok && entering {
			h.Level = min(h.Level+1, 6)
		}
		return ast.WalkContinue, nil
	})
}

// markdown is a stranger's text as HTML that does nothing: goldmark leaves raw HTML out, and bluemonday what is left of links
// that run.
func markdown(text string) template.HTML {
	var b bytes.Buffer
	if err := converter.Convert([]byte(text), &b); err != nil {
		return template.HTML(template.HTMLEscapeString(text))
	}
	return template.HTML(sanitiser.SanitizeBytes(b.Bytes()))
}
