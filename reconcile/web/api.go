package web

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// How many images a page of a list has.
const (
	perPage     = 50
	mostPerPage = 500
)

// openAPI describes the API to programs that write clients.
//
//go:embed openapi.json
var openAPI []byte

// api answers programs. It is read only; errors are problem details (RFC 9457).
type api struct {
	store   func() *Store
	reviews reviews
	build   string // of the daemon: another one may answer differently
}

func (a api) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/images", a.current(a.images))
	mux.HandleFunc("GET /api/v1/images/{name}", a.current(a.image))
	mux.HandleFunc("GET /api/v1/images/{name}/versions", a.current(a.versions))
	mux.HandleFunc("GET /api/v1/resolve/{name}/{channel}", a.resolve)
	mux.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		serveFile(w, r, openAPI, "application/json", hashOf(openAPI))
	})
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			fail(w, http.StatusMethodNotAllowed, "the API is read only; the catalog is changed by merging into its repository")
			return
		}
		fail(w, http.StatusNotFound, "there is nothing at this address; /api/v1/openapi.json says what there is")
	})
}

// current gives a handler the store of this moment, and answers 304 to whoever has seen it.
func (a api) current(do func(http.ResponseWriter, *http.Request, *Store)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := a.store()
		if s == nil {
			w.Header().Set("Retry-After", "5")
			fail(w, http.StatusServiceUnavailable, "the catalog was not read yet; try again in a moment")
			return
		}
		if fresh(w, r, s.Version+"-"+a.build) {
			return
		}
		do(w, r, s)
	}
}

// fresh answers 304 where the asker has seen this version.
func fresh(w http.ResponseWriter, r *http.Request, version string) bool {
	tag := `W/"` + version + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache")
	for seen := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(seen), "W/") == strings.TrimPrefix(tag, "W/") {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

// Page is a part of a list.
type Page struct {
	Total  int   `json:"total"`
	Page   int   `json:"page"` // from 1
	Pages  int   `json:"pages"`
	Images []Row `json:"images"`
}

// page is a part of what a filter lets through; a number beyond the last one is the last.
func (s *Store) page(f Filter, number, size int) Page {
	total, image := len(s.Images), func(n int) *Image { return &s.Images[n] }
	if f != (Filter{}) {
		found := s.Select(f)
		total, image = len(found), func(n int) *Image { return found[n] }
	}
	p := Page{Total: total, Pages: max(1, (total+size-1)/size), Images: []Row{}}
	p.Page = min(max(number, 1), p.Pages)
	for n := (p.Page - 1) * size; n < min(p.Page*size, total); n++ {
		p.Images = append(p.Images, RowOf(*image(n)))
	}
	return p
}

func filterOf(r *http.Request) Filter {
	q := r.URL.Query()
	return Filter{Text: Visible(q.Get("q")), Category: q.Get("category"), Label: q.Get("label"), State: q.Get("state"), Reason: Visible(q.Get("reason"))}
}

func (a api) images(w http.ResponseWriter, r *http.Request, s *Store) {
	page, size := 1, perPage
	for name, into := range map[string]*int{"page": &page, "per_page": &size} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || name == "per_page" && n > mostPerPage {
			fail(w, http.StatusBadRequest, fmt.Sprintf("%s: want a number from 1, at most %d for per_page", name, mostPerPage))
			return
		}
		*into = n
	}
	write(w, s.page(filterOf(r), page, size))
}

func (a api) image(w http.ResponseWriter, r *http.Request, s *Store) {
	if i, ok := find(w, r, s); ok {
		records, err := s.Releases(i.Name)
		if err != nil {
			fail(w, http.StatusServiceUnavailable, "the records cannot be read now; try again in a moment")
			return
		}
		write(w, Shown{i.Name, i.Status, records})
	}
}

// Versions is the shape that Renovate's custom datasources take.
type Versions struct {
	Releases []VersionOf `json:"releases"`
}

// VersionOf is one version for Renovate.
type VersionOf struct {
	Version          string `json:"version"`
	Digest           string `json:"digest"`
	ReleaseTimestamp string `json:"releaseTimestamp"`
	IsDeprecated     bool   `json:"isDeprecated,omitempty"` // withdrawn
}

func (a api) versions(w http.ResponseWriter, r *http.Request, s *Store) {
	i, ok := find(w, r, s)
	if !ok {
		return
	}
	records, err := s.Releases(i.Name)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, "the records cannot be read now; try again in a moment")
		return
	}
	state := i.Status.Restore(i.Name, nil)
	versions := Versions{Releases: []VersionOf{}}
	for _, record := range records {
		_, withdrawn := state.Withdrawn(record.Version)
		versions.Releases = append(versions.Releases, VersionOf{
			record.Version.String(), string(record.Digest), record.ReleasedAt.UTC().Format("2006-01-02T15:04:05Z"), withdrawn,
		})
	}
	write(w, versions)
}

// resolve answers everybody with what is released, and a debug project with what a pull request would release.
func (a api) resolve(w http.ResponseWriter, r *http.Request) {
	if q := r.URL.Query(); q.Has("project") || q.Has("review") {
		a.reviews.candidate(w, r)
		return
	}
	a.current(a.resolved)(w, r)
}

func (a api) resolved(w http.ResponseWriter, r *http.Request, s *Store) {
	i, ok := find(w, r, s)
	if !ok {
		return
	}
	resolved, err := Resolve(i, r.PathValue("channel"), s.Releases)
	var none *NoAnswer
	switch {
	case errors.As(err, &none):
		fail(w, http.StatusNotFound, none.Error())
	case err != nil:
		fail(w, http.StatusServiceUnavailable, "the records cannot be read now; try again in a moment")
	default:
		write(w, resolved)
	}
}

func find(w http.ResponseWriter, r *http.Request, s *Store) (Image, bool) {
	i, ok := s.Find(r.PathValue("name"))
	if !ok {
		fail(w, http.StatusNotFound, "the catalog has no such image; /api/v1/images lists all of them")
	}
	return i, ok
}

func write(w http.ResponseWriter, value any) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		fail(w, http.StatusInternalServerError, "the answer cannot be written")
		return
	}
	send(w, http.StatusOK, "application/json", []byte(Visible(string(text))+"\n"))
}

// send answers with a text as it is. Its length is said, so that a HEAD tells it too.
func send(w http.ResponseWriter, status int, kind string, text []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(text) // whoever asked has gone
}

// Problem is an error as RFC 9457 has it.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func fail(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(Problem{http.StatusText(status), status, detail})
}
