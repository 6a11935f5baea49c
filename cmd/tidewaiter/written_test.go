package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/release"
	"tidewaiter/schema"
)

// What daemons wrote is read here with the git program, on the server.

// place is the status branch and the folder of it that holds the status files, "" for its root.
func place(ts *testscript.TestScript) (branch, dir string) {
	catalog := cmp.Or(ts.Getenv("TIDEWAITER_BRANCH"), "main")
	branch = cmp.Or(ts.Getenv("TIDEWAITER_STATUS_BRANCH"), "status")
	if branch == catalog {
		dir = "status"
	}
	return branch, dir
}

// written is the content of one status file; empty where there is none.
func (s *stage) written(ts *testscript.TestScript, file string) string {
	branch, dir := place(ts)
	file = path.Join(dir, file)
	if gittest.Git(s, s.bare(), "for-each-ref", "refs/heads/"+branch) == "" ||
		gittest.Git(s, s.bare(), "ls-tree", "--name-only", branch, file) == "" {
		return ""
	}
	return gittest.Git(s, s.bare(), "show", branch+":"+file) + "\n"
}

// status shows a file of the status branch.
func status(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	text := s.written(ts, args[0])
	if text == "" {
		return "", fmt.Errorf("there is no %s on the status branch", args[0])
	}
	return text, nil
}

// checkReleases wants exactly these releases of an image, each with the image it is.
func checkReleases(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	name, want := args[0], args[1:]
	branch, dir := place(ts)
	if gittest.Git(s, s.bare(), "for-each-ref", "refs/heads/"+branch) == "" {
		return "", same("the releases of "+name, nil, want)
	}
	dir = path.Join(dir, "releases", name)
	var made []release.Release
	for _, file := range strings.Fields(gittest.Git(s, s.bare(), "ls-tree", "--name-only", branch, dir+"/")) {
		record, err := schema.DecodeRelease(file, []byte(gittest.Git(s, s.bare(), "show", branch+":"+file)+"\n"))
		if err != nil {
			return "", err
		}
		r := record.Release()
		if file != path.Join(dir, r.Version.String()+".yaml") {
			return "", fmt.Errorf("%s is the record of %s", file, r.Version)
		}
		made = append(made, r)
	}
	slices.SortFunc(made, func(a, b release.Release) int { return a.Version.Compare(b.Version) })
	var got []string
	for _, r := range made {
		got = append(got, fmt.Sprintf("%s=%s", r.Version, s.seedOf(r.Digest)))
	}
	return "", same("the releases of "+name, got, want)
}

// checkChannels wants exactly these channels of an image.
func checkChannels(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	image, err := s.image(ts, args[0])
	if err != nil {
		return "", err
	}
	var got []string
	for _, c := range image.Channels {
		got = append(got, fmt.Sprintf("%s=%s", c.Name, c.Version))
	}
	slices.Sort(got)
	return "", same("the channels of "+args[0], got, slices.Sorted(slices.Values(args[1:])))
}

func same(what string, got, want []string) error {
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("%s are [%s], want [%s]", what, strings.Join(got, " "), strings.Join(want, " "))
}

// checkReady wants that reason in an image's Ready condition.
func checkReady(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	image, err := s.image(ts, args[0])
	if err != nil {
		return "", err
	}
	return "", reasonIs(args[0], image.Conditions, args[1])
}

// checkCatalog wants that reason in the catalog's Ready condition.
func checkCatalog(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	text := s.written(ts, "catalog.yaml")
	if text == "" {
		return "", fmt.Errorf("the catalog has no status")
	}
	catalog, err := schema.DecodeCatalogStatus("catalog.yaml", []byte(text))
	if err != nil {
		return "", err
	}
	return "", reasonIs("the catalog", catalog.Conditions, args[0])
}

func (s *stage) image(ts *testscript.TestScript, name string) (release.ImageStatus, error) {
	file := "images/" + name + ".yaml"
	text := s.written(ts, file)
	if text == "" {
		return release.ImageStatus{}, fmt.Errorf("%s has no status", name)
	}
	_, status, err := schema.DecodeImageStatus(file, []byte(text))
	return status, err
}

func reasonIs(what string, conditions []release.Condition, want string) error {
	for _, c := range conditions {
		if c.Type == "Ready" && string(c.Reason) == want {
			return nil
		}
	}
	return fmt.Errorf("%s is not %s: %+v", what, want, conditions)
}

// checkCommits wants that number of commits of daemons on the status branch.
func checkCommits(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	branch, _ := place(ts)
	n := "0"
	if gittest.Git(s, s.bare(), "for-each-ref", "refs/heads/"+branch) != "" {
		n = gittest.Git(s, s.bare(), "rev-list", "--count", "--grep=^Tidewaiter-Version: ", branch)
	}
	if n != args[0] {
		return "", fmt.Errorf("daemons made %s commits, want %s", n, args[0])
	}
	return "", nil
}

