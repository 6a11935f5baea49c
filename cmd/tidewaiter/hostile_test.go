package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"
	"gopkg.in/yaml.v3"

	"tidewaiter/reconcile"
	"tidewaiter/reconcile/gitrepo"
	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/web"
)

const (
	// hostile is what a spec may hold: markup, links that run, templates, and a mark that says how the next character is read.
	hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>[x](javascript:alert(1)) {{.}} \u200f| `$(id)`"
	// unseen is what no text of a spec may hold: codes of terminals, marks that turn around what follows, and more lines.
	unseen = "\x1b[31mred\x1b]0;title\x07\u009b2J\u202egnp.exe\u2066\r\nINJECTED line"
	// more is another paragraph, where a text may have several.
	more = "\n\nINJECTED line\n\n<a href=\"javascript:alert(1)\" onclick=alert(1)>a</a><iframe src=//evil.example></iframe>![p](https://evil.example/p.png)\n\n    code </pre><script>alert(1)</script>\n"
)

// TestHostileTextIsInertEverywhere puts hostile text in whatever a person can write: every field of a spec, the names of files and of
// those who commit, and a Dockerfile and a logo of the catalog. On the page, in the API, in commit messages, in the README of the
// status branch and on the terminal it is text.
func TestHostileTextIsInertEverywhere(t *testing.T) {
	git := gittest.NewServer(t)
	git.Create(repoName)
	author := gittest.NewAuthor(t, git.Repo(repoName))
	hub, err := registrytest.Start(registrytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	for _, tag := range []string{"1", "2"} {
		if _, err := hub.Push(t.Context(), "team/evil", tag, registrytest.Image{Seed: tag}); err != nil {
			t.Fatal(err)
		}
	}
	commit := func() {
		t.Helper()
		for _, args := range [][]string{
			{"checkout", "--quiet", "-B", "pull/" + strings.NewReplacer(" ", "", "[", "", "\"", "").Replace("\u202e<script>alert(1)</script>")},
			{"add", "--all"},
			{"commit", "--quiet", "--message", hostile + "\n\n" + unseen},
			{"branch", "--quiet", "--force", "main"},
			{"checkout", "--quiet", "main"},
			{"push", "--quiet", "origin", "main"},
		} {
			cmd := exec.Command("git", args...)
			cmd.Dir = author.Dir
			cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") }),
				"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
				"GIT_AUTHOR_NAME="+hostile+"\x1b[31m\u202e", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=\x1b[31m\u202e"+hostile, "GIT_COMMITTER_EMAIL=c@example.com")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("git %v: %v: %s", args, err, out)
			}
		}
	}
	quoted := func(text string) string { // JSON is YAML
		b, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	line := quoted(hostile)
	spec := func(tag, withdrawn string) string {
		return fmt.Sprintf(`apiVersion: tidewaiter/v1
kind: Image
metadata: {name: evil}
spec:
  title: %[1]s
  summary: %[1]s
  description: %[2]s
  category: %[6]s
  labels: [%[6]s, "javascript:alert(1)"]
  publisher: %[1]s
  logo: logo.svg
  dockerfile: {path: "<script>.Dockerfile"}
  image: {registry: %[3]q, repository: team/evil, tag: %[4]q}
  upgrade:
    mode: compatible-fix
    notes: %[2]s
    accept: [{rule: user-changed, subject: "a", reason: %[1]s}]
  debugProject: sandbox
%[5]s`, line, quoted(tag+hostile+more), hub.Host, tag, withdrawn, quoted("<script>alert(1)</script>\u200f{{.}}"))
	}
	author.Write("catalog.yaml", fmt.Sprintf("apiVersion: tidewaiter/v1\nkind: Catalog\nmetadata: {name: acme}\nspec:\n  registries: [{host: %q}]\n  debugProjects: {sandbox: {url: \"https://ci.example/{image}\"}}\n", hub.Host))
	author.Write("logo.svg", `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>`)
	author.Write("<script>.Dockerfile", "FROM scratch # "+hostile+"\nRUN "+unseen+"\n")
	author.Write("images/evil.yaml", spec("1", ""))
	bad := strconv.QuoteToASCII(unseen) // which YAML reads too
	for n, field := range []string{
		"title: " + bad, "summary: " + bad, "description: " + bad, "category: " + bad, "labels: [" + bad + "]", "publisher: " + bad, "logo: " + bad,
		"dockerfile: " + bad, "dockerfile: {path: " + bad + "}", "dockerfile: {url: " + strconv.QuoteToASCII("https://a/"+unseen) + "}",
		"image: {repository: " + bad + "}", "image: {repository: a/b, tag: " + bad + "}", "image: {registry: " + bad + "}", "image: {digest: " + bad + "}",
		"image: {credentials: " + bad + "}", "image: {platforms: [" + bad + "]}",
		"upgrade: {mode: " + bad + "}", "upgrade: {notes: " + bad + "}", "upgrade: {from: " + bad + "}", "upgrade: {accept: [{rule: " + bad + ", reason: " + bad + "}]}",
		"withdrawn: [{version: 1.0.0, reason: " + bad + "}]", "withdrawn: [{version: " + bad + ", reason: a}]", "debugProject: " + bad, "contractEnv: [" + bad + "]", "contractLabels: [" + bad + "]",
		"suspend: " + bad, bad + ": " + bad, "summary: " + quoted(strings.Repeat("huge ", 40_000)), "summary: " + line + "\n  title: " + quoted(strings.Repeat("<b>", 200)),
	} {
		author.Write(fmt.Sprintf("images/bad-%02d.yaml", n), fmt.Sprintf("apiVersion: tidewaiter/v1\nkind: Image\nmetadata: {name: bad-%02d}\nspec:\n  %s\n", n, field))
	}
	author.Write("images/named-by-a-stranger.yaml", "apiVersion: tidewaiter/v1\nkind: "+bad+"\nmetadata: {name: "+bad+"}\nspec: "+bad+"\n")
	for _, name := range []string{"\x1b[31m\u202e<img src=x onerror=alert(1)>.yaml", "new\nINJECTED line", "`|](javascript:alert(1)).yaml"} {
		author.Write("images/"+name, "{}\n")
	}
	commit()

	daemon, err := reconcile.New(t.Context(), reconcile.Config{
		Git: gitrepo.Options{URL: git.Repo(repoName), Dir: t.TempDir()}, Branch: "main", StatusBranch: "status", Interval: time.Second,
		Author: gitrepo.Person{Name: "tidewaiter", Email: "tidewaiter@localhost"}, Log: slog.New(slog.DiscardHandler), Now: time.Now, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	if err := daemon.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	author.Write("images/evil.yaml", spec("2", "  withdrawn: [{version: 1.0.0, reason: "+line+"}]\n"))
	commit()
	if err := daemon.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(web.Handler(web.Options{Ready: daemon.Ready, Store: daemon.Store, Log: slog.New(slog.DiscardHandler)}))
	defer server.Close()
	get := func(path string) string {
		t.Helper()
		answer, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var b strings.Builder
		if err := answer.Write(&b); err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(b.String(), "\r\n\r\n")
		return body
	}

	pages := []string{"/", "/?q=" + url.QueryEscape(hostile+unseen), "/?category=" + url.QueryEscape(unseen) + "&reason=" + url.QueryEscape(hostile), "/images/evil", "/failing", "/images/" + url.PathEscape(unseen)}
	for n := range 29 {
		pages = append(pages, fmt.Sprintf("/images/bad-%02d", n))
	}
	for _, path := range pages {
		text := get(path)
		if path == "/images/evil" {
			for _, want := range []string{"&lt;script&gt;alert(1)&lt;/script&gt;", "withdrawn", "1.0.1", `\u202egnp.exe`} {
				if !strings.Contains(text, want) {
					t.Errorf("%s lacks %s:\n%s", path, want, text)
				}
			}
		}
		wantInertPage(t, path, text)
	}

	for _, path := range []string{"/api/v1/images", "/api/v1/images?q=" + url.QueryEscape(unseen), "/api/v1/images/evil", "/api/v1/images/bad-05", "/api/v1/images/evil/versions", "/api/v1/resolve/evil/1.0.0", "/api/v1/resolve/evil/" + url.PathEscape(unseen), "/api/v1/images/" + url.PathEscape(unseen)} {
		text := get(path)
		wantSeen(t, path, text)
		if !json.Valid([]byte(text)) || strings.Contains(text, "<script") {
			t.Errorf("%s answers\n%s", path, text)
		}
	}
	var shown web.Page
	if err := json.Unmarshal([]byte(get("/api/v1/images?q=evil")), &shown); err != nil || shown.Total != 1 || shown.Images[0].Title != hostile {
		t.Errorf("what the API says is not what was written: %v, %+v", err, shown)
	}

	messages := gittest.Git(t, git.Dir(repoName), "log", "--format=%an%n%cn%n%B", "status")
	wantSeen(t, "the commit messages", messages)
	readme := gittest.Git(t, git.Dir(repoName), "show", "status:README.md")
	wantSeen(t, "the README", readme)
	for name, text := range map[string]string{"the commit messages": messages, "the README": regexp.MustCompile("`[^`\n]*`").ReplaceAllString(readme, "")} {
		for _, bad := range []string{"<script", "javascript:", "<img", "\nINJECTED"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s hold %q:\n%s", name, bad, text)
			}
		}
	}

	for _, args := range [][]string{
		{"list"}, {"list", "-o", "json"}, {"list", "-o", "yaml"}, {"show", "evil"}, {"show", "evil", "-o", "json"}, {"show", "evil", "-o", "yaml"}, {"show", "bad-05"}, {"show", "bad-26", "-o", "yaml"}, {"show", unseen},
		{"resolve", "evil@1.0.0"}, {"resolve", "evil@1.0.0", "-o", "json"}, {"resolve", "evil", "-o", "env"}, {"resolve", unseen}, {"resolve", "evil@" + unseen},
		{"check", author.Dir}, {"check", author.Dir, "-o", "json"}, {"check", author.Dir, "-o", "github"}, {"check", author.Dir, "-o", "markdown"}, {"check", author.Dir, "-o", "junit"},
	} {
		for _, from := range [][]string{{"--repo", git.Repo(repoName)}, {"--server", server.URL}} {
			if args[0] == "check" && from[0] == "--server" {
				continue
			}
			var out strings.Builder
			execute(t.Context(), slices.Concat(args, from), nil, &out, &out)
			wantSeen(t, strings.Join(args, " "), out.String())
			if regexp.MustCompile(`(?m)^\s*INJECTED`).MatchString(out.String()) && !slices.Contains(args, "yaml") { // where it is indented
				t.Errorf("%v has a line of a stranger:\n%s", args, &out)
			}
			if out.Len() == 0 {
				t.Errorf("%v says nothing", args)
			}
		}
	}
	var stdout strings.Builder
	execute(t.Context(), []string{"show", "evil", "-o", "yaml", "--repo", git.Repo(repoName)}, nil, &stdout, &stdout)
	var read struct {
		Releases []struct{ Upgrade struct{ Notes string } }
	}
	if err := yaml.Unmarshal([]byte(stdout.String()), &read); err != nil || len(read.Releases) != 2 || read.Releases[0].Upgrade.Notes != "1"+hostile+more {
		t.Errorf("%v, what YAML says is not what was written:\n%s", err, &stdout)
	}
	if strings.Contains(stdout.String(), "\nINJECTED") {
		t.Errorf("YAML has a line of a stranger:\n%s", &stdout)
	}
}

// wantSeen wants no character that a terminal would act upon, or that turns around what follows.
func wantSeen(t *testing.T, name, text string) {
	t.Helper()
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			t.Errorf("%s holds %U:\n%q", name, r, text)
			return
		}
	}
}

// wantInertPage wants no element and no attribute that does anything but what pages do by themselves.
func wantInertPage(t *testing.T, name, text string) {
	t.Helper()
	for _, r := range text { // \u200e, \u200f and \u061c may be in texts of languages that are written from right to left
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) && r != '\u200e' && r != '\u200f' && r != '\u061c' {
			t.Errorf("%s holds %U", name, r)
			break
		}
	}
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "iframe", "object", "embed", "svg", "math", "base", "style", "template":
			t.Errorf("%s has an element %s", name, n.Data)
		}
		for _, a := range n.Attr {
			own := strings.HasPrefix(a.Val, "/static/") || strings.HasPrefix(a.Val, "/images/")
			u, err := url.Parse(a.Val)
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcset", a.Key == "action" && a.Val != "/",
				a.Key == "src" && !own,
				a.Key == "href" && (err != nil || u.Scheme != "" && u.Scheme != "https" || n.Data != "a" && !own):
				t.Errorf("%s has <%s %s=%q>", name, n.Data, a.Key, a.Val)
			}
		}
	}
}
