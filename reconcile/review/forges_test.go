package review_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// world is what a forge knows, the same whichever forge shows it: by handlers written after the API documents of GitHub
// (docs.github.com/rest), GitLab (docs.gitlab.com/api) and Gitea (docs.gitea.com/api).
type world struct {
	mu       sync.Mutex
	self     string // the account that the token is of
	token    string
	statuses []status
	comments []comment
	pulls    []pull
	obeyed   []string // lines that GitLab took for commands
	requests []string // METHOD path
	tokens   []string // Authorization as sent
	// fault answers instead of the forge where it returns true.
	fault func(w http.ResponseWriter, r *http.Request) bool
}

type (
	status  struct{ head, name, state, summary, link, by string }
	comment struct {
		id       int
		body, by string
	}
	pull struct {
		number             int
		base, by, mergedBy string
		merge              string   // the commit that the merge made
		listed             []string // commits that the forge lists it for besides
	}
)

const head = "1111111111111111111111111111111111111111"

// kinds are the forges, and how each shows the world.
var kinds = map[string]func(*world) http.Handler{"github": asGitHub, "gitlab": asGitLab, "gitea": asGitea}

// serve shows a world as one kind of forge.
func serve(t *testing.T, kind string) (*world, *httptest.Server) {
	w := &world{self: "waiter", token: "s3cret-t0ken"}
	handler := kinds[kind](w)
	scheme := "Bearer "
	if kind == "gitea" {
		scheme = "token "
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.requests = append(w.requests, r.Method+" "+r.URL.Path)
		w.tokens = append(w.tokens, r.Header.Get("Authorization"))
		switch {
		case w.fault != nil && w.fault(rw, r):
		case r.Header.Get("Authorization") != scheme+w.token:
			fail(rw, 401, "Bad credentials: "+r.Header.Get("Authorization"))
		default:
			handler.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(server.Close)
	return w, server
}

// take returns what was asked since the last call: all requests, and those that write.
func (w *world) take() (all, writes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, w.requests = w.requests, nil
	for _, r := range all {
		if !strings.HasPrefix(r, "GET ") {
			writes = append(writes, r)
		}
	}
	return all, writes
}

// change changes the world between two requests.
func (w *world) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

func (w *world) addComment(by, body string) int {
	id := 100 + len(w.comments)
	w.comments = append(w.comments, comment{id, body, by})
	return id
}

func (w *world) comment(text string) *comment {
	id, _ := strconv.Atoi(text)
	if i := slices.IndexFunc(w.comments, func(c comment) bool { return c.id == id }); i >= 0 {
		return &w.comments[i]
	}
	return nil
}

type object = map[string]any

func answer(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value)
}

func fail(w http.ResponseWriter, code int, message string) {
	answer(w, code, object{"message": message, "documentation_url": "https://docs.acme.dev"})
}

func read(r *http.Request) (body map[string]string) {
	_ = json.NewDecoder(r.Body).Decode(&body)
	return body
}

// page is the part of a list that is asked for, with links to the next as GitHub and Gitea write them, and GitLab's header.
func page[T any](w http.ResponseWriter, r *http.Request, size string, all []T) []T {
	number, _ := strconv.Atoi(r.URL.Query().Get("page"))
	per, _ := strconv.Atoi(r.URL.Query().Get(size))
	number, per = max(number, 1), max(per, 1)
	rest := all[min((number-1)*per, len(all)):]
	if len(rest) > per {
		rest = rest[:per]
		w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?page=%d>; rel="next", <http://%s%s?page=9>; rel="last"`, r.Host, r.URL.Path, number+1, r.Host, r.URL.Path))
		w.Header().Set("X-Next-Page", strconv.Itoa(number+1))
	}
	return rest
}

func each[T any](all []T, show func(T) object) []object {
	out := []object{}
	for _, x := range all {
		out = append(out, show(x))
	}
	return out
}

// newest lists from the end.
func newest[T any](all []T) []T {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

// ofHead are the statuses of a head, newest first, with an id each.
func (w *world) ofHead(head string, show func(id int, s status) object) []object {
	out := []object{}
	for i, s := range slices.Backward(w.statuses) {
		if s.head == head {
			out = append(out, show(i, s))
		}
	}
	return out
}

func (w *world) open(base string) []pull {
	return slices.DeleteFunc(newest(w.pulls), func(p pull) bool { return p.merge != "" || base != "" && p.base != base })
}

func (w *world) merged(commit string, listed bool) []pull {
	return slices.DeleteFunc(slices.Clone(w.pulls), func(p pull) bool {
		return p.merge != commit && (!listed || !slices.Contains(p.listed, commit))
	})
}

// user is an account, or null as forges show one that is gone.
func user(field, name string) any {
	if name == "" {
		return nil
	}
	return object{"id": len(name), field: name, "type": "User"}
}

func asGitHub(w *world) http.Handler {
	m := http.NewServeMux()
	const repo = "/repos/acme/catalog"
	show := func(p pull) object {
		o := object{
			"number": p.number, "state": "open", "html_url": fmt.Sprintf("https://github.acme.dev/acme/catalog/pull/%d", p.number),
			"user": user("login", p.by), "base": object{"ref": p.base}, "merged_at": nil, "merge_commit_sha": nil,
		}
		if p.merge != "" {
			o["state"], o["merged_at"], o["merge_commit_sha"] = "closed", "2026-11-01T10:00:00Z", p.merge
		}
		return o
	}
	showComment := func(c comment) object {
		return object{"id": c.id, "body": c.body, "user": user("login", c.by), "created_at": "2026-11-01T10:00:00Z"}
	}
	m.HandleFunc("GET /user", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, 200, user("login", w.self)) })
	m.HandleFunc("GET "+repo+"/commits/{sha}/statuses", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, 200, w.ofHead(r.PathValue("sha"), func(id int, s status) object {
			return object{"id": id, "context": s.name, "state": s.state, "description": s.summary, "target_url": s.link, "creator": user("login", s.by)}
		}))
	})
	m.HandleFunc("POST "+repo+"/statuses/{sha}", func(rw http.ResponseWriter, r *http.Request) {
		b := read(r)
		if len([]rune(b["description"])) > 140 || !slices.Contains([]string{"error", "failure", "pending", "success"}, b["state"]) {
			fail(rw, 422, "Validation Failed")
			return
		}
		w.statuses = append(w.statuses, status{r.PathValue("sha"), b["context"], b["state"], b["description"], b["target_url"], w.self})
		answer(rw, 201, object{"id": len(w.statuses)})
	})
	m.HandleFunc("GET "+repo+"/issues/7/comments", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, 200, each(page(rw, r, "per_page", w.comments), showComment))
	})
	m.HandleFunc("POST "+repo+"/issues/7/comments", func(rw http.ResponseWriter, r *http.Request) {
		id := w.addComment(w.self, read(r)["body"])
		answer(rw, 201, showComment(*w.comment(strconv.Itoa(id))))
	})
	m.HandleFunc("PATCH "+repo+"/issues/comments/{id}", func(rw http.ResponseWriter, r *http.Request) {
		c := w.comment(r.PathValue("id"))
		if c == nil {
			fail(rw, 404, "Not Found")
			return
		}
		c.body = read(r)["body"]
		answer(rw, 200, showComment(*c))
	})
	m.HandleFunc("GET "+repo+"/commits/{sha}/pulls", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, 200, each(w.merged(r.PathValue("sha"), true), show))
	})
	m.HandleFunc("GET "+repo+"/pulls/{number}", func(rw http.ResponseWriter, r *http.Request) {
		for _, p := range w.pulls {
			if strconv.Itoa(p.number) == r.PathValue("number") {
				o := show(p)
				o["merged"], o["merged_by"] = p.merge != "", user("login", p.mergedBy)
				answer(rw, 200, o)
				return
			}
		}
		fail(rw, 404, "Not Found")
	})
	m.HandleFunc("GET "+repo+"/pulls", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, 200, each(page(rw, r, "per_page", w.open(r.URL.Query().Get("base"))), show))
	})
	return m
}

