package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/publicsuffix"
	"golang.org/x/time/rate"

	"tidewaiter/reconcile/release"
)

// Bounds on what a registry may send.
const (
	maxManifest  = 4 << 20
	maxConfig    = 8 << 20
	maxOther     = 1 << 20  // tokens
	maxRedirects = 5        // for one request
	maxResumes   = 10       // of one blob
	slowest      = 64 << 10 // bytes a second, after the first timeout
	longestWait  = time.Hour
)

// door is the only way out to one registry, and everything that leaves or comes in passes here. Whatever asks for a request,
// be it a library that follows what a registry says, the door
//   - lets requests go to the registry and to token servers that belong to it or that the policy names, to nobody else;
//   - dials no address that guard refuses, whatever name it was resolved from;
//   - follows redirects itself, without credentials to another host and never from https to http;
//   - bounds each answer in size and time, from the first byte to the last;
//   - keeps quiet for as long as the registry asks it to, within a budget of requests otherwise, and leaves a registry alone
//     that does not answer.
//
// It turns every failure into a *Refusal, so that no meaning is lost on the way through a library.
type door struct {
	host    string   // host[:port] that requests for the registry go to
	realms  []string // hosts of token servers that the policy names, with or without a port
	listed  bool     // the policy names the registry
	plain   bool     // the registry speaks http
	proxy   func(*http.Request) (*url.URL, error)
	timeout time.Duration
	count   func(status int, took time.Duration) // of each answer; 0 where there was none
	quota   func(left float64)
	quieted func(time.Duration)
	breaker breaker
	budget  *rate.Limiter // of requests

	transport *http.Transport
	proxies   sync.Map // host:port of proxies that were picked; the operator's, so not guarded

	mu    sync.Mutex
	quiet time.Time // nothing is sent before
	why   release.Reason
}

// open makes the transport behind a door.
func (d *door) open(config *tls.Config, connections int) {
	d.transport = &http.Transport{
		Proxy:                  d.pickProxy,
		DialContext:            d.dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    d.timeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // digests are of the bytes as sent, and a bomb stays small
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// RoundTrip sends one request of the registry library. Its errors are refusals.
func (d *door) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.roundTrip(req)
	if err != nil && req.Body != nil {
		_ = req.Body.Close()
	}
	return resp, err
}

func (d *door) roundTrip(req *http.Request) (*http.Response, error) {
	if err := d.admit(req.URL); err != nil {
		return nil, err
	}
	if wait, why := d.wait(); wait > 0 {
		return nil, &Refusal{why, wait, errors.New("the registry asked not to be asked for a while")}
	}
	if err := d.budget.Wait(req.Context()); err != nil {
		return nil, unreachable(err)
	}
	probe, err := d.breaker.admit()
	if err != nil {
		return nil, err
	}
	resp, err := d.send(req)
	d.breaker.settle(probe, err)
	return resp, err
}

// send sends a request and holds the answer to its bounds.
func (d *door) send(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(d.timeout, func() {
		cancel(refuse(release.RegistryUnavailable, "%s does not answer in time", req.URL.Host))
	})
	resp, err := d.follow(req.Clone(ctx))
	if err == nil {
		err = d.judge(req, resp)
	}
	if err != nil {
		timer.Stop()
		defer cancel(nil)
		return nil, unreachable(cmp.Or(context.Cause(ctx), err)) // a dial says only that it was cancelled
	}
	limit, tooLong := d.limit(req.URL)
	resp.Request = req
	resp.Body = &body{
		ReadCloser: resp.Body, ctx: ctx, cancel: cancel, timer: timer, timeout: d.timeout,
		left: limit, tooLong: tooLong, until: time.Now().Add(d.timeout),
		rest: func(from int64) (io.ReadCloser, int64, error) {
			if req.Method != http.MethodGet || !d.isBlob(req.URL) {
				return nil, 0, errors.ErrUnsupported
			}
			return d.rest(req.Clone(ctx), from)
		},
	}
	return resp, nil
}

// rest asks for the rest of a blob whose answer was cut off, and says how many bytes come again: all that came before, where the
// registry does not know ranges and starts over.
func (d *door) rest(req *http.Request, from int64) (rest io.ReadCloser, again int64, err error) {
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	resp, err := d.follow(req)
	if err == nil {
		err = d.judge(req, resp)
	}
	if err != nil {
		return nil, 0, err
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return resp.Body, from, nil
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)):
		return resp.Body, 0, nil
	}
	_ = resp.Body.Close()
	return nil, 0, errors.ErrUnsupported
}

// admit says whether a request may be made at all, before anything is sent.
func (d *door) admit(u *url.URL) error {
	switch {
	case !d.belongs(u):
		return refuse(release.RegistryNotAllowed, "%s sends to the token server %s, which is neither on its domain nor in realms", d.host, u.Host)
	case u.Scheme != "https" && !d.plain:
		return refuse(release.RegistryNotAllowed, "%s sends to %s over plain http", d.host, u.Host)
	}
	return nil
}