// checkRequests shows what a server was asked since the last time, and wants that number where one is given.
func checkRequests(s *stage, _ *testscript.TestScript, args []string) (string, error) {
	var asked []string
	if args[0] == "git" {
		asked = s.git.Requests()
	} else {
		h, err := s.hub(args[0])
		if err != nil {
			return "", err
		}
		for _, r := range h.embedded.Requests() {
			asked = append(asked, r.Method+" "+r.Path)
		}
	}
	text := strings.Join(asked, "\n") + "\n"
	if len(args) > 1 && args[1] != strconv.Itoa(len(asked)) {
		return "", fmt.Errorf("%s was asked %d times, want %s:\n%s", args[0], len(asked), args[1], text)
	}
	return text, nil
}

// checkRequested wants that a server was asked for something since the last time.
func checkRequested(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	pattern, err := regexp.Compile(args[1])
	if err != nil {
		return "", err
	}
	asked, err := checkRequests(s, ts, args[:1])
	if err == nil && !pattern.MatchString(asked) {
		err = fmt.Errorf("%s was not asked for %s:\n%s", args[0], args[1], asked)
	}
	return asked, err
}

const daemonLog = "daemon.log"

// checkLogged wants a line in the log of the daemon, and shows those that are like it.
func checkLogged(s *stage, _ *testscript.TestScript, args []string) (string, error) {
	pattern, err := regexp.Compile(args[0])
	if err != nil {
		return "", err
	}
	log, err := os.ReadFile(filepath.Join(s.work, daemonLog))
	if err != nil {
		return "", err
	}
	lines := strings.SplitAfter(string(log), "\n")
	found := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !pattern.MatchString(line) })
	if len(found) == 0 {
		return "", fmt.Errorf("the daemon has not logged %s; at last it logged\n%s", args[0], strings.Join(lines[max(0, len(lines)-5):], ""))
	}
	return strings.Join(found, ""), nil
}

var pageURL = regexp.MustCompile(`page"?[:=]"?(http://[^\s"]+)`)

// started waits until the daemon in the background serves http; $PAGE is where.
func started(s *stage, ts *testscript.TestScript, _ []string) (string, error) {
	log, err := await(s, ts, []string{"logged", pageURL.String()})
	if err != nil {
		return "", err
	}
	ts.Setenv("PAGE", pageURL.FindStringSubmatch(log)[1])
	return "", nil
}

// sendSignal sends a signal to the programs in the background.
func sendSignal(_ *stage, ts *testscript.TestScript, args []string) (string, error) {
	number, ok := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}[args[0]]
	if !ok {
		return "", fmt.Errorf("no such signal: %s", args[0])
	}
	for _, cmd := range ts.BackgroundCmds() {
		if err := cmd.Process.Signal(number); err != nil {
			return "", err
		}
	}
	return "", nil
}

// get asks the daemon for a path, wants that code, and shows the body.
func get(_ *stage, ts *testscript.TestScript, args []string) (string, error) {
	client := http.Client{Timeout: patience}
	resp, err := client.Get(ts.Getenv("PAGE") + args[0])
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && strconv.Itoa(resp.StatusCode) != args[1] {
		err = fmt.Errorf("GET %s: %s, want %s\n%s", args[0], resp.Status, args[1], body)
	}
	return string(body), err
}

// checkHistory is what holds after every scenario, over all commits on the server.
func (s *stage) checkHistory() {
	gittest.Fsck(s, s.bare())
	changes := func(folder string) []string {
		out := gittest.Git(s, s.bare(), "log", "--all", "--first-parent", "-m", "--raw", "--no-renames", "--no-abbrev", "--format=",
			"--", folder, "status/"+folder)
		return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
	}
	for _, change := range changes("releases") {
		if fields := strings.Fields(change); fields[4] != "A" {
			s.Errorf("a release record was changed or deleted: %s", change)
		}
	}
	for _, change := range changes("images") {
		fields := strings.Fields(change)
		if fields[4] == "D" {
			continue
		}
		file := fields[5]
		text := gittest.Git(s, s.bare(), "cat-file", "blob", fields[3])
		if !strings.Contains(text, "kind: ImageStatus") {
			continue // a spec
		}
		_, status, err := schema.DecodeImageStatus(file, []byte(text+"\n"))
		if err != nil {
			s.Error(err)
		}
		for _, c := range status.Channels {
			if line := strings.TrimSuffix(c.Name, "latest"); !strings.HasPrefix(c.Version.String(), line) {
				s.Errorf("%s: the channel %s means %s", file, c.Name, c.Version)
			}
		}
	}
}