// quickAction is the part of GitLab's expression that finds commands outside of code (lib/gitlab/quick_actions/extractor.rb).
var quickAction = regexp.MustCompile(`(?mi)^/(close|merge|approve|shrug)( [^\n]*)?\s*$`)

func asGitLab(w *world) http.Handler {
	m := http.NewServeMux()
	const project = "/api/v4/projects/{project}" // acme%2Fimages%2Fcatalog, which is one segment
	show := func(p pull) object {
		o := object{
			"iid": p.number, "state": "opened", "web_url": fmt.Sprintf("https://gitlab.acme.dev/acme/images/catalog/-/merge_requests/%d", p.number),
			"author": user("username", p.by), "target_branch": p.base, "merge_user": nil, "merge_commit_sha": nil, "sha": head,
		}
		if p.merge != "" {
			o["state"], o["merged_at"], o["merge_commit_sha"], o["merge_user"] = "merged", "2026-11-01T10:00:00Z", p.merge, user("username", p.mergedBy)
		}
		return o
	}
	showComment := func(c comment) object {
		return object{"id": c.id, "body": c.body, "author": user("username", c.by), "system": false}
	}
	post := func(r *http.Request) string {
		body := strings.ReplaceAll(read(r)["body"], "\r", "")
		w.obeyed = append(w.obeyed, quickAction.FindAllString(body, -1)...)
		return body
	}
	m.HandleFunc("GET /api/v4/user", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, 200, user("username", w.self)) })
	m.HandleFunc("GET "+project+"/repository/commits/{sha}/statuses", func(rw http.ResponseWriter, r *http.Request) {
		all := w.ofHead(r.PathValue("sha"), func(id int, s status) object {
			return object{"id": id, "name": s.name, "status": s.state, "description": s.summary, "target_url": s.link, "author": user("username", s.by)}
		})
		answer(rw, 200, newest(all)) // in no order that is documented
	})
	m.HandleFunc("POST "+project+"/statuses/{sha}", func(rw http.ResponseWriter, r *http.Request) {
		b := read(r)
		next := status{r.PathValue("sha"), b["name"], b["state"], b["description"], b["target_url"], w.self}
		if !slices.Contains([]string{"pending", "running", "success", "failed", "canceled", "skipped"}, next.state) {
			fail(rw, 400, "state does not have a valid value")
			return
		}
		for i, s := range w.statuses {
			if s.head == next.head && s.name == next.name && s.by == next.by && s.state == "pending" {
				if next.state == "pending" { // app/services/ci/create_commit_status_service.rb
					fail(rw, 400, `Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via "enqueue")`)
					return
				}
				w.statuses = slices.Delete(w.statuses, i, i+1)
				break
			}
		}
		w.statuses = append(w.statuses, next)
		answer(rw, 201, object{"id": len(w.statuses), "status": next.state})
	})
	m.HandleFunc("GET "+project+"/merge_requests/7/notes", func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("sort") != "asc" || r.URL.Query().Get("order_by") != "created_at" {
			fail(rw, 400, "the story needs the oldest first")
			return
		}
		answer(rw, 200, each(page(rw, r, "per_page", w.comments), showComment))
	})
	m.HandleFunc("POST "+project+"/merge_requests/7/notes", func(rw http.ResponseWriter, r *http.Request) {
		id := w.addComment(w.self, post(r))
		answer(rw, 201, showComment(*w.comment(strconv.Itoa(id))))
	})
	m.HandleFunc("PUT "+project+"/merge_requests/7/notes/{id}", func(rw http.ResponseWriter, r *http.Request) {
		c := w.comment(r.PathValue("id"))
		if c == nil {
			fail(rw, 404, "404 Note Not Found")
			return
		}
		c.body = post(r)
		answer(rw, 200, showComment(*c))
	})
	m.HandleFunc("GET "+project+"/repository/commits/{sha}/merge_requests", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, 200, each(w.merged(r.PathValue("sha"), true), show))
	})
	m.HandleFunc("GET "+project+"/merge_requests", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, 200, each(page(rw, r, "per_page", w.open(r.URL.Query().Get("target_branch"))), show))
	})
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.EscapedPath(), "/projects/") && !strings.Contains(r.URL.EscapedPath(), "/projects/acme%2Fimages%2Fcatalog/") {
			fail(rw, 404, "404 Project Not Found")
			return
		}
		m.ServeHTTP(rw, r)
	})
}

