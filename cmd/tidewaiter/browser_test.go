package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// tab is a page of a real browser, and what happened in it.
type tab struct {
	testing.TB
	ctx context.Context
	url string // of the server

	mu       sync.Mutex
	requests []string
	errors   []string
}

// newTab starts a browser with a fresh profile that can reach loopback only.
func newTab(t testing.TB, url string) *tab {
	(&stage{TB: t}).require("chromium")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath("chromium"), chromedp.UserDataDir(profile(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"))
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Run(ctx); err != nil { // the browser lives as long as the context that starts it
		t.Fatal(err)
	}
	b := &tab{TB: t, ctx: ctx, url: url}
	chromedp.ListenTarget(ctx, b.hear)
	b.do(network.Enable(), log.Enable(), runtime.Enable(), emulation.SetFocusEmulationEnabled(true),
		browser.GrantPermissions([]browser.PermissionType{browser.PermissionTypeClipboardReadWrite, browser.PermissionTypeClipboardSanitizedWrite}).WithOrigin(url))
	return b
}

// profile is an empty directory for a browser, which is gone when the test ends. Its processes may still write for a moment then.
func profile(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tidewaiter-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eventually(t, func() bool { return os.RemoveAll(dir) == nil }) })
	return dir
}

func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
			b.errors = append(b.errors, e.Entry.URL+": "+e.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			b.errors = append(b.errors, fmt.Sprint("the console says ", e.Args))
		}
	}
}

func (b *tab) do(actions ...chromedp.Action) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

func (b *tab) open(path string) { b.Helper(); b.do(chromedp.Navigate(b.url + path)) }

