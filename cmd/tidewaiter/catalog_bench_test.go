package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidewaiter/reconcile/gitrepo/gittest"
	"tidewaiter/reconcile/registry/registrytest"
)

// BenchmarkCatalog runs the daemon as a program of its own on catalogs of two sizes, each spec with an image of its own, over git
// http-backend and the embedded registry:
//
//	first-s     from the start of the program to all images released, on the server
//	rest-MB     resident memory of the program after that, and peak-MB the most it ever had
//	merged-ms   from the signal that hurries a poll to the release of one merged upgrade, on the server
//	restart-s   from a start with nothing new to the first good pass
//	quiet-ms    one pass without news
//	quiet-KB    what the Git server answers in one such pass
//
// What a pass costs follows what was merged: merged-ms and quiet-ms hardly differ between the two sizes.
func BenchmarkCatalog(b *testing.B) {
	for _, size := range []int{1_000, 10_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { benchmarkCatalog(b, size) })
	}
}

// crowd is a catalog of many images, each with an image of its own in a registry, and somebody who merges.
type crowd struct {
	git    *gittest.Server
	author *gittest.Author
	write  func(i int, tag, mode string) // pushes an image and writes the spec that asks for it
}

func newCrowd(b *testing.B, size int) crowd {
	git := gittest.NewServer(b)
	git.Create(repoName)
	registry, err := registrytest.Start(registrytest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { registry.Close() })
	push := func(name, tag string) {
		if _, err := registry.Push(b.Context(), "acme/"+name, tag, registrytest.Image{Seed: name + tag}); err != nil {
			b.Fatal(err)
		}
	}
	author := gittest.NewAuthor(b, git.Repo(repoName))
	write := func(i int, tag, mode string) {
		name := fmt.Sprintf("image-%05d", i)
		push(name, tag)
		// As many files in a folder as a catalog of teams has.
		author.Write(fmt.Sprintf("images/team-%03d/%s.yaml", i/100, name), fmt.Sprintf(`apiVersion: tidewaiter/v1
kind: Image
metadata:
  name: %[1]s
spec:
  summary: One of many images, with a summary as long as they are
  category: team-%[6]d
  labels: [linux, label-%[6]d]
  description: |
    %[4]s
  image:
    registry: "%[2]s"
    repository: acme/%[1]s
    tag: "%[3]s"
  upgrade:
    mode: %[5]s
    notes: What tag %[3]s changed.
`, name, registry.Host, tag, strings.Repeat("A description says what the image is for and how to use it. ", 10), mode, i%20))
	}
	author.Write("catalog.yaml", fmt.Sprintf("apiVersion: tidewaiter/v1\nkind: Catalog\nmetadata:\n  name: acme\nspec:\n  registries:\n    - host: %q\n", registry.Host))
	for i := range size {
		write(i, "1", "compatible-feature")
	}
	author.Commit("all images")
	author.Push()
	return crowd{git, author, write}
}

func benchmarkCatalog(b *testing.B, size int) {
	c := newCrowd(b, size)
	git, author, write := c.git, c.author, c.write
	for b.Loop() {
		gittest.Git(b, git.Dir(repoName), "update-ref", "-d", "refs/heads/status")
		start := time.Now()
		d := startProgram(b, git.Repo(repoName), time.Hour)
		awaits(b, 10*time.Minute, func() bool { return d.metric("tidewaiter_releases_total") == float64(size) })
		b.ReportMetric(time.Since(start).Seconds(), "first-s")
		b.ReportMetric(d.memory("VmRSS"), "rest-MB")
		b.ReportMetric(d.memory("VmHWM"), "peak-MB")

		const merges = 10
		var merged time.Duration
		for m := range merges {
			before := gittest.Git(b, git.Dir(repoName), "rev-parse", "status")
			write(m*size/merges, "2-"+strconv.Itoa(b.N)+"-"+strconv.Itoa(m)+"-"+strconv.FormatInt(start.UnixNano(), 36), "compatible-fix")
			author.Commit("one upgrade")
			author.Push()
			start := time.Now()
			d.signal(syscall.SIGHUP)
			awaits(b, time.Minute, func() bool { return gittest.Git(b, git.Dir(repoName), "rev-parse", "status") != before })
			merged += time.Since(start)
		}
		b.ReportMetric(float64(merged.Milliseconds())/merges, "merged-ms")
		d.stop()

		start = time.Now()
		d = startProgram(b, git.Repo(repoName), time.Nanosecond)
		passes := func() float64 { return d.metric("tidewaiter_passes_total") }
		awaits(b, time.Minute, func() bool { return passes() > 0 })
		b.ReportMetric(time.Since(start).Seconds(), "restart-s")
		var bytes int
		git.Fail("/git-upload-pack", gittest.Count(&bytes))
		from, start := passes(), time.Now()
		time.Sleep(3 * time.Second)
		did := passes() - from
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000/did, "quiet-ms")
		git.Heal()
		b.ReportMetric(float64(bytes)/1000/did, "quiet-KB")
		d.stop()
	}
}

// awaits polls until something holds.
func awaits(b *testing.B, patience time.Duration, holds func() bool) {
	b.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("in vain")
		}
	}
}

// program is a running daemon.
type program struct {
	b    *testing.B
	cmd  *exec.Cmd
	page string
}

// startProgram starts tidewaiter run and waits until it listens.
func startProgram(b *testing.B, repo string, interval time.Duration) *program {
	b.Helper()
	d := &program{b: b, cmd: exec.Command("tidewaiter", "run", "--repo", repo, "--interval", interval.String(),
		"--listen", "127.0.0.1:0", "--log-format", "json", "--cache-dir", b.TempDir())}
	log, err := d.cmd.StderrPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	for d.page == "" && lines.Scan() {
		var line struct{ Page string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			b.Fatalf("the daemon says %s", lines.Text())
		}
		d.page = line.Page
	}
	if d.page == "" {
		b.Fatal("the daemon ended before it listened")
	}
	go io.Copy(io.Discard, log)
	b.Cleanup(func() { d.cmd.Process.Kill() })
	return d
}

func (d *program) signal(s os.Signal) {
	d.b.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.b.Fatal(err)
	}
}

func (d *program) stop() {
	d.b.Helper()
	d.signal(syscall.SIGTERM)
	if err := d.cmd.Wait(); err != nil {
		d.b.Fatal(err)
	}
}

// metric is the sum over all series of one metric.
func (d *program) metric(name string) (sum float64) {
	d.b.Helper()
	resp, err := http.Get(d.page + "/metrics")
	if err != nil {
		d.b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.b.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{.*\})? (.*)$`).FindAllSubmatch(text, -1) {
		value, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			d.b.Fatal(err)
		}
		sum += value
	}
	return sum
}

// memory is one of the figures that Linux tells of a program, in MB.
func (d *program) memory(figure string) float64 {
	d.b.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(d.cmd.Process.Pid), "status"))
	if err != nil {
		d.b.Skip(err)
	}
	_, after, _ := bytes.Cut(status, []byte(figure+":"))
	kilobytes, err := strconv.ParseFloat(strings.Fields(string(after))[0], 64)
	if err != nil {
		d.b.Fatal(err)
	}
	return kilobytes / 1000
}