func asGitea(w *world) http.Handler {
	m := http.NewServeMux()
	const repo = "/api/v1/repos/acme/catalog"
	show := func(p pull) object {
		o := object{
			"number": p.number, "state": "open", "html_url": fmt.Sprintf("https://gitea.acme.dev/acme/catalog/pulls/%d", p.number),
			"user": user("login", p.by), "base": object{"ref": p.base}, "merged": p.merge != "", "merge_commit_sha": nil, "merged_by": nil,
		}
		if p.merge != "" {
			o["state"], o["merge_commit_sha"], o["merged_by"] = "closed", p.merge, user("login", p.mergedBy)
		}
		return o
	}
	showComment := func(c comment) object {
		return object{"id": c.id, "body": c.body, "user": user("login", c.by), "created_at": time.Unix(int64(c.id), 0)}
	}
	m.HandleFunc("GET /api/v1/user", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, 200, user("login", w.self)) })
	m.HandleFunc("GET "+repo+"/commits/{sha}/statuses", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, 200, w.ofHead(r.PathValue("sha"), func(id int, s status) object {
			return object{"id": id, "context": s.name, "status": s.state, "description": s.summary, "target_url": s.link, "creator": user("login", s.by)}
		}))
	})
	m.HandleFunc("POST "+repo+"/statuses/{sha}", func(rw http.ResponseWriter, r *http.Request) {
		b := read(r)
		w.statuses = append(w.statuses, status{r.PathValue("sha"), b["context"], b["state"], b["description"], b["target_url"], w.self})
		answer(rw, 201, object{"id": len(w.statuses)})
	})
	m.HandleFunc("GET "+repo+"/issues/7/comments", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, 200, each(w.comments, showComment)) // all of them (routers/api/v1/repo/issue_comment.go)
	})
	m.HandleFunc("POST "+repo+"/issues/7/comments", func(rw http.ResponseWriter, r *http.Request) {
		id := w.addComment(w.self, read(r)["body"])
		answer(rw, 201, showComment(*w.comment(strconv.Itoa(id))))
	})
	m.HandleFunc("PATCH "+repo+"/issues/comments/{id}", func(rw http.ResponseWriter, r *http.Request) {
		c := w.comment(r.PathValue("id"))
		if c == nil {
			fail(rw, 404, "The target couldn't be found.")
			return
		}
		c.body = read(r)["body"]
		answer(rw, 200, showComment(*c))
	})
	m.HandleFunc("GET "+repo+"/commits/{sha}/pull", func(rw http.ResponseWriter, r *http.Request) {
		if found := w.merged(r.PathValue("sha"), false); len(found) > 0 {
			answer(rw, 200, show(found[0]))
			return
		}
		fail(rw, 404, "The target couldn't be found.")
	})
	m.HandleFunc("GET "+repo+"/pulls", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, 200, each(page(rw, r, "limit", w.open("")), show))
	})
	return m
}
