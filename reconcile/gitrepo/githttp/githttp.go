// Package githttp serves bare Git repositories over http with the http-backend program of the git that is installed: real
// hooks, real locks, real refusals. It is for the demo and for tests; it promises no more than that program, and does not
// know about TLS or many users.
package githttp

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Handler serves the repositories below root, each under its path there. Allow is asked about every request with the basic
// credentials it came with, empty where there are none, and whether it is a push.
func Handler(root string, allow func(user, password string, push bool) bool) (http.Handler, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("asking git where its programs are: %w", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return nil, fmt.Errorf("this git cannot serve http: %w", err)
	}
	root, err = filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		push := strings.HasSuffix(r.URL.Path, "/git-receive-pack") || r.URL.Query().Get("service") == "git-receive-pack"
		user, password, _ := r.BasicAuth()
		if !allow(user, password, push) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "user and password, please", http.StatusUnauthorized)
			return
		}
		if len(r.TransferEncoding) > 0 { // CGI wants to know the length
			spooled, err := spool(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			defer spooled.Close()
		}
		if user == "" {
			user = "anonymous" // http-backend takes no push from nobody
		}
		(&cgi.Handler{Path: backend, Stderr: io.Discard, Logger: quiet, Env: []string{ // what it prints the client is told too
			"GIT_PROJECT_ROOT=" + root,
			"GIT_HTTP_EXPORT_ALL=1",
			"GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"),
			"REMOTE_USER=" + user,
			"GIT_CONFIG_NOSYSTEM=1",
			"GIT_CONFIG_GLOBAL=" + os.DevNull,
			"LC_ALL=C",
		}}).ServeHTTP(w, r)
	}), nil
}

// quiet is for clients that give up.
var quiet = log.New(io.Discard, "", 0)

// spool replaces the body of a request whose length is not known by one in a file that has no name any more.
func spool(r *http.Request) (*os.File, error) {
	file, err := os.CreateTemp("", "githttp-")
	if err != nil {
		return nil, err
	}
	err = os.Remove(file.Name())
	n, copyErr := io.Copy(file, r.Body)
	_, seekErr := file.Seek(0, io.SeekStart)
	if err := errors.Join(err, copyErr, seekErr); err != nil {
		file.Close()
		return nil, err
	}
	r.Body, r.ContentLength, r.TransferEncoding = file, n, nil
	return file, nil
}
