package registry

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidewaiter/reconcile/release"
)

// answeredBy is how a registry's door takes an answer that is written to it in memory, so that time can be made up: what was
// read, how long that took, and the error of the request or of its body.
func answeredBy(t *testing.T, path string, answer func(net.Conn)) (read int64, took time.Duration, err error) {
	t.Helper()
	client := New(Options{Timeout: time.Minute})
	r, _, err := client.remote(t.Context(), Query{
		Image:    release.Image{Reference: release.Reference{Registry: "registry.acme.dev", Repository: "ci/app", Tag: "1"}},
		Registry: release.Registry{PlainHTTP: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	var answering sync.WaitGroup
	defer answering.Wait()
	defer r.door.transport.CloseIdleConnections()
	r.door.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		answering.Go(func() {
			defer there.Close()
			if _, err := http.ReadRequest(bufio.NewReader(there)); err != nil {
				t.Error(err)
			}
			answer(there)
		})
		return here, nil
	}
	start := time.Now()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://registry.acme.dev"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.door.RoundTrip(req)
	if err == nil {
		read, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return read, time.Since(start), err
}

// TestASilentRegistryIsLeft: whoever says nothing is waited for until the timeout and no longer.
func TestASilentRegistryIsLeft(t *testing.T) {
	for name, said := range map[string]string{
		"nothing": "", "half a header": "HTTP/1.1 200 OK\r\nContent-Length: 1", "a header": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			_, took, err := answeredBy(t, "/v2/ci/app/manifests/1", func(conn net.Conn) {
				_, _ = io.WriteString(conn, said)
				_, _ = io.Copy(io.Discard, conn)
			})
			if refusal := AsRefusal(err); refusal == nil || refusal.Reason != release.RegistryUnavailable || took != time.Minute {
				t.Errorf("%s was said: %v after %s", name, err, took)
			}
		})
	}
}

// TestAnAnswerKeepsUpAPace: a body may take as long as it is, and one that trickles is cut.
func TestAnAnswerKeepsUpAPace(t *testing.T) {
	const seconds = 200
	for _, test := range []struct {
		aSecond int
		cut     bool
	}{
		{1, true}, {slowest / 4, true}, {slowest, false}, {4 * slowest, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			read, took, err := answeredBy(t, "/v2/ci/app/blobs/sha256:0", func(conn net.Conn) {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", seconds*test.aSecond)
				for range seconds {
					time.Sleep(time.Second)
					if _, err := conn.Write(make([]byte, test.aSecond)); err != nil {
						return
					}
				}
			})
			refusal := AsRefusal(err)
			switch {
			case !test.cut && (err != nil || read != int64(seconds*test.aSecond)):
				t.Errorf("%d bytes a second: %d were read in %s, then %v", test.aSecond, read, took, err)
			case test.cut && (refusal == nil || refusal.Reason != release.RegistryUnavailable || took > 90*time.Second):
				t.Errorf("%d bytes a second: %v after %s", test.aSecond, err, took)
			}
		})
	}
}

// TestAnAnswerEndsAtItsBound: more than an answer may be is not read, and is what its path says.
func TestAnAnswerEndsAtItsBound(t *testing.T) {
	for _, test := range []struct {
		path  string
		bound int64
		want  release.Reason
	}{
		{"/v2/ci/app/manifests/1", maxManifest, release.ManifestInvalid},
		{"/token", maxOther, release.RegistryUnavailable},
	} {
		for _, more := range []int64{0, 1} {
			synctest.Test(t, func(t *testing.T) {
				read, _, err := answeredBy(t, test.path, func(conn net.Conn) {
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", test.bound+more)
					_, _ = conn.Write(bytes.Repeat([]byte("x"), int(test.bound+more)))
				})
				refusal := AsRefusal(err)
				switch {
				case more == 0 && (err != nil || read != test.bound):
					t.Errorf("%s: %d bytes were read, then %v", test.path, read, err)
				case more > 0 && (refusal == nil || refusal.Reason != test.want || read > test.bound):
					t.Errorf("%s: %d bytes were read, then %v", test.path, read, err)
				}
			})
		}
	}
	d := door{host: "registry.acme.dev"}
	for address, want := range map[string]int64{
		"https://registry.acme.dev/v2/ci/app/blobs/sha256:0": math.MaxInt64, // whoever reads it knows its size
		"https://auth.acme.dev/v2/ci/app/blobs/sha256:0":     maxOther,
		"https://auth.acme.dev/v2/ci/app/manifests/1":        maxOther,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := d.limit(u); got != want {
			t.Errorf("%s may answer with %d bytes, want %d", address, got, want)
		}
	}
}

// TestOnlyWhatIsAdmittedIsDialled: a realm that does not belong to the registry, and plain http where it speaks https, are
// refused before anybody is asked, whatever the addresses are.
func TestOnlyWhatIsAdmittedIsDialled(t *testing.T) {
	r, _, err := New(Options{}).remote(t.Context(), Query{
		Image: release.Image{Reference: release.Reference{Registry: "registry.acme.dev", Repository: "ci/app", Tag: "1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var dialled []string
	r.door.transport.DialContext = func(_ context.Context, _, addr string) (net.Conn, error) {
		dialled = append(dialled, addr)
		return nil, errors.New("nothing is there")
	}
	for _, address := range []string{
		"https://auth.acme.com/token", "https://acme.dev.evil.com/token", "https://10.0.0.1/token",
		"http://registry.acme.dev/v2/", "http://auth.acme.dev/token",
		"https://auth.acme.dev/token", "https://registry.acme.dev/v2/",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.door.RoundTrip(req); err == nil {
			t.Errorf("%s answers", address)
		}
	}
	if want := []string{"auth.acme.dev:443", "registry.acme.dev:443"}; !slices.Equal(dialled, want) {
		t.Errorf("dialled %v, want %v", dialled, want)
	}
}

// TestACredentialHelperIsNoPath: a file names a program that the operator installed, and no other.
func TestACredentialHelperIsNoPath(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("docker-credential-of", 0o777); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nprintf '{\"Username\":\"user\",\"Secret\":\"pass\"}'\n"
	if err := os.WriteFile("docker-credential-of/somebody", []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := fromDockerConfig(t.Context(), []byte(`{"credsStore": "of/somebody"}`), "a.dev"); err == nil {
		t.Error("a program in a directory was run")
	}
}

// TestGuardRanges has an address of each range that is refused outright, also with a zone, which is no part of an address.
func TestGuardRanges(t *testing.T) {
	for _, addr := range []string{
		"0.255.0.1", "192.0.0.8", "250.1.2.3", "::a00:1", "100::1", "2001::a00:1",
		"fd00:ec2::254%eth0", "fd20:ce::254%1", "100::1%eth0", "2002:a9fe:a9fe::%eth0",
		"64:ff9b::6464:64c8", "64:ff9b:1::a83f:8110", "2002:6464:64c8::",
	} {
		if guard(netip.MustParseAddr(addr), true) == "" {
			t.Errorf("%s may be dialled for a named host", addr)
		}
	}
	for _, addr := range []string{"fec0::1%eth0", "fd12::1%eth0", "64:ff9b::6440:1", "2002:c612:1::"} {
		if guard(netip.MustParseAddr(addr), false) == "" {
			t.Errorf("%s may be dialled for a stranger", addr)
		}
	}
}
