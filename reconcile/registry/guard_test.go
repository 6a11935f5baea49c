package registry

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidewaiter/reconcile/release"
)

// TestGuard lists the addresses that a name in a spec could resolve to.
func TestGuard(t *testing.T) {
	for _, test := range []struct {
		addr           string
		strange, named bool // may be dialled for a stranger, for a host that the policy names
	}{
		{"93.184.216.34", true, true},
		{"2606:2800:220:1::1", true, true},
		{"64:ff9b::5db8:d822", true, true}, // NAT64 of 93.184.216.34
		{"127.0.0.1", false, true},
		{"127.8.8.8", false, true},
		{"::1", false, true},
		{"::ffff:127.0.0.1", false, true},
		{"64:ff9b::7f00:1", false, true},
		{"2002:7f00:1::", false, true},
		{"10.1.2.3", false, true},
		{"172.16.0.1", false, true},
		{"172.32.0.1", true, true},
		{"192.168.1.1", false, true},
		{"::ffff:192.168.1.1", false, true},
		{"2002:c0a8:101::1", false, true},
		{"64:ff9b:1::c0a8:101", false, true},
		{"100.64.0.1", false, true},
		{"198.18.0.1", false, true},
		{"fd12:3456::1", false, true},
		{"fec0::1", false, true},
		{"169.254.169.254", false, false},
		{"::ffff:169.254.169.254", false, false},
		{"64:ff9b::a9fe:a9fe", false, false},
		{"2002:a9fe:a9fe::", false, false},
		{"169.254.0.1", false, false},
		{"fe80::1", false, false},
		{"fe80::1%lo", false, false},
		{"fd00:ec2::254", false, false},
		{"fd00:ec2::254%lo", false, false},
		{"fd20:ce::254", false, false},
		{"100.100.100.200", false, false},
		{"168.63.129.16", false, false},
		{"192.0.0.192", false, false},
		{"0.0.0.0", false, false},
		{"0.1.2.3", false, false},
		{"::", false, false},
		{"::7f00:1", false, false},
		{"::ffff:0.0.0.0", false, false},
		{"2001:0:1::1", false, false},
		{"224.0.0.1", false, false},
		{"255.255.255.255", false, false},
		{"ff02::1", false, false},
		{"240.0.0.1", false, false},
	} {
		addr := netip.MustParseAddr(test.addr)
		if strange := guard(addr, false) == ""; strange != test.strange {
			t.Errorf("%s may be dialled for a stranger: %t", addr, strange)
		}
		if named := guard(addr, true) == ""; named != test.named {
			t.Errorf("%s may be dialled for a named host: %t", addr, named)
		}
	}
}

// TestDial: what is checked is the address that a name resolved to, and only the host that was named gets more.
func TestDial(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for _, test := range []struct {
		door  *door
		addr  string
		opens bool
	}{
		{&door{host: "localhost:" + port, listed: true}, "localhost:" + port, true},
		{&door{host: "localhost:" + port}, "localhost:" + port, false},
		{&door{host: "registry.acme.dev", listed: true}, "localhost:" + port, false},
		{&door{host: "registry.acme.dev", listed: true, realms: []string{"localhost"}}, "localhost:" + port, true},
		{&door{host: "registry.acme.dev", listed: true, realms: []string{"localhost:" + port}}, "localhost:" + port, true},
		{&door{host: "registry.acme.dev", realms: []string{"localhost"}}, "localhost:" + port, false},
		{&door{host: "127.0.0.1:1", listed: true}, "127.0.0.1:" + port, false}, // another port is another host
		{&door{host: "127.0.0.1:" + port, listed: true}, "[::ffff:127.0.0.1]:" + port, false},
		{&door{host: "[::ffff:127.0.0.1]:" + port, listed: true}, "[::ffff:127.0.0.1]:" + port, true},
	} {
		test.door.timeout = time.Second
		conn, err := test.door.dial(t.Context(), "tcp", test.addr)
		if err == nil {
			conn.Close()
		}
		var refusal *Refusal
		switch {
		case test.opens && err != nil:
			t.Errorf("%s for %s: %v", test.addr, test.door.host, err)
		case !test.opens && (!errors.As(err, &refusal) || refusal.Reason != release.RegistryNotAllowed):
			t.Errorf("%s for %s: %v", test.addr, test.door.host, err)
		}
	}
}