// eval is the value of an expression in the page, awaited where it is a promise.
func (b *tab) eval(expression string, into any) {
	b.Helper()
	b.do(chromedp.Evaluate(expression, into, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
}

// text is what people read on the page.
func (b *tab) text() (text string) {
	b.Helper()
	b.eval("document.body.innerText", &text)
	return text
}

func (b *tab) wants(texts ...string) {
	b.Helper()
	shown := b.text()
	for _, want := range texts {
		if !strings.Contains(shown, want) {
			b.Errorf("the page lacks %q:\n%s", want, shown)
		}
	}
}

// TestBrowser looks at the pages of the demo with a real browser: they can be used, with the keyboard too, do without anybody
// else, and axe-core finds nothing wrong with them.
func TestBrowser(t *testing.T) {
	(&stage{TB: t}).require("chromium")
	ctx, cancel := context.WithCancel(t.Context())
	w, err := newWorld(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	teller := newTeller(io.Discard)
	for _, step := range story[:len(story)-1] { // before the author accepts what was found
		teller.step(step.title, step.text)
		if err := step.play(ctx, w, teller); err != nil {
			t.Fatalf("%s: %v", step.title, err)
		}
	}
	if err := w.merge(ctx, teller, "Break kubectl", map[string]string{"images/tools/kubectl.yaml": "apiVersion: tidewaiter/v1\nkind: Image\nmetadata:\n  name: kubectl\nspec:\n  sumary: <b>\n"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		i, ok := w.daemon.Store().Find("kubectl")
		return ok && ready(i.Status) == "InvalidSpec"
	})

	parrot := strings.Replace(greeterSpec(w, "1.0", "compatible-fix", "", "Says it again."), "name: greeter", "name: parrot", 1)
	for number, spec := range map[int]string{90: parrot, 91: strings.Replace(parrot, "mode: ", "mood: ", 1)} {
		if _, err := w.propose(ctx, teller, number, fmt.Sprintf("Add parrot %d", number), map[string]string{"images/demo/parrot.yaml": spec}); err != nil {
			t.Fatal(err)
		}
	}

	b := newTab(t, w.pageURL)
	run := func(name string, test func(*tab)) {
		t.Run(name, func(t *testing.T) {
			here := &tab{TB: t, ctx: b.ctx, url: b.url}
			test(here)
		})
	}
	run("search", func(b *tab) {
		b.open("/")
		b.wants("8 found", "Go builder", "UpgradeContradicted")
		b.do(chromedp.SendKeys(`input[name=q]`, "toolchain"+kb.Enter), chromedp.WaitVisible(`input[value=toolchain]`))
		b.wants("1 found", "go-builder")
		var title string
		if b.do(chromedp.Title(&title)); title != "toolchain – images – tidewaiter" {
			b.Errorf("the title is %q", title)
		}
	})
	run("filter", func(b *tab) {
		b.open("/")
		b.do(chromedp.SetValue(`select[name=category]`, "tools"), chromedp.SetValue(`select[name=state]`, "False"), chromedp.Click(`form.find button`), chromedp.WaitReady(`option[value=False][selected]`))
		if shown := b.text(); !strings.Contains(shown, "site-preview") || strings.Contains(shown, "go-builder") {
			b.Errorf("the filter shows:\n%s", shown)
		}
	})
	run("keyboard", func(b *tab) {
		b.open("/")
		b.do(chromedp.KeyEvent(kb.Tab))
		var focused string
		if b.eval(`document.activeElement.textContent`, &focused); focused != "to the content" {
			b.Errorf("the first stop is %q", focused)
		}
		b.do(chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab))
		var inside bool
		if b.eval(`document.activeElement.matches("#content *")`, &inside); !inside {
			b.Error("from there the next stop is not in the content")
		}
	})
	run("image", func(b *tab) {
		b.open("/images/go-builder")
		b.wants("Go builder", "Build team", "latest", "docker run --rm", "FROM golang:1.26-bookworm", "linux/arm64", "approved by", "A reviewer", "as the commit says")
		var size int
		if b.eval(`document.querySelector(".title img").naturalWidth`, &size); size == 0 {
			b.Error("the logo is not shown")
		}
		b.open("/images/node-builder")
		b.wants("dockerfiles/node-builder.Dockerfile", "FROM")
	})
	run("copy", func(b *tab) {
		b.open("/images/go-builder")
		var reference, copied string
		b.do(chromedp.Text(`ul.channels .ref`, &reference), chromedp.Click(`ul.channels button.copy`), chromedp.WaitVisible(`//button[text()="copied"]`))
		if b.eval(`navigator.clipboard.readText()`, &copied); copied != reference || !strings.Contains(copied, "@sha256:") {
			b.Errorf("copied %q, want %q", copied, reference)
		}
	})
	run("a release in flight", func(b *tab) {
		b.open("/images/greeter")
		b.wants("In flight: compatible-fix", "submitted", "pull verified", "stands still", "released", "UpgradeContradicted", "platform-removed", "accept:")
		var at string
		if b.eval(`document.querySelector("[aria-current=step]").className`, &at); at != "stuck" {
			b.Errorf("the step it is at is %q", at)
		}
	})
	run("what fails now", func(b *tab) {
		b.open("/failing")
		b.wants("UpgradeContradicted", "greeter", "declare the mode that is right", "InvalidSpec", "images/tools/kubectl.yaml:6:3:")
	})
	run("pull requests", func(b *tab) {
		b.open("/reviews")
		b.wants("Add parrot 90", "releases parrot 1.0.0", "success", "failure", "greeter 1.1.1 is released")
		b.do(chromedp.Click(`a[href="/reviews/90"]`), chromedp.WaitVisible(`ul.findings`))
		b.wants("Pull request 90", "✔ parrot 1.0.0 (compatible-fix)", "latest becomes 1.0.0", "linux/arm64", "pin: ")
		b.open("/reviews/91")
		b.wants("images/demo/parrot.yaml:13:5: unknown field \"mood\"")
	})
	run("without scripts", func(b *tab) {
		b.do(emulation.SetScriptExecutionDisabled(true))
		b.open("/?q=toolchain")
		b.do(chromedp.Click(`ul.images a`), chromedp.WaitVisible(`ul.channels`))
		b.wants("docker, Kubernetes, GitLab CI and GitHub Actions", "@sha256:")
		var buttons int
		if b.eval(`document.querySelectorAll("button").length`, &buttons); buttons > 0 {
			b.Errorf("%d buttons do nothing", buttons)
		}
		b.do(emulation.SetScriptExecutionDisabled(false))
	})
	run("an error", func(b *tab) {
		b.open("/images/nothing")
		b.wants("Not Found", "no image of this name", "Show all images")
	})

	pages := map[string]string{
		"list": "/", "search": "/?q=go&category=build", "nothing-found": "/?q=nothing", "image": "/images/go-builder", "dockerfile": "/images/node-builder",
		"in-flight": "/images/greeter", "invalid": "/images/kubectl", "failing": "/failing", "error": "/nowhere",
		"reviews": "/reviews", "review-good": "/reviews/90", "review-bad": "/reviews/91",
	}
	run("looks", func(b *tab) {
		axe := axeCore(b.TB)
		widths, schemes := []int64{390, 1280}, []string{"light", "dark"}
		if testing.Short() { // each page once
			widths, schemes = widths[:1], schemes[:1]
		}
		for _, width := range widths {
			for _, scheme := range schemes {
				b.do(chromedp.EmulateViewport(width, 844), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
				for name, path := range pages {
					b.open(path)
					b.eval(`document.querySelectorAll("details").forEach(d => d.open = true)`, nil)
					name := fmt.Sprintf("%s-%s-%d", name, scheme, width)
					b.screenshot(name)
					var wide int64
					if b.eval(`document.documentElement.scrollWidth`, &wide); wide > width {
						b.Errorf("%s is %d pixels wide", name, wide)
					}
					if axe != "" {
						b.audit(axe, name)
					}
				}
			}
		}
		if axe == "" {
			b.Skip("TIDEWAITER_TEST_AXE does not name the script of axe-core")
		}
	})

	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.requests) < len(pages) {
		t.Errorf("only %d requests were seen", len(b.requests))
	}
	for _, url := range b.requests {
		if !strings.HasPrefix(url, w.pageURL+"/") {
			t.Errorf("the browser asked for %s", url)
		}
	}
	for _, text := range b.errors {
		if !strings.Contains(text, "/nothing: ") && !strings.Contains(text, "/nowhere: ") { // those are not there
			t.Errorf("the browser complains: %s", text)
		}
	}
}

// axeCore is the script of axe-core, empty where it is not there and need not be.
func axeCore(t testing.TB) string {
	file := os.Getenv("TIDEWAITER_TEST_AXE")
	if file == "" {
		if os.Getenv("TIDEWAITER_TEST_REQUIRE") != "" {
			t.Fatal("TIDEWAITER_TEST_AXE does not name the script of axe-core")
		}
		return ""
	}
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}

// audit runs all rules of axe-core, those of WCAG AA and its best practices.
func (b *tab) audit(axe, name string) {
	b.Helper()
	b.eval(axe+"; 0", nil)
	var found []struct {
		ID, Help string
		Nodes    []struct{ HTML, FailureSummary string }
	}
	b.eval(`axe.run().then(r => { if (!r.passes.length) throw "nothing was looked at"; return r.violations })`, &found)
	for _, v := range found {
		nodes, _ := json.MarshalIndent(v.Nodes, "", "  ")
		b.Errorf("%s: %s: %s\n%s", name, v.ID, v.Help, nodes)
	}
}

// screenshot writes a picture of the whole page into the directory that TIDEWAITER_TEST_SCREENSHOTS names, if it does.
func (b *tab) screenshot(name string) {
	b.Helper()
	dir := os.Getenv("TIDEWAITER_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	var picture []byte
	b.do(chromedp.FullScreenshot(&picture, 100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o666); err != nil {
		b.Fatal(err)
	}
}

// eventually waits for what a daemon of this process does.
func eventually(t testing.TB, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}
