package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
)

// secrets are all forms in which a secret could be written somewhere, by what they are.
type secrets map[string]string

// add notes a password or token.
func (s secrets) add(name, secret string) {
	quoted, _ := json.Marshal(secret)
	s[name] = secret
	s[name+" as JSON"] = strings.Trim(string(quoted), `"`)
	s[name+" in a query"] = url.QueryEscape(secret)
	s[name+" in a path"] = url.PathEscape(secret)
	s[name+" in a URL"] = strings.TrimPrefix(url.UserPassword("", secret).String(), ":")
	s.encoded(name, secret)
}

// login notes a user's password.
func (s secrets) login(name, user, password string) {
	s.add(name, password)
	s.encoded(name+" after its user", user+":"+password)
}

// encoded notes the base64 of a text, but for the end, which differs with what follows.
func (s secrets) encoded(name, text string) {
	s[name+" as base64"] = strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(text)), "=")
	s[name+" as base64 for URLs"] = strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(text)), "=")
}

// output collects what is written to it from anywhere.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// TestSecretsAreWrittenNowhere plays a catalog of private images, with wrong passwords and then the right ones, at the log level
// debug, where the registry repeats what it was shown in every place of an answer. Whatever the daemon and the commands ever
// wrote, on the server, to their outputs or in an answer, holds no password and no token.
func TestSecretsAreWrittenNowhere(t *testing.T) {
	const gitPassword, wrongGit = "g1t+p4ss/wörd", "wr0ng+g1t/wörd"
	const password, wrong = "s3cret+p4ss/wörd", "wr0ng+p4ss/wörd"
	const identity, hook, wrongHook = "1dentity+t0ken/wörd", "h00k+t0ken/wörd", "wr0ng+h00k/wörd"
	written := &output{}
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr")) // of programs that were started, too
	if err != nil {
		t.Fatal(err)
	}
	defer func(own *os.File) { os.Stderr = own }(os.Stderr)
	os.Stderr = stderr
	hidden := secrets{}
	hidden.login("the Git password", "ada", gitPassword)
	hidden.login("a wrong Git password", "ada", wrongGit)
	hidden.login("the registries' password", "puller", password)
	hidden.login("a wrong password", "puller", wrong)
	hidden.add("the identity token", identity)
	hidden.add("the hooks' token", hook)
	hidden.add("a wrong token for the hooks", wrongHook)

	git := gittest.NewServer(t)
	git.Create(repoName)
	git.SetUser("ada", gitPassword)
	author := gittest.NewAuthor(t, git.RepoAs(repoName, "ada", gitPassword))

	// Each registry is private. In team/echo it repeats what it was shown.
	hubs := map[string]registrytest.Options{"basic": {}, "bearer": {Bearer: true}, "helper": {Bearer: true, IdentityToken: identity}}
	registries := map[string]*registrytest.Registry{}
	credentials, policy := t.TempDir(), "apiVersion: tidewaiter/v1\nkind: Catalog\nmetadata: {name: acme}\nspec:\n  registries:\n"
	file := func(path, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	spec := func(name, host, repository, tag, credential, notes string) {
		author.Write("images/"+name+".yaml", fmt.Sprintf("apiVersion: tidewaiter/v1\nkind: Image\nmetadata: {name: %s}\nspec:\n"+
			"  summary: A private image\n  image: {registry: %q, repository: %s, tag: %q%s}\n"+
			"  upgrade: {mode: compatible-fix, notes: %s}\n", name, host, repository, tag, credential, notes))
	}
	var shown sync.Map // every value of a header Authorization that a registry saw
	for name, options := range hubs {
		options.User, options.Password = "puller", password
		r, err := registrytest.Start(options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		registries[name] = r
		r.Wrap(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				authorization := req.Header.Get("Authorization")
				if authorization != "" {
					shown.Store(authorization, true)
				}
				if authorization == "" || !strings.Contains(req.URL.Path, "/team/echo/") {
					next.ServeHTTP(w, req)
					return
				}
				w.Header().Set("Content-Type", authorization)
				w.Header().Set("Docker-Content-Digest", authorization)
				w.Header().Set("Location", "/"+url.PathEscape(authorization))
				w.Header().Set("Warning", `299 - "`+authorization+`"`)
				if strings.Contains(req.URL.Path, "/manifests/denied") {
					w.Header().Set("WWW-Authenticate", `Bearer realm="/token",service="`+authorization+`",error="`+authorization+`"`)
					w.WriteHeader(http.StatusForbidden)
				} else if strings.Contains(req.URL.Path, "/manifests/broken") {
					w.WriteHeader(http.StatusInternalServerError)
				}
				fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, authorization, authorization)
			})
		})
		policy += fmt.Sprintf("    - {host: %q, credentials: %s}\n", r.Host, name)
		if _, err := r.Push(t.Context(), "team/"+name, "1", registrytest.Image{Seed: name}); err != nil {
			t.Fatal(err)
		}
		bound := ", credentials: " + name
		spec(name, r.Host, "team/"+name, "1", bound, "first")
		for _, tag := range []string{"denied", "broken", "odd"} {
			spec(name+"-"+tag, r.Host, "team/echo", tag, bound, "first")
		}
		spec(name+"-unbound", r.Host, "team/"+name, "1", "", "first")
		file(filepath.Join(credentials, name, "username"), "puller")
		file(filepath.Join(credentials, name, "password"), wrong)
	}
	author.Write("catalog.yaml", policy)
	author.Commit("Add private images")
	author.Push()

	environ := []string{
		"TIDEWAITER_REPO=" + git.Repo(repoName), "TIDEWAITER_GIT_USERNAME=ada",
		"TIDEWAITER_GIT_PASSWORD_FILE=" + filepath.Join(credentials, "git"), "TIDEWAITER_CREDENTIALS_DIR=" + credentials,
		"TIDEWAITER_LOG_LEVEL=debug",
	}
	command := func(want int, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if code := execute(ctx, args, environ, written, written); code != want {
			t.Fatalf("tidewaiter %v: exit code %d, want %d\n%s", args, code, want, written)
		}
	}

	file(filepath.Join(credentials, "hook"), hook)
	file(filepath.Join(credentials, "git"), wrongGit)
	command(exitFailed, "run", "--once")
	command(exitFailed, "list", "--repo", git.RepoAs(repoName, "ada", wrongGit), "--git-password-file", "", "--git-username", "")
	file(filepath.Join(credentials, "git"), gitPassword)
	command(0, "run", "--once")
	doctor := []string{"doctor", "--hook-secret-file", filepath.Join(credentials, "hook")}
	command(exitProblems, doctor...)
	if log := written.String(); strings.Count(log, "reason=AccessDenied") < 6 {
		t.Errorf("with wrong passwords:\n%s", log)
	}
	for _, name := range []string{"basic", "bearer"} {
		file(filepath.Join(credentials, name, "password"), password)
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	const helper = "docker-credential-sesame"
	file(filepath.Join(credentials, "helper", ".dockerconfigjson"), `{"credsStore": "sesame"}`)
	file(filepath.Join(bin, helper), "#!/bin/sh\necho '"+identity+"' | tee /dev/stderr\nexit 1\n")
	command(0, "run", "--once")
	file(filepath.Join(bin, helper), "#!/bin/sh\necho '"+identity+"' >&2\necho '{\"Username\":\"<token>\",\"Secret\":\""+identity+"\"}'\n")
	command(0, "run", "--once")
	for name, r := range registries {
		command(0, "resolve", name)
		spec(name, r.Host, "team/echo", "odd", ", credentials: "+name, "second")
		if _, err := r.Push(t.Context(), "team/"+name, "2", registrytest.Image{Seed: name + "2"}); err != nil {
			t.Fatal(err)
		}
		spec(name+"-unbound", r.Host, "team/"+name, "2", ", credentials: "+name, "second")
	}
	command(0, doctor...)
	command(0, "list")
	command(0, "list", "-o", "json")
	command(0, "show", "basic", "-o", "json")
	command(0, "show", "basic-denied")
	command(exitProblems, "check", author.Dir, "--pull")
	command(exitProblems, "check", author.Dir, "--pull", "-o", "json")
	author.Commit("Upgrade private images")
	author.Push()

	// The daemon, and what it serves.
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	log := &output{}
	go func() {
		ended <- execute(ctx, []string{"run", "--listen", "127.0.0.1:0", "--interval", "100ms", "--hook-secret-file", filepath.Join(credentials, "hook")}, environ, log, log)
	}()
	page := awaitText(t, log, regexp.MustCompile(`page=(\S+)`))
	awaitText(t, log, regexp.MustCompile(`recorded.*files=`))
	for _, token := range []string{wrongHook, hook} {
		file(filepath.Join(credentials, "token"), token)
		want := 0
		if token == wrongHook {
			want = exitFailed
		}
		command(want, "recheck", "basic-denied", "--server", page, "--token-file", filepath.Join(credentials, "token"))
	}
	for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/api/v1/images"} {
		resp, err := http.Get(strings.TrimSuffix(page, "/") + path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(written, path, resp.Header)
		_, err = io.Copy(written, resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}

	for _, name := range []string{"bearer", "helper"} {
		for i, token := range registries[name].Tokens() {
			hidden.add(fmt.Sprintf("token %d of %s", i, name), token)
		}
	}
	for _, secret := range []string{
		"Basic " + base64.StdEncoding.EncodeToString([]byte("puller:"+password)),
		"Bearer " + registries["bearer"].Tokens()[0], "Bearer " + registries["helper"].Tokens()[0],
	} {
		if _, ok := shown.Load(secret); !ok {
			t.Errorf("no registry was ever shown %s", secret)
		}
	}
	direct, err := os.ReadFile(stderr.Name())
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{
		"what commands print and pages show": written.String() + string(direct),
		"the daemon's log":                   log.String(),
		"what is on the server":              gittest.Git(t, git.Dir(repoName), "cat-file", "--batch", "--batch-all-objects", "--unordered"),
	} {
		folded := strings.ToLower(text) // as some write media types
		for name, secret := range hidden {
			if i := strings.Index(folded, strings.ToLower(secret)); i >= 0 {
				t.Errorf("%s: %s: …%s…", where, name, folded[max(0, i-300):min(len(folded), i+100)])
			}
		}
		if !strings.Contains(text, "AccessDenied") {
			t.Errorf("%s: nothing of it is about this catalog:\n%s", where, text)
		}
	}
}

// awaitText waits until something was written, and returns what the pattern's group holds.
func awaitText(t *testing.T, o *output, pattern *regexp.Regexp) string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if m := pattern.FindStringSubmatch(o.String()); m != nil {
			return m[len(m)-1]
		}
	}
	t.Fatalf("%s is not in\n%s", pattern, o)
	return ""
}