// TestBelongs is about which token servers are shown a credential.
func TestBelongs(t *testing.T) {
	for _, test := range []struct {
		registry, realm string
		realms          []string
		want            bool
	}{
		{"registry-1.docker.io", "https://auth.docker.io/token", nil, true},
		{"ghcr.io", "https://ghcr.io/token", nil, true},
		{"registry.acme.dev:5000", "https://registry.acme.dev/token", nil, true},
		{"registry.acme.dev", "https://AUTH.acme.dev/token", nil, true},
		{"registry.acme.dev", "https://auth.acme.com/token", nil, false},
		{"registry.acme.dev", "https://auth.acme.com/token", []string{"auth.acme.com"}, true},
		{"registry.acme.dev", "https://auth.acme.com:444/token", []string{"auth.acme.com:443"}, false},
		{"registry.acme.dev", "https://registry.acme.dev.evil.com/", nil, false},
		{"registry.acme.dev", "https://evilacme.dev/", nil, false},
		{"one.github.io", "https://two.github.io/", nil, false}, // a public suffix is nobody's domain
		{"one.co.uk", "https://two.co.uk/", nil, false},
		{"10.0.0.1", "https://20.0.0.1/", nil, false}, // and 0.1 is no domain at all
		{"10.0.0.1:5000", "https://10.0.0.1:5001/", nil, true},
		{"registry", "https://other/", nil, false},
		{"registry.acme.dev", "https://registry.acme.dev@evil.com/", nil, false},
		{"registry.acme.dev", "https://аcme.dev/", nil, false}, // a Cyrillic а
		{"registry.acme.dev", "https://auth。acme。dev/", nil, false},
	} {
		u, err := url.Parse(test.realm)
		if err != nil {
			t.Fatal(err)
		}
		d := door{host: test.registry, realms: test.realms, timeout: time.Second, count: func(int, time.Duration) {}}
		if got := d.belongs(u); got != test.want {
			t.Errorf("%s belongs to %s: %t", test.realm, test.registry, got)
		}
		for _, scheme := range []string{"https", "http"} {
			if u.Scheme = scheme; scheme == "https" && test.want {
				continue
			}
			d.open(nil, 1)
			_, err = d.RoundTrip((&http.Request{Method: http.MethodGet, URL: u}).WithContext(t.Context()))
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Reason != release.RegistryNotAllowed {
				t.Errorf("%s was asked for %s: %v", u, test.registry, err)
			}
		}
	}
}

