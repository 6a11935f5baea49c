package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// BenchmarkPages loads a daemon, as a program of its own, that serves a catalog of 10,000 images, with wrk on the same machine: two
// threads and 16 connections for 5 s on each address. The same bytes as a static file of nginx are loaded in turn with it, so that
// the machine and the load are the same. Each is done three times, and every line is printed:
//
//	p50-ms, p99-ms    how long an answer takes
//	per-s             answers
//	MB                resident memory of the daemon afterwards
func BenchmarkPages(b *testing.B) {
	(&stage{TB: b}).require("wrk")
	(&stage{TB: b}).require("nginx")
	const size = 10_000
	c := newCrowd(b, size)
	d := startProgram(b, c.git.Repo(repoName), time.Hour)
	defer d.stop()
	awaits(b, 10*time.Minute, func() bool {
		answer, err := http.Get(d.page + "/api/v1/resolve/image-05000/latest")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil && answer.StatusCode == http.StatusOK && d.metric("tidewaiter_releases_total") == size
	})
	rest := d.memory("VmRSS")
	paths := map[string]string{
		"list": "/", "last": "/?page=200", "search": "/?q=image-09", "filter": "/?category=team-7&label=label-7&state=True", "image": "/images/image-05000", "failing": "/failing",
		"api": "/api/v1/images", "resolve": "/api/v1/resolve/image-05000/latest", "version": "/api/v1/resolve/image-05000/1.0.0",
	}
	root, nginx := startNginx(b)
	for name, path := range paths {
		answer, err := http.Get(d.page + path)
		if err != nil {
			b.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			b.Fatalf("%s: %d, %v", path, answer.StatusCode, err)
		}
		if err := os.WriteFile(filepath.Join(root, name), body, 0o666); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for round := range 3 {
					b.Logf("round %d, %6d bytes: nginx  %s", round+1, len(body), wrk(b, nginx+"/"+name))
					load := wrk(b, d.page+path)
					b.Logf("round %d, %6d bytes: daemon %s, %.0f MB", round+1, len(body), load, d.memory("VmRSS"))
					b.ReportMetric(load.p50, "p50-ms")
					b.ReportMetric(load.p99, "p99-ms")
					b.ReportMetric(load.rate, "per-s")
				}
				b.ReportMetric(d.memory("VmRSS"), "MB")
			}
		})
	}
	b.Logf("%.0f MB before the load, at most %.0f MB", rest, d.memory("VmHWM"))
}

// load is what wrk measured: milliseconds, and answers in a second.
type load struct{ p50, p99, rate float64 }

func (l load) String() string {
	return fmt.Sprintf("p50 %7.2f ms  p99 %7.2f ms  %7.0f/s", l.p50, l.p99, l.rate)
}

func wrk(b *testing.B, url string) load {
	b.Helper()
	out, err := exec.Command("wrk", "-t2", "-c16", "-d5s", "--latency", url).CombinedOutput()
	if err != nil || regexp.MustCompile(`Non-2xx|Socket errors`).Match(out) {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	figure := func(form string) float64 {
		m := regexp.MustCompile(form).FindSubmatch(out)
		if m == nil {
			b.Fatalf("wrk says nothing of %s:\n%s", form, out)
		}
		value, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			b.Fatal(err)
		}
		if len(m) > 2 {
			value *= map[string]float64{"us": 0.001, "ms": 1, "s": 1000}[string(m[2])]
		}
		return value
	}
	return load{figure(`50% +([0-9.]+)(us|ms|s)`), figure(`99% +([0-9.]+)(us|ms|s)`), figure(`Requests/sec: +([0-9.]+)`)}
}

// startNginx serves a directory of static files.
func startNginx(b *testing.B) (root, url string) {
	dir := b.TempDir()
	root = filepath.Join(dir, "root")
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that was free a moment ago
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	config := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error;
events {}
http { access_log off; default_type text/html; keepalive_requests 1000000; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
server { listen %[2]s; root %[1]s/root; } }
`, dir, address)
	file := filepath.Join(dir, "nginx.conf")
	for _, err := range []error{os.Mkdir(root, 0o755), os.WriteFile(file, []byte(config), 0o666)} {
		if err != nil {
			b.Fatal(err)
		}
	}
	cmd := exec.Command("nginx", "-c", file, "-p", dir)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	url = "http://" + address
	awaits(b, 10*time.Second, func() bool {
		answer, err := http.Get(url)
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
	return root, url
}
