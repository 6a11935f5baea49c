package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

//go:embed static templates
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{"bytes": contract.Bytes}).ParseFS(files, "templates/*.html"))

// policy is what a page may do (CSP): show itself and its own style, and copy. Whatever a spec holds, nothing of it runs and
// nothing is fetched from anywhere else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// pages show people what is in the store. They work without scripts.
type pages struct {
	store func() *Store
}

func (p pages) register(mux *http.ServeMux) {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // it is embedded
	}
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(static)))
	mux.HandleFunc("GET /{$}", p.current(p.list))
	mux.HandleFunc("GET /images/{name}", p.current(p.image))
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		p.fail(w, http.StatusNotFound, "There is nothing at this address.")
	})
}

func (p pages) current(do func(http.ResponseWriter, *http.Request, *Store)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := p.store()
		if s == nil {
			w.Header().Set("Retry-After", "5")
			p.fail(w, http.StatusServiceUnavailable, "The catalog was not read yet. Try again in a moment.")
			return
		}
		if !fresh(w, r, s) {
			do(w, r, s)
		}
	}
}

func (p pages) show(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer // so that a template that fails half way shows no half page
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // whoever asked has gone
}

func (p pages) fail(w http.ResponseWriter, status int, detail string) {
	p.show(w, status, "problem", struct{ Title, Detail string }{http.StatusText(status), detail})
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
		Catalog            release.Condition
		Filter             Filter
		Page               Page
		Categories, Labels []string
		States             []choice
		Previous, Next     string
		Version            string
	}{Filter: filter, Page: pageOf(s.Select(filter), number, perPage), States: states, Version: s.Version}
	for _, c := range s.Catalog.Conditions {
		if c.Type == "Ready" {
			data.Catalog = c
		}
	}
	data.Categories, data.Labels = s.facets()
	link := func(page int) string {
		q := url.Values{}
		for name, value := range map[string]string{"q": filter.Text, "category": filter.Category, "label": filter.Label, "state": filter.State} {
			if value != "" {
				q.Set(name, value)
			}
		}
		q.Set("page", strconv.Itoa(page))
		return "/?" + q.Encode()
	}
	if data.Page.Page > 1 {
		data.Previous = link(data.Page.Page - 1)
	}
	if data.Page.Page < data.Page.Pages {
		data.Next = link(data.Page.Page + 1)
	}
	p.show(w, http.StatusOK, "list", data)
}

// maxFacets bounds how many labels are offered.
const maxFacets = 200

// facets are the categories and labels that images have.
func (s *Store) facets() (categories, labels []string) {
	s.once.Do(func() { s.categories, s.labels = s.findFacets() })
	return s.categories, s.labels
}

func (s *Store) findFacets() (categories, labels []string) {
	seen := map[string]bool{}
	add := func(list *[]string, kind, value string) {
		if value != "" && !seen[kind+value] && len(*list) < maxFacets {
			seen[kind+value] = true
			*list = append(*list, value)
		}
	}
	for _, i := range s.Images {
		add(&categories, "category ", i.Card.Category)
		for _, label := range i.Card.Labels {
			add(&labels, "label ", label)
		}
	}
	slices.Sort(categories)
	slices.Sort(labels)
	return categories, labels
}

// asked is a request that is not final, and how far it has come.
type asked struct {
	release.Request
	Steps []step
}

type step struct{ Class, Text string }

// steps are the way of a request: it was merged, it is valid, it can be pulled, its mode is true, it is released.
func steps(r release.Request) []step {
	way := []struct {
		text  string
		stuck []release.Reason
	}{
		{"merged and valid", []release.Reason{release.InvalidSpec, release.DuplicateName, release.UnknownBase, release.VersionExists}},
		{"allowed by the policy", []release.Reason{release.RegistryNotAllowed, release.CredentialNotBound, release.CredentialUnknown, release.InvalidPolicy, release.Suspended}},
		{"the pull is verified", []release.Reason{
			release.ImageNotFound, release.AccessDenied, release.LayerMissing, release.PlatformMissing, release.DigestMismatch, release.ManifestInvalid,
			release.ImageTooLarge, release.RateLimited, release.RegistryUnavailable, release.InternalError,
		}},
		{"the declared mode is true", []release.Reason{release.UpgradeNotDeclared, release.UpgradeContradicted, release.UpgradeUnknown}},
		{"released", nil},
	}
	at := slices.IndexFunc(way, func(w struct {
		text  string
		stuck []release.Reason
	}) bool {
		return slices.Contains(w.stuck, r.Reason)
	})
	if at < 0 {
		at = 2 // it is being verified
	}
	var list []step
	for n, w := range way {
		class := ""
		switch {
		case n < at:
			class = "done"
		case n == at && r.Reason != "":
			class = "stuck"
		}
		list = append(list, step{class, w.text})
	}
	return list
}

// record is a release as a page shows it.
type record struct {
	schema.Record
	Notes     template.HTML
	Withdrawn string // why, where it is
}

// maxVersions bounds how many releases a page shows.
const maxVersions = 100

func (p pages) image(w http.ResponseWriter, r *http.Request, s *Store) {
	i, ok := s.Find(r.PathValue("name"))
	if !ok {
		p.fail(w, http.StatusNotFound, "The catalog has no image of this name.")
		return
	}
	spec, specErr := s.Spec(i)
	records, err := s.Records(i.Name)
	if err != nil || specErr != nil {
		w.Header().Set("Retry-After", "1")
		p.fail(w, http.StatusServiceUnavailable, "The image cannot be read now. Try again in a moment.")
		return
	}
	data := struct {
		Title       string
		Image       Image
		Ready       release.Condition
		Drifts      []release.Condition
		Requests    []asked
		Description template.HTML
		Publisher   string
		Dockerfile  *schema.Dockerfile
		Records     []record
		Version     string
	}{Title: fmt.Sprintf("%s – tidewaiter", i.Name), Image: i, Ready: i.Ready(), Version: s.Version}
	for _, c := range i.Status.Conditions {
		if c.IsDrift() {
			data.Drifts = append(data.Drifts, c)
		}
	}
	for _, q := range i.Status.Requests {
		data.Requests = append(data.Requests, asked{q, steps(q)})
	}
	if spec != nil {
		data.Description, data.Publisher = markdown(spec.Description), spec.Publisher
		if spec.Dockerfile != (schema.Dockerfile{}) {
			data.Dockerfile = &spec.Dockerfile
		}
	}
	state := i.Status.Restore(i.Name, nil)
	for _, made := range slices.Backward(records) {
		reason, withdrawn := state.Withdrawn(made.Version)
		if !withdrawn {
			reason = ""
		}
		if data.Records = append(data.Records, record{made, markdown(made.Upgrade.Notes), reason}); len(data.Records) == maxVersions {
			break
		}
	}
	p.show(w, http.StatusOK, "image", data)
}

var (
	converter = goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough))
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

// markdown is a stranger's text as HTML that does nothing: goldmark leaves raw HTML out, and bluemonday what is left of links
// that run.
func markdown(text string) template.HTML {
	var b bytes.Buffer
	if err := converter.Convert([]byte(text), &b); err != nil {
		return template.HTML(template.HTMLEscapeString(text))
	}
	return template.HTML(sanitiser.SanitizeBytes(b.Bytes()))
}
