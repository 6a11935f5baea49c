package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regclient/regclient"
	"github.com/regclient/regclient/config"
	"github.com/regclient/regclient/scheme/reg"
	"golang.org/x/time/rate"

	"tidewaiter/reconcile/release"
)

// remoteKey is what makes two registries two: the same host under another credential, or named otherwise in the policy, shares
// no connection, no token and no fact with the first.
type remoteKey struct {
	host       string
	credential string // its name
	realms     string
	plainHTTP  bool
	listed     bool
}

// remote is one registry under one credential.
type remote struct {
	key         remoteKey
	door        *door
	concurrency int
	userAgent   string

	mu         sync.Mutex
	known      bool // how it is spoken to
	credential credential
	client     *regclient.RegClient // for that credential; it remembers tokens
}

// remote returns the registry of a query, and a client of it that shows the credential as it is in its file now.
func (c *Client) remote(ctx context.Context, q Query) (*remote, *regclient.RegClient, error) {
	shown, err := c.options.credential(ctx, q.Registry.Credentials, q.Image.Registry)
	if err != nil {
		return nil, nil, err
	}
	realms := slices.Sorted(slices.Values(q.Registry.Realms))
	key := remoteKey{
		host: q.Image.Registry, credential: q.Registry.Credentials, realms: strings.Join(realms, " "),
		plainHTTP: q.Registry.PlainHTTP, listed: q.Listed,
	}
	r, err := c.remotes.get(ctx, key, func() (*remote, int, error) {
		r, err := c.connect(key, realms)
		return r, 1, err
	})
	if err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known {
		if err := r.door.learn(ctx); err != nil {
			return nil, nil, err
		}
		r.known = true
	}
	if r.client == nil || r.credential != shown {
		r.credential, r.client = shown, r.login(shown, r.door)
	}
	return r, r.client, nil
}

// connect makes what is needed to speak to a registry, and speaks to nobody.
func (c *Client) connect(key remoteKey, realms []string) (*remote, error) {
	d := &door{
		host: key.host, realms: realms, listed: key.listed, plain: key.plainHTTP,
		proxy: c.options.Proxy, timeout: c.options.Timeout,
	}
	if key.host == release.DockerHub {
		d.host = config.DockerRegistryDNS
	}
	label := others
	if key.listed {
		label = key.host
		c.metrics.registry(label)
	}
	d.count = func(status int, took time.Duration) { c.metrics.count(label, status, took) }
	d.quieted = func(wait time.Duration) { c.metrics.quieted.WithLabelValues(label).Add(wait.Seconds()) }
	d.quota = func(left float64) {
		if key.listed {
			c.metrics.quota.WithLabelValues(label).Set(left)
		}
	}
	d.breaker = breaker{now: time.Now, changed: func(open bool) {
		log := c.options.Log.With("registry", key.host, "credential", key.credential)
		if open {
			c.metrics.broken.WithLabelValues(label).Inc()
			log.Warn("registry does not answer and is left alone for a while")
		} else {
			c.metrics.broken.WithLabelValues(label).Dec()
			log.Info("registry answers again")
		}
	}}
	d.budget = rate.NewLimiter(rate.Limit(c.options.Rate), int(2*c.options.Rate)+1)
	if c.options.Rate == 0 || loopback(d.host) {
		d.budget = rate.NewLimiter(rate.Inf, 0)
	}
	trusted, err := c.options.Trusted()
	if err != nil {
		return nil, err
	}
	d.open(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted}, c.options.PerRegistry)
	return &remote{key: key, door: d, concurrency: c.options.PerRegistry, userAgent: c.options.UserAgent}, nil
}

// Trusted are the certificates that registries have to be signed by, read from CAFile; nil is the system's alone.
func (o Options) Trusted() (*x509.CertPool, error) {
	if o.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA file: %w", err)
	}
	trusted, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificates: %w", err)
	}
	if !trusted.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading the CA file %s: there is no certificate in it", o.CAFile)
	}
	return trusted, nil
}

// login makes a client that shows a credential, by way of the registry's door. The library is told to try once and never to sleep; waiting is for whoever
// asked. It keeps one token per repository, so that no token is good for more than was asked for.
func (r *remote) login(shown credential, door http.RoundTripper) *regclient.RegClient {
	host := config.Host{
		Name: r.key.host, Hostname: r.door.host, TLS: config.TLSEnabled,
		User: shown.user, Pass: shown.password, Token: shown.token,
		RepoAuth: true, ReqConcurrent: int64(r.concurrency),
	}
	if r.door.plain {
		host.TLS = config.TLSDisabled
	}
	return regclient.New(
		regclient.WithConfigHost(host),
		regclient.WithUserAgent(r.userAgent),
		regclient.WithRegOpts(
			reg.WithHTTPClient(&http.Client{Transport: door}),
			reg.WithRetryLimit(1),
			reg.WithDelay(time.Nanosecond, time.Nanosecond),
			reg.WithManifestMax(0, maxManifest),
		),
	)
}

// adopt makes a client that worked the one that is used from now on.
func (r *remote) adopt(shown credential, client *regclient.RegClient) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.credential, r.client = shown, client
}

// loopback says whether a name means this machine without asking a resolver.
func loopback(hostport string) bool {
	host := hostOnly(hostport)
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// learn finds out how a registry is spoken to: one on this machine as Docker does, in TLS where it answers in TLS, in plain
// http otherwise; all others as the policy has it.
func (d *door) learn(ctx context.Context) error {
	if d.plain || !loopback(d.host) {
		return nil
	}
	probe, err := d.breaker.admit()
	if err != nil {
		return err
	}
	d.plain, err = d.speaksHTTP(ctx)
	d.breaker.settle(probe, err)
	return err
}

// speaksHTTP asks for TLS and sees whether the answer is in plain http.
func (d *door) speaksHTTP(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.dial(ctx, "tcp", withPort(&url.URL{Scheme: "https", Host: d.host}))
	if err != nil {
		return false, unreachable(err)
	}
	defer conn.Close()
	// Nothing is sent after the handshake, so it does not matter yet whom the certificate is for.
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	var answer tls.RecordHeaderError
	return errors.As(err, &answer), nil
}
