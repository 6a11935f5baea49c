package review

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A forge that takes a request and never answers costs 15 seconds, and no more where the caller sets no bound.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte("token"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{kindGitHub, kindGitLab, kindGitea} {
			forge, err := NewForge(ForgeOptions{Kind: kind, API: "http://localhost", Repository: "https://git.acme.dev/acme/catalog", Branch: "main", TokenFile: file})
			if err != nil {
				t.Fatal(err)
			}
			var d *door
			switch f := forge.(type) {
			case *github:
				d = f.door
			case *gitlab:
				d = f.door
			case *gitea:
				d = f.door
			}
			d.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, there) }()
				return here, nil
			}
			began := time.Now()
			err = forge.Comment(context.Background(), 7, "body")
			if !errors.Is(err, ErrForgeUnavailable) || !strings.Contains(err.Error(), "does not answer in time") || time.Since(began) != 15*time.Second {
				t.Errorf("%s: after %s, got error %v", kind, time.Since(began), err)
			}
			d.transport.CloseIdleConnections()
		}
	})
}

// What is remembered has a bound, and forgetting costs a look.
func TestMemory(t *testing.T) {
	m := map[int]int{}
	for i := range 10 * maxRemembered {
		remember(m, i, i)
		if len(m) > maxRemembered || m[i] != i {
			t.Fatalf("%d are remembered after %d", len(m), i)
		}
	}
}

// Only a link to a page is passed on.
func TestWebLink(t *testing.T) {
	for link, fine := range map[string]bool{
		"https://github.com/acme/catalog/pull/3":            true,
		"http://127.0.0.1:3000/acme/catalog/pulls/3":        true,
		"http://git.acme.dev/acme/catalog/pulls/3":          false,
		"javascript:alert(1)":                               false,
		"https://user:password@git.acme.dev/x":              false,
		"https://git.acme.dev/a b":                          true,
		"https://git.acme.dev/a\nb":                         false,
		"https://git.acme.dev/" + strings.Repeat("x", 1000): false,
		"//git.acme.dev/x":                                  false,
	} {
		if got := webLink(link); (got == link) != fine || !fine && got != "" {
			t.Errorf("%q becomes %q", link, got)
		}
	}
}
