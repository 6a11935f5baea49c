//go:build ignore

// Mutate breaks the program in one place at a time and checks that a test notices.
//
//	go run .ci/mutate.go                all of .ci/mutations.txt, two at a time
//	go run .ci/mutate.go -run 'rule 6'  those whose name matches
//
// Each mutation stands for one rule or one guard: with it the program does what it must never do, and still compiles. A test
// that still passes then protects nothing, and somebody could take the rule away by accident. The list says which test is
// expected to fail, so a rule has a test of its own and is not saved by a distant one.
//
// # The list
//
// Paragraphs of five lines, anything from a "#" at the beginning of a line is a comment:
//
//	rule 4: a version is never made twice
//	in   reconcile/release/plan.go
//	-    ; taken {
//	+    ; taken && false {
//	test ./reconcile/release TestRules/a version is never made twice
//
// The first line names what is lost; names are unique. The text behind "-" must occur exactly once in the file, so that nobody
// has to guess what is meant; it is kept short, so that it survives changes around it. Behind "+" is what replaces it, nothing
// to take it out. Behind the package is a regular expression as go test -run takes it (where a space is as good as the
// underscore in the name of a subtest); at least one test that it names has to fail. White space around a text does not count.
//
// # What is done
//
// No file of the work tree is changed: the compiler is given the other text by go test -overlay, and all that does not depend on
// it comes from the build cache. First the tests of each package that the list names are run as they are: they have to pass, and
// each expression has to name one. Then each mutation is compiled and its tests are run. One that does not compile says
// nothing and is a mistake in the list. So is a text that is not there any more: correct it where the code was changed, and
// remove the mutation only with the rule that it stands for. A test that hangs is ended after a minute; that counts, but
// choose another mutation. Exit status 1 means that something has to be done.
//
// Each mutation leaves some 5 MB in the build cache until the go command trims it, and is quicker the next time.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	list    = ".ci/mutations.txt"
	timeout = time.Minute // of the tests of one mutation
	shown   = 20          // lines at most of what the go command printed
)

func main() {
	only := flag.String("run", "", "only mutations whose name matches the `regexp`")
	jobs := flag.Int("j", 2, "how many are tried at a time")
	flag.Parse()
	if err := run(*only, max(1, *jobs)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// mutation is one paragraph of the list.
type mutation struct {
	line     int // of its name
	name     string
	file     string // slash-separated, below the root of the module
	old, new string
	pkg      string // as the go command takes it
	tests    string // as go test -run takes it
}

func (m mutation) String() string { return fmt.Sprintf("%s:%d: %s", list, m.line, m.name) }

func run(only string, jobs int) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return fmt.Errorf("%w; run this in the root of the module", err)
	}
	mutations, err := parse(string(text))
	if err != nil {
		return err
	}
	mutations = slices.DeleteFunc(mutations, func(m mutation) bool { return !wanted.MatchString(m.name) })
	if len(mutations) == 0 {
		return fmt.Errorf("no mutation has a name that matches %q", only)
	}
	start := time.Now()
	if err := unmutated(mutations, jobs); err != nil {
		return err
	}
	fmt.Printf("the tests pass without mutations (%.0f s)\n", time.Since(start).Seconds())

	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	counts := map[outcome]int{}
	var todo []error
	inOrder(mutations, jobs, func(i int, m mutation) result {
		return try(m, filepath.Join(dir, fmt.Sprint(i)))
	}, func(m mutation, r result) {
		fmt.Printf("%-8s %5.1f s  %s%s\n", r.outcome, r.took.Seconds(), m.name, r.remark)
		counts[r.outcome]++
		if r.outcome != killed {
			todo = append(todo, fmt.Errorf("%s: %s", m, r.todo))
		}
	})
	fmt.Printf("%d killed, %d survived", counts[killed], counts[survived])
	if n := counts[broken]; n > 0 {
		fmt.Printf(", %d could not be tried", n)
	}
	fmt.Printf(" in %.0f s\n", time.Since(start).Seconds())
	return errors.Join(todo...)
}

