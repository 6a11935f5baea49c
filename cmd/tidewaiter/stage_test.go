package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"

	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
)

// stage is everything around one script: the servers that it started, and the person who works on its catalog.
type stage struct {
	testing.TB
	work       string // the directory that the script runs in
	git        *gittest.Server
	author     *gittest.Author
	registries []*hub
	seeds      map[release.Digest]string // of every image pushed
	together   chan bool                 // where registries meet that answer only together
}

// hub is one registry of a script: the embedded one, or Debian's docker-registry.
type hub struct {
	name, host, user string
	put              func(ctx context.Context, repository, tag string, image registrytest.Built) error
	embedded         *registrytest.Registry
}

// patience is how long a script waits for a daemon.
const patience = 20 * time.Second

func setStage(env *testscript.Env) error {
	env.Setenv("TIDEWAITER_CREDENTIALS_DIR", filepath.Join(env.WorkDir, "credentials"))
	env.Values["stage"] = &stage{TB: env.T().(testing.TB), work: env.WorkDir, seeds: map[release.Digest]string{}, together: make(chan bool)}
	return nil
}

// command is one word of the scripts. What it returns as text is its standard output.
type command func(s *stage, ts *testscript.TestScript, args []string) (string, error)

// words are what scripts say besides the commands of testscript and the programs that TestMain makes. Those of checks can also
// be awaited.
var words = map[string]command{
	// Servers.
	"gitserver":    startGit,          // [USER PASSWORD]
	"sshserver":    startSSH,          //
	"registry":     startRegistry,     // NAME [tls|bearer|basic USER PASSWORD|bearer USER PASSWORD]
	"forge":        startForge,        // TOKEN
	"distribution": startDistribution, // NAME USER PASSWORD
	"fault":        fault,             // NAME|git KIND
	"protect":      protect,           // BRANCH WORDS

	// People.
	"image":  pushImage,   // NAME REPOSITORY:TAG SEED [PLATFORM|-defect]...
	"policy": writePolicy, // [-unbound] [LINE]...
	"spec":   writeSpec,   // NAME [FIELD=VALUE]...
	"commit": commit,      // MESSAGE
	"merge":  merge,       // MESSAGE
	"git":    git,         // ARGUMENT...

	// The daemon.
	"poll":    poll,       // [FLAG]...
	"started": started,    //
	"signal":  sendSignal, // NAME
	"get":     get,        // PATH CODE

	// What it shows.
	"exits":  exits,  // CODE PROGRAM [ARGUMENT]...
	"plain":  plain,  // FILE
	"status": status, // FILE
}

var checks = map[string]command{
	"releases":  checkReleases,  // NAME [VERSION=SEED]...
	"channels":  checkChannels,  // NAME [CHANNEL=VERSION]...
	"ready":     checkReady,     // NAME REASON
	"catalog":   checkCatalog,   // REASON
	"commits":   checkCommits,   // N
	"requests":  checkRequests,  // NAME|git [N]
	"logged":    checkLogged,    // PATTERN
	"requested": checkRequested, // NAME|git PATTERN
	"got":       get,            // PATH CODE
}

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	all := maps.Clone(words)
	maps.Copy(all, checks)
	all["await"] = await // CHECK [ARGUMENT]...
	cmds := map[string]func(*testscript.TestScript, bool, []string){}
	for word, do := range all {
		cmds[word] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("%s cannot be negated", word)
			}
			out, err := do(ts.Value("stage").(*stage), ts, args)
			ts.Check(err)
			if out != "" { // else what the last program wrote can still be looked at
				fmt.Fprint(ts.Stdout(), out)
			}
		}
	}
	return cmds
}

// await repeats a check until it is true.
func await(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	check, ok := checks[args[0]]
	if !ok {
		return "", fmt.Errorf("await %s: there is no such check", args[0])
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		out, err := check(s, ts, args[1:])
		if err == nil || time.Now().After(deadline) {
			return out, err
		}
	}
}

// poll is tidewaiter run --once, with the flags given, inside the test: it is what most scenarios do again and again.
func poll(_ *stage, ts *testscript.TestScript, args []string) (string, error) {
	var environ []string
	for _, c := range newRoot().Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if value := ts.Getenv(envName(f.Name)); value != "" {
				environ = append(environ, envName(f.Name)+"="+value)
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args = slices.Concat([]string{"run", "--once"}, args)
	if code := execute(ctx, args, environ, ts.Stdout(), ts.Stderr()); code != 0 {
		return "", fmt.Errorf("the exit code is %d", code)
	}
	return "", nil
}

// exits runs a program and wants that exit code of it.
func exits(_ *stage, ts *testscript.TestScript, args []string) (string, error) {
	want, err := strconv.Atoi(args[0])
	if err != nil {
		return "", err
	}
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		return "", err
	}
	if code != want {
		return "", fmt.Errorf("the exit code is %d, want %d", code, want)
	}
	return "", nil
}

var (
	commitID = regexp.MustCompile(`\b[0-9a-f]{40}\b`)
	dateTime = regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	ageValue = regexp.MustCompile(`(?m)\b\d+s( +|$)`)
	lineEnds = regexp.MustCompile(`(?m) +$`)
)

// plain shows what the last program wrote to a standard stream, or a file, with everything replaced that differs from run to run.
func plain(s *stage, ts *testscript.TestScript, args []string) (string, error) {
	text := ts.ReadFile(args[0])
	replace := func(old, new string) { // also where it is escaped for Markdown
		text = strings.NewReplacer(old, new, review.Escape(old), review.Escape(new)).Replace(text)
	}
	for _, h := range s.registries {
		replace(h.host, h.name)
	}
	for digest, seed := range s.seeds {
		replace(string(digest), "sha256:"+seed)
	}
	if s.git != nil {
		text = strings.ReplaceAll(text, s.git.URL, "http://git")
		for _, id := range strings.Fields(gittest.Git(s, s.bare(), "rev-list", "--all")) {
			text = strings.NewReplacer(id[:8]+" ", "COMMIT ", id[:8]+",", "COMMIT,").Replace(text)
		}
	}
	text = strings.ReplaceAll(text, s.work, "WORK")
	text = commitID.ReplaceAllString(text, "COMMIT")
	text = dateTime.ReplaceAllString(text, "TIME")
	text = ageValue.ReplaceAllString(text, "AGE ")
	return lineEnds.ReplaceAllString(text, ""), nil
}

// hub is the registry of a name.
func (s *stage) hub(name string) (*hub, error) {
	i := slices.IndexFunc(s.registries, func(h *hub) bool { return h.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no registry %s was started", name)
	}
	return s.registries[i], nil
}

// require is for a program that may be missing: its test is skipped then, unless this run is one that has to have all.
func (s *stage) require(program string) {
	s.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("TIDEWAITER_TEST_REQUIRE") != "" {
		s.Fatalf("%s is not installed", program)
	}
	s.Skipf("%s is not installed", program)
}