// belongs says whether a host may be shown the registry's credential: the registry's own, one of the same registrable domain
// (which makes auth.docker.io belong to docker.io), or one that the policy names.
func (d *door) belongs(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	own := hostOnly(d.host)
	if host == own || d.names(u.Host) {
		return true
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	ownDomain, ownErr := publicsuffix.EffectiveTLDPlusOne(own)
	return err == nil && ownErr == nil && domain == ownDomain
}

// names says whether the policy's entry names a host[:port] outright: as the registry or, with or without its port, as one of
// its token servers.
func (d *door) names(hostport string) bool {
	hostport = strings.ToLower(hostport)
	return hostport == d.host || slices.Contains(d.realms, hostport) || slices.Contains(d.realms, hostOnly(hostport))
}

// follow sends a request and then whatever it is redirected to.
func (d *door) follow(req *http.Request) (*http.Response, error) {
	for range maxRedirects + 1 {
		start := time.Now()
		resp, err := d.transport.RoundTrip(req)
		if err != nil {
			d.count(0, time.Since(start))
			return nil, err
		}
		d.count(resp.StatusCode, time.Since(start))
		d.heed(req.URL, resp.Header)
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return resp, nil
		}
		to, err := resp.Location()
		discard(resp)
		if err != nil {
			return nil, refuse(release.RegistryUnavailable, "%s redirects to nowhere", req.URL.Host)
		}
		if req, err = redirected(req, to); err != nil {
			return nil, err
		}
	}
	return nil, refuse(release.RegistryUnavailable, "%s redirects more than %d times", d.host, maxRedirects)
}

// redirected is the request that a redirect asks for. Nothing that was meant for one host goes to another: no body, and only
// the headers that say what is wanted.
func redirected(req *http.Request, to *url.URL) (*http.Request, error) {
	switch {
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		return nil, refuse(release.RegistryNotAllowed, "%s redirects a %s", req.URL.Host, req.Method)
	case to.Scheme != "https" && (to.Scheme != "http" || req.URL.Scheme != "http"):
		return nil, refuse(release.RegistryNotAllowed, "%s redirects from %s to %s at %s", req.URL.Host, req.URL.Scheme, to.Scheme, to.Host)
	}
	next := req.Clone(req.Context())
	next.URL, next.Host = to, ""
	if to.Host != req.URL.Host || to.Scheme != req.URL.Scheme {
		next.Header = http.Header{}
		for _, name := range []string{"Accept", "Range", "User-Agent"} {
			if values := req.Header.Values(name); len(values) > 0 {
				next.Header[name] = values
			}
		}
	}
	return next, nil
}

// judge names the answers that speak of the registry and not of an image. The others (found, not found, denied) are for the
// library to understand, since it knows how to answer a challenge.
func (d *door) judge(req *http.Request, resp *http.Response) error {
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		return nil
	}
	discard(resp)
	from := resp.Request.URL.Host
	retryAfter := retryAfter(resp.Header, time.Now())
	resp.Header.Del("Retry-After") // the library would sleep
	switch {
	case status == http.StatusTooManyRequests:
		d.hush(retryAfter, release.RateLimited)
		return &Refusal{release.RateLimited, retryAfter, errors.New(from + " answers 429")}
	case status == http.StatusServiceUnavailable && retryAfter > 0:
		d.hush(retryAfter, release.RegistryUnavailable)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		if from != req.URL.Host {
			return refuse(release.AccessDenied, "%s, where %s redirects to, answers %d", from, req.URL.Host, status)
		}
		return nil
	case status == http.StatusNotFound:
		return nil
	}
	return &Refusal{release.RegistryUnavailable, retryAfter, errors.New(from + " answers " + strconv.Itoa(status))}
}

// limit is how many bytes may answer a request, and what is wrong with more. Layers are as long as their descriptors say;
// whoever reads them looks to that.
func (d *door) limit(u *url.URL) (int64, error) {
	switch {
	case d.isBlob(u):
		return math.MaxInt64, nil
	case u.Host == d.host && strings.Contains(u.Path, "/manifests/"):
		return maxManifest, refuse(release.ManifestInvalid, "the answer is longer than %d bytes", maxManifest)
	}
	return maxOther, refuse(release.RegistryUnavailable, "%s answers with more than %d bytes", u.Host, maxOther)
}

func (d *door) isBlob(u *url.URL) bool {
	return u.Host == d.host && strings.Contains(u.Path, "/blobs/")
}

// wait is how long the registry still wants to be left alone, and why: it limits requests, or is unavailable.
func (d *door) wait() (time.Duration, release.Reason) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Until(d.quiet), d.why
}

// hush keeps quiet for a while from now on, where that is longer than what was asked for before.
func (d *door) hush(wait time.Duration, why release.Reason) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if until := now.Add(wait); until.After(d.quiet) {
		from := d.quiet
		if from.Before(now) {
			from = now
		}
		d.quieted(until.Sub(from))
		d.quiet, d.why = until, why
	}
}