// parse reads the list and holds each paragraph against the files. The error names every mistake.
func parse(text string) (mutations []mutation, err error) {
	var mistakes []error
	names := map[string]bool{}
	var m mutation
	var seen []string // keys of the paragraph so far
	wrong := func(line int, format string, args ...any) {
		mistakes = append(mistakes, fmt.Errorf("%s:%d: %s", list, line, fmt.Sprintf(format, args...)))
	}
	end := func() {
		switch {
		case seen == nil:
			return
		case !slices.Equal(seen, []string{"name", "in", "-", "+", "test"}):
			wrong(m.line, "a mutation is a name and then lines that begin with in, -, + and test; here are %s", strings.Join(seen, ", "))
		case names[m.name]:
			wrong(m.line, "there is another mutation called %q", m.name)
		default:
			if problem := m.check(); problem != "" {
				wrong(m.line, "%s: %s", m.name, problem)
			}
			mutations = append(mutations, m)
		}
		names[m.name] = true
		m, seen = mutation{}, nil
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if line == "" {
			end()
			continue
		}
		if seen == nil {
			m.line, m.name, seen = i+1, line, []string{"name"}
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		value = strings.TrimSpace(value)
		switch key {
		case "in":
			m.file = value
		case "-":
			m.old = value
		case "+":
			m.new = value
		case "test":
			m.pkg, m.tests, _ = strings.Cut(value, " ")
		}
		seen = append(seen, key)
	}
	end()
	return mutations, errors.Join(mistakes...)
}

// check says what is wrong with a mutation, empty for nothing.
func (m mutation) check() string {
	data, err := os.ReadFile(filepath.FromSlash(m.file))
	if err != nil {
		return err.Error()
	}
	switch n := strings.Count(string(data), m.old); {
	case m.old == "" || m.old == m.new:
		return "it changes nothing"
	case n == 0:
		return fmt.Sprintf("%s has no %q any more; write here what the rule reads like now, and remove the mutation only with the rule", m.file, m.old)
	case n > 1:
		return fmt.Sprintf("%s has %q %d times; take more of the line, so that one place is meant", m.file, m.old, n)
	case m.tests == "":
		return "it names no test; want a package and what go test -run takes"
	}
	for part := range strings.SplitSeq(m.tests, "/") {
		if _, err := regexp.Compile(part); err != nil {
			return err.Error()
		}
	}
	return ""
}

// covers reports whether the expression of a mutation names a test, as go test -run reads both.
func (m mutation) covers(test string) bool {
	parts := strings.Split(strings.ReplaceAll(m.tests, " ", "_"), "/")
	elements := strings.SplitN(test, "/", len(parts))
	if len(elements) < len(parts) {
		return false
	}
	for i, part := range parts {
		if !regexp.MustCompile(part).MatchString(elements[i]) {
			return false
		}
	}
	return true
}

// unmutated runs the tests of all mutations, once for each package. The error is that one fails, or that an expression names none.
func unmutated(mutations []mutation, jobs int) error {
	packages := map[string][]mutation{}
	for _, m := range mutations {
		packages[m.pkg] = append(packages[m.pkg], m)
	}
	var mistakes []error
	inOrder(slices.Sorted(maps.Keys(packages)), jobs, func(_ int, pkg string) error {
		var all []string
		for _, m := range packages[pkg] {
			all = append(all, m.tests)
		}
		slices.Sort(all)
		output, err := test(pkg, strings.Join(slices.Compact(all), "|"), "-v")
		var ran []string
		var rest strings.Builder // what is not about tests that pass
		for line := range strings.Lines(output) {
			switch name, is := strings.CutPrefix(line, "=== RUN "); {
			case is:
				ran = append(ran, strings.TrimSpace(name))
			case !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(strings.TrimSpace(line), "--- PASS"):
				rest.WriteString(line)
			}
		}
		if err != nil {
			return fmt.Errorf("%s fails without any mutation: %w\n%s", pkg, err, tail(rest.String()))
		}
		var unnamed []error
		for _, m := range packages[pkg] {
			if !slices.ContainsFunc(ran, m.covers) {
				unnamed = append(unnamed, fmt.Errorf("%s: %s has no test %s", m, pkg, m.tests))
			}
		}
		return errors.Join(unnamed...)
	}, func(_ string, err error) {
		mistakes = append(mistakes, err)
	})
	return errors.Join(mistakes...)
}

type outcome string

const (
	killed   outcome = "killed"
	survived outcome = "SURVIVED"
	broken   outcome = "BROKEN"
)

type result struct {
	outcome
	remark string // behind the name
	todo   string // where it was not killed
	took   time.Duration
}

// try compiles a mutation and runs its tests. The directory is for what the compiler is given.
func try(m mutation, dir string) (r result) {
	start := time.Now()
	defer func() { r.took = time.Since(start) }()
	overlay, err := m.overlay(dir)
	if err != nil {
		return result{outcome: broken, todo: err.Error()}
	}
	output, err := test(m.pkg, m.tests, "-failfast", "-overlay="+overlay)
	switch {
	case err == nil:
		return result{outcome: survived, todo: fmt.Sprintf("with %q in place of %q in %s, go test -run %q %s still passes; write a test that fails then, or name one",
			m.new, m.old, m.file, m.tests, m.pkg)}
	case strings.Contains(output, "[build failed]"), strings.Contains(output, "[setup failed]"):
		return result{outcome: broken, todo: "it does not compile\n" + tail(output)}
	case strings.Contains(output, "panic: test timed out"):
		return result{outcome: killed, remark: " (by a test that hangs: choose another mutation)"}
	case !strings.Contains(output, "--- FAIL: ") && !strings.Contains(output, "panic: "):
		return result{outcome: broken, todo: fmt.Sprintf("no test failed: %v\n%s", err, tail(output))}
	}
	return result{outcome: killed}
}

// overlay writes the mutated file and what tells the go command to read it in place of the real one.
func (m mutation) overlay(dir string) (string, error) {
	data, err := os.ReadFile(filepath.FromSlash(m.file))
	if err != nil {
		return "", err
	}
	real, err := filepath.Abs(filepath.FromSlash(m.file))
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return "", err
	}
	mutated := filepath.Join(dir, filepath.Base(real))
	if err := os.WriteFile(mutated, []byte(strings.Replace(string(data), m.old, m.new, 1)), 0o666); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{real: mutated}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, replace, 0o666)
}

// test runs tests of a package and returns what was printed. The error is that something failed.
func test(pkg, tests string, more ...string) (output string, err error) {
	args := append([]string{"test", "-count=1", "-short", "-vet=off", "-timeout=" + timeout.String(), "-run=" + tests}, more...)
	var b bytes.Buffer
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), "TIDEWAITER_TEST_PATIENCE=6s") // what is broken is not waited for as long
	cmd.Stdout, cmd.Stderr = &b, &b
	err = cmd.Run()
	return b.String(), err
}

// tail is the end of what was printed.
func tail(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return "\t" + strings.Join(lines[max(0, len(lines)-shown):], "\n\t")
}

// inOrder does something for each item, several at a time, and tells the results in the order of the items.
func inOrder[T, R any](items []T, jobs int, do func(int, T) R, tell func(T, R)) {
	results := make([]chan R, len(items))
	places := make(chan struct{}, jobs)
	for i := range items {
		results[i] = make(chan R, 1)
	}
	go func() {
		for i, item := range items {
			places <- struct{}{}
			go func() {
				results[i] <- do(i, item)
				<-places
			}()
		}
	}()
	for i, item := range items {
		tell(item, <-results[i])
	}
}
