package web

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tidewaiter/reconcile/review"
)

// reviews show pull requests before and after they are merged, and give what they would release to who may try it.
type reviews struct {
	seen func() []review.Review // nil for none
	// projects is a directory with a directory for each debug project, which has its bearer token in the file token. It is read at
	// every use; without it nobody may try anything.
	projects string
	build    string
}

func (rs reviews) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /reviews", func(w http.ResponseWriter, r *http.Request) {
		rs.page(w, r, "reviews", struct {
			frame
			Open, Merged []review.Review
		}{frame{Title: "Pull requests", Here: "reviews"}, rs.of(false), rs.of(true)})
	})
	mux.HandleFunc("GET /reviews/{number}", func(w http.ResponseWriter, r *http.Request) {
		found, ok := rs.find(r.PathValue("number"))
		if !ok {
			pages{}.fail(w, http.StatusNotFound, "No pull request of this number is open, or it changes nothing of the catalog.")
			return
		}
		rs.page(w, r, "review", struct {
			frame
			review.Review
		}{frame{Title: fmt.Sprintf("Pull request %d", found.Number), Here: "reviews"}, found})
	})
	mux.HandleFunc("GET /api/v1/reviews", func(w http.ResponseWriter, r *http.Request) {
		rs.value(w, r, Reviews{rs.list()})
	})
	mux.HandleFunc("GET /api/v1/reviews/{number}", func(w http.ResponseWriter, r *http.Request) {
		found, ok := rs.find(r.PathValue("number"))
		if !ok {
			fail(w, http.StatusNotFound, "no pull request of this number is open, or it changes nothing of the catalog; /api/v1/reviews lists all of them")
			return
		}
		rs.value(w, r, found)
	})
}

// Reviews are the pull requests: the open ones, the newest first, and then those that were merged.
type Reviews struct {
	Reviews []review.Review `json:"reviews"`
}

func (rs reviews) list() []review.Review {
	if rs.seen == nil {
		return []review.Review{}
	}
	return rs.seen()
}

func (rs reviews) of(merged bool) []review.Review {
	return slices.DeleteFunc(slices.Clone(rs.list()), func(r review.Review) bool { return r.Merged != merged })
}

func (rs reviews) find(number string) (review.Review, bool) {
	list := rs.list()
	i := slices.IndexFunc(list, func(r review.Review) bool { return strconv.Itoa(r.Number) == number })
	if i < 0 {
		return review.Review{}, false
	}
	return list[i], true
}

// offer is what an open pull request would make of an image.
type offer struct {
	Number        int
	Outcome, Mark string
	Project, Link string // where it can be tried, if anywhere
}

// about are the open pull requests that would change an image.
func (rs reviews) about(name string) (offers []offer) {
	for _, r := range rs.of(false) {
		for _, p := range r.Predictions {
			if p.Name == name && !p.Silent() {
				offers = append(offers, offer{r.Number, p.Outcome(), p.Mark(), p.Project, p.ProjectLink})
			}
		}
	}
	return offers
}

// page answers with a page, unless the asker has seen it.
func (rs reviews) page(w http.ResponseWriter, r *http.Request, name string, data any) {
	if page, ok := render(w, name, data); ok && !fresh(w, r, hashOf(page)) {
		sendPage(w, http.StatusOK, page)
	}
}

// value answers with a value, unless the asker has seen it.
func (rs reviews) value(w http.ResponseWriter, r *http.Request, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		fail(w, http.StatusInternalServerError, "the answer cannot be written")
		return
	}
	if !fresh(w, r, hashOf(text)+"-"+rs.build) {
		write(w, value)
	}
}

// candidate answers a debug project: what a channel will mean once a pull request is merged. It is for who has the project's token,
// and for no cache.
func (rs reviews) candidate(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	q := r.URL.Query()
	project := q.Get("project")
	if !rs.admits(project, r.Header.Get("Authorization")) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tidewaiter"`)
		fail(w, http.StatusUnauthorized, "the token is missing or is not that of this debug project; it is in PROJECT/token of --projects-dir")
		return
	}
	found, ok := rs.find(q.Get("review"))
	if !ok {
		fail(w, http.StatusNotFound, "no pull request of the number given as review is open, or it changes nothing of the catalog")
		return
	}
	name, channel := r.PathValue("name"), r.PathValue("channel")
	resolved, err := Candidate(found, name, channel, project)
	if err != nil {
		fail(w, http.StatusNotFound, err.Error())
		return
	}
	write(w, resolved)
}

// Candidate says which image a channel of an image will mean once a pull request is merged, to a debug project. The error is a
// *NoAnswer where it will mean nothing new, or nothing that this project may try.
func Candidate(r review.Review, name, channel, project string) (Resolved, error) {
	i := slices.IndexFunc(r.Predictions, func(p review.Prediction) bool { return p.Name == name })
	switch {
	case i < 0:
		return Resolved{}, NoAnswerf("pull request %d does not change %s", r.Number, name)
	case r.Merged:
		return Resolved{}, NoAnswerf("pull request %d is merged; ask without project and review", r.Number)
	case r.Predictions[i].Candidate == nil:
		p := r.Predictions[i]
		return Resolved{}, NoAnswerf("pull request %d would release nothing of %s: %s", r.Number, name, strings.TrimPrefix(p.Outcome(), name+": "))
	case r.Predictions[i].Project != project:
		return Resolved{}, NoAnswerf("the spec of %s in pull request %d does not name this debug project in debugProject", name, r.Number)
	}
	p := r.Predictions[i]
	c := p.Candidate
	moves := slices.ContainsFunc(p.Channels, func(m review.Move) bool { return m.Channel == channel && m.To != nil && *m.To == c.Version })
	if !moves && channel != c.Version.String() {
		return Resolved{}, NoAnswerf("pull request %d does not move channel %s of %s; ask without project and review", r.Number, channel, name)
	}
	return Resolved{
		Name: name, Channel: channel, Version: c.Version, Reference: c.Image.Pin(c.Digest).String(), Digest: string(c.Digest),
		Warning: fmt.Sprintf("this is what pull request %d would release; it may still change", r.Number),
	}, nil
}

// projectName is the form of the names in catalog.yaml; nothing else is a directory that is looked into.
var projectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// admits reports whether a header Authorization has the token of a debug project.
func (rs reviews) admits(project, authorization string) bool {
	token, bearer := strings.CutPrefix(authorization, "Bearer ")
	if rs.projects == "" || !bearer || !projectName.MatchString(project) {
		return false
	}
	secret, err := projectToken(rs.projects, project)
	return err == nil && subtle.ConstantTimeCompare([]byte(token), []byte(secret)) == 1
}

// projectToken reads the token of a debug project; without one nobody is let in, and the error says why.
func projectToken(dir, project string) (string, error) {
	file := filepath.Join(dir, project, "token")
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the token of debug project %s: %w", project, err)
	}
	token := strings.TrimSpace(string(content))
	if token == "" {
		return "", fmt.Errorf("the token of debug project %s is empty: %s", project, file)
	}
	return token, nil
}

// ProjectTokens reads the token of every debug project in a directory, as at each use, and says how many there are; the error is about
// one that lets nobody in. What cannot be the name of a project is no project's.
func ProjectTokens(dir string) (n int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("reading the directory of debug projects: %w", err)
	}
	for _, entry := range entries {
		if !projectName.MatchString(entry.Name()) {
			continue
		}
		if _, err := projectToken(dir, entry.Name()); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