// heed reads what the registry says of its quota. Where nothing is left of it until a time that it gives, waiting costs less than
// being refused.
func (d *door) heed(u *url.URL, h http.Header) {
	if u.Host != d.host {
		return // the quota of another
	}
	left, reset, known := quotaOf(h)
	if !known {
		return
	}
	d.quota(float64(left))
	if left == 0 && reset > 0 {
		d.hush(min(reset, longestWait), release.RateLimited)
	}
}

// quotaOf reads how many requests a registry still allows, and how long that holds, 0 where it does not say: as Docker Hub writes
// it (RateLimit-Remaining: 76;w=21600), as drafts of the IETF do (RateLimit-Remaining and RateLimit-Reset; RateLimit: "default";r=0;t=30),
// or as GitHub does (X-RateLimit-Remaining).
func quotaOf(h http.Header) (left int, reset time.Duration, known bool) {
	remaining := h.Get("RateLimit-Remaining")
	seconds := h.Get("RateLimit-Reset")
	if remaining == "" {
		remaining = h.Get("X-RateLimit-Remaining") // whose reset is a date in other units, so it is not read
	}
	if remaining == "" {
		for part := range strings.SplitSeq(h.Get("RateLimit"), ";") {
			switch name, value, _ := strings.Cut(strings.TrimSpace(part), "="); name {
			case "r":
				remaining = value
			case "t":
				seconds = value
			}
		}
	}
	remaining, _, _ = strings.Cut(remaining, ";")
	count, err := strconv.ParseUint(strings.TrimSpace(remaining), 10, 31)
	if err != nil {
		return 0, 0, false
	}
	if s, err := strconv.ParseUint(strings.TrimSpace(seconds), 10, 31); err == nil {
		reset = time.Duration(s) * time.Second
	}
	return int(count), reset, true
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3), at most an hour.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, longestWait)
	}
	if date, err := http.ParseTime(text); err == nil {
		return min(max(date.Sub(now), 0), longestWait)
	}
	return 0
}

// pickProxy refuses to send through a proxy what guard could not check, unless the policy names it.
func (d *door) pickProxy(req *http.Request) (*url.URL, error) {
	if d.proxy == nil {
		return nil, nil
	}
	u, err := d.proxy(req)
	if u == nil || err != nil {
		return u, err
	}
	if !d.listed || !d.belongs(req.URL) {
		return nil, refuse(release.RegistryNotAllowed, "%s is reached through a proxy and is not named in the policy", req.URL.Host)
	}
	d.proxies.Store(withPort(u), true)
	return u, nil
}

// dial opens a connection after the guard has seen each address that a name resolves to, right before it is used.
func (d *door) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d.timeout, Resolver: &net.Resolver{PreferGo: true}}
	if _, operators := d.proxies.Load(addr); !operators {
		named := d.listed && (d.names(addr) || addr == withPort(&url.URL{Scheme: d.scheme(), Host: d.host}))
		dialer.Control = func(_, resolved string, _ syscall.RawConn) error {
			ip, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return refuse(release.InternalError, "dialling %s: %w", addr, err)
			}
			if why := guard(ip.Addr(), named); why != "" {
				return refuse(release.RegistryNotAllowed, "%s is at %s, which is %s", addr, ip.Addr(), why)
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, network, addr)
}

func (d *door) scheme() string {
	if d.plain {
		return "http"
	}
	return "https"
}

// withPort is the address that net/http dials for a URL.
func withPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// discard reads the rest of a short answer, so that its connection can be used again.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close()
	resp.Body = http.NoBody
}

// body is an answer on its way in. It must keep up a pace: a body that trickles is cut. One of a blob that breaks off is asked
// for again from there, as long as more comes each time.
type body struct {
	io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	timeout time.Duration
	left    int64     // bytes that it may still have
	tooLong error     // what is wrong with more
	until   time.Time // when it must have ended; each byte that comes moves it

	rest    func(from int64) (rest io.ReadCloser, again int64, err error)
	got     int64 // bytes so far
	again   int64 // bytes to come that came before
	resumed int64 // where it was resumed last
	resumes int
}

func (b *body) Read(p []byte) (int, error) {
	for {
		n, err := b.ReadCloser.Read(p)
		b.until = b.until.Add(time.Duration(n) * time.Second / slowest)
		b.timer.Reset(time.Until(b.until))
		again := min(int64(n), b.again)
		b.again -= again
		n = copy(p, p[again:n])
		if b.left -= int64(n); b.left < 0 {
			return 0, b.tooLong
		}
		b.got += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return n, err
		case n > 0 || err == nil && again == 0:
			return n, nil // an error comes again
		case err != nil && !b.resume():
			return 0, unreachable(cmp.Or(context.Cause(b.ctx), err))
		}
	}
}

// resume goes on with another answer where this one broke off, and reports whether it could.
func (b *body) resume() bool {
	if b.ctx.Err() != nil || b.got == b.resumed || b.resumes == maxResumes {
		return false
	}
	b.resumes, b.resumed = b.resumes+1, b.got
	b.until = time.Now().Add(b.timeout)
	b.timer.Reset(b.timeout)
	rest, again, err := b.rest(b.got)
	if err != nil {
		return false
	}
	_ = b.ReadCloser.Close()
	b.ReadCloser, b.again = rest, again
	return true
}

func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}