// TestUnreachable tells the registry's failures from ours.
func TestUnreachable(t *testing.T) {
	for _, test := range []struct {
		err  error
		want release.Reason
	}{
		{&net.DNSError{Err: "no such host", IsNotFound: true}, release.RegistryUnavailable},
		{&net.DNSError{Err: "server misbehaving", IsTemporary: true}, release.RegistryUnavailable},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true}, release.InternalError},
		{&net.DNSError{Err: "read udp: connection refused"}, release.InternalError},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, release.RegistryUnavailable},
		{&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, release.RegistryUnavailable},
		{&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, release.InternalError},
		{&net.OpError{Op: "dial", Err: syscall.EMFILE}, release.InternalError},
		{&url.Error{Op: "Get", Err: refuse(release.RegistryNotAllowed, "guarded")}, release.RegistryNotAllowed},
	} {
		if got := unreachable(test.err).Reason; got != test.want {
			t.Errorf("%v: %s, want %s", test.err, got, test.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"3":                             3 * time.Second,
		"-3":                            0,
		"soon":                          0,
		"999999999":                     time.Hour,
		"99999999999999999999":          0,
		"Sun, 01 Nov 2026 12:00:07 GMT": 7 * time.Second,
		"Sun, 01 Nov 2026 11:00:00 GMT": 0,
		"Sun, 01 Nov 2099 12:00:00 GMT": time.Hour,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestProxy: a proxy is the operator's and may be anywhere; what cannot be checked through it is not asked.
func TestProxy(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "10.0.0.3:3128"}
	for _, test := range []struct {
		url    string
		listed bool
		want   bool
	}{
		{"https://registry.acme.dev/v2/", true, true},
		{"https://auth.acme.dev/token", true, true},
		{"https://cdn.example.com/blob", true, false},
		{"https://registry.acme.dev/v2/", false, false},
	} {
		d := door{host: "registry.acme.dev", listed: test.listed, proxy: func(*http.Request) (*url.URL, error) { return proxy, nil }}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := d.pickProxy(req)
		if (err == nil) != test.want || test.want && u != proxy {
			t.Errorf("%s, listed %t: %v, %v", test.url, test.listed, u, err)
		}
		if _, dialled := d.proxies.Load("10.0.0.3:3128"); dialled != test.want {
			t.Errorf("%s, listed %t: the proxy may be dialled: %t", test.url, test.listed, dialled)
		}
	}
}

// TestCredentialHelper asks real programs, in the order of the docker client.
func TestCredentialHelper(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	for name, script := range map[string]string{
		"cloud":    `read host; printf '{"ServerURL":"%s","Username":"cloud","Secret":"of %s"}' "$host" "$host"`,
		"vault":    `[ "$1" = get ] && printf '{"Username":"<token>","Secret":"identity"}'`,
		"sulking":  `echo swordfish; echo swordfish >&2; exit 1`,
		"silent":   `exit 0`,
		"endless":  `yes swordfish | head -c 50000000`,
		"odd name": `printf '{"Username":"u","Secret":"swordfish"}'`,
		"deaf":     `trap '' PIPE; printf '{"Username":"u","Secret":"swordfish","More":"'; head -c 2000000 /dev/zero | tr '\0' x; printf '"}'`,
		"empty":    `echo credentials not found in native keychain; exit 1`,
	} {
		if err := os.WriteFile(filepath.Join(bin, "docker-credential-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const auths = `"auths": {"a.dev": {"auth": "dXNlcjpwYXNz"}, "docker.io": {"auth": "dXNlcjpwYXNz"}}`
	for _, test := range []struct {
		config, host string
		want         credential
		fails        bool
	}{
		{`{"credHelpers": {"a.dev": "cloud"}, "credsStore": "vault", ` + auths + `}`, "a.dev", credential{user: "cloud", password: "of a.dev"}, false},
		{`{"credHelpers": {"b.dev": "cloud"}, "credsStore": "vault", ` + auths + `}`, "a.dev", credential{token: "identity"}, false},
		{`{"credHelpers": {"b.dev": "cloud"}, ` + auths + `}`, "a.dev", credential{user: "user", password: "pass"}, false},
		{`{"credHelpers": {"b.dev": "cloud"}}`, "a.dev", credential{}, false},
		{`{"credsStore": "cloud"}`, "docker.io", credential{user: "cloud", password: "of https://index.docker.io/v1/"}, false},
		{`{"credsStore": "sulking"}`, "a.dev", credential{}, true},
		{`{"credsStore": "silent"}`, "a.dev", credential{}, true},
		{`{"credsStore": "endless"}`, "a.dev", credential{}, true},
		{`{"credsStore": "deaf"}`, "a.dev", credential{}, true},
		{`{"credsStore": "missing"}`, "a.dev", credential{}, true},
		{`{"credsStore": "empty", ` + auths + `}`, "a.dev", credential{}, false},
		{`{"credsStore": "../../bin/sh"}`, "a.dev", credential{}, true},
		{`{"credsStore": "odd name"}`, "a.dev", credential{}, true},
	} {
		got, err := fromDockerConfig(t.Context(), []byte(test.config), test.host)
		if got != test.want || (err != nil) != test.fails {
			t.Errorf("%s, %s: got user %q token %t, error %v", test.config, test.host, got.user, got.token != "", err)
		}
		if err != nil && strings.Contains(err.Error(), "swordfish") {
			t.Errorf("the error quotes what a helper printed: %v", err)
		}
	}
}

// TestCredentialHelperThatHangs: a helper that never answers costs one image a while, and its children none.
func TestCredentialHelperThatHangs(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	if err := errors.Join(
		os.WriteFile(filepath.Join(bin, "docker-credential-stuck"), []byte("#!/bin/sh\nsleep 20\necho '{\"Username\":\"late\",\"Secret\":\"late\"}'\n"), 0o755),
		os.Mkdir(filepath.Join(dir, "pull"), 0o755),
		os.WriteFile(filepath.Join(dir, "pull", ".dockerconfigjson"), []byte(`{"credsStore": "stuck"}`), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	options := Options{CredentialsDir: dir, Timeout: 100 * time.Millisecond}
	if got, err := options.credential(t.Context(), "pull", "a.dev"); err == nil || got != (credential{}) {
		t.Errorf("got user %q, error %v", got.user, err)
	}
}

// TestReadCredential reads what Kubernetes mounts.
func TestReadCredential(t *testing.T) {
	config := []byte(`{"auths": {
		"registry.acme.dev:5000": {"auth": "dXNlcjpwYXNzOndvcmQ="},
		"https://index.docker.io/v1/": {"username": "hub", "password": "pass"},
		"https://token.acme.dev": {"identitytoken": "long"},
		"mirror.acme.dev": {"username": "user", "password": "pass"},
		"broken.acme.dev": {"auth": "c2VjcmV0"}
	}}`)
	for host, want := range map[string]credential{
		"registry.acme.dev:5000": {user: "user", password: "pass:word"},
		"docker.io":              {user: "hub", password: "pass"},
		"token.acme.dev":         {token: "long"},
	} {
		if got, err := fromDockerConfig(t.Context(), config, host); err != nil || got != want {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"registry.acme.dev", "registry.acme.dev:5001", "acme.dev", "mirror.acme.dev:5000", "broken.acme.dev"} {
		if got, err := fromDockerConfig(t.Context(), config, host); err == nil && got != (credential{}) {
			t.Errorf("%s got a credential that is not its own", host)
		}
	}
}
