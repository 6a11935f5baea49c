package gitrepo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// httpRemote speaks Git's smart protocol over http, where each request stands for itself.
type httpRemote struct {
	client       *http.Client
	user         string
	password     string // of the URL
	passwordFile string // read at every use

	mu   sync.Mutex
	base *url.URL       // without user and password; a redirect on the same host moves it
	skew *time.Duration // of this machine's clock against the server's, as of the last answer
}

func newHTTP(o Options, u *url.URL) (*httpRemote, error) {
	r := &httpRemote{user: o.Username, passwordFile: o.PasswordFile}
	if o.Username == "" && u.User != nil {
		r.user = u.User.Username()
	}
	if o.PasswordFile == "" && u.User != nil {
		r.password, _ = u.User.Password()
	}
	if r.passwordFile != "" && r.user == "" {
		r.user = "git" // servers that take tokens take any name
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCAFile, err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("reading the system's CA certificates: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: %s holds no PEM certificate", ErrCAFile, o.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	base := *u
	base.User, base.RawQuery, base.Fragment = nil, "", ""
	base.Path, base.RawPath = strings.TrimRight(base.Path, "/"), strings.TrimRight(base.RawPath, "/")
	r.base = &base
	r.client = &http.Client{Transport: transport, CheckRedirect: checkRedirect}
	return r, nil
}

// checkRedirect allows what moves a repository on its own host. Any other host might get to see a password, and would be
// written to without anybody having named it.
func checkRedirect(to *http.Request, via []*http.Request) error {
	from := via[len(via)-1].URL
	sameHost := to.URL.Host == from.Host && to.URL.Scheme == from.Scheme
	upgraded := to.URL.Hostname() == from.Hostname() && from.Scheme == "http" && to.URL.Scheme == "https"
	switch {
	case via[0].Method != http.MethodGet, !sameHost && !upgraded:
		return fmt.Errorf("the repository has moved to %s; use that URL", to.URL.Redacted())
	case len(via) >= 5:
		return errors.New("too many redirects")
	}
	return nil
}

func (r *httpRemote) close() { r.client.CloseIdleConnections() }

const infoRefs = "/info/refs"

func (r *httpRemote) advertise(ctx context.Context, program, version string) (io.ReadCloser, error) {
	answer, err := r.do(ctx, http.MethodGet, infoRefs, "service="+program, version, program+"-advertisement", nil)
	if err != nil {
		return nil, err
	}
	at := *answer.Request.URL
	at.RawQuery = ""
	if path, ok := strings.CutSuffix(at.Path, infoRefs); ok {
		at.Path, at.RawPath = path, strings.TrimSuffix(at.RawPath, infoRefs)
		r.mu.Lock()
		r.base = &at
		r.mu.Unlock()
	}
	return answer.Body, nil
}

func (r *httpRemote) call(ctx context.Context, program, version string, request []byte) (io.ReadCloser, error) {
	answer, err := r.do(ctx, http.MethodPost, "/"+program, "", version, program+"-result", request)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

func (r *httpRemote) do(ctx context.Context, method, path, query, version, wanted string, body []byte) (*http.Response, error) {
	r.mu.Lock()
	u := *r.base
	r.mu.Unlock()
	u.Path += path
	if u.RawPath != "" {
		u.RawPath += path
	}
	u.RawQuery = query
	request, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "git/tidewaiter") // some servers talk Git only to a git/
	if version != version0 {
		request.Header.Set("Git-Protocol", version)
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-"+strings.TrimPrefix(path, "/")+"-request")
		request.Header.Set("Accept", "application/x-"+wanted)
	}
	if err := r.authorize(request); err != nil {
		return nil, err
	}
	answer, err := r.client.Do(request)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) { // leave out the URL, the caller names it
			err = inner.Err
		}
		return nil, unavailable(ctx, err)
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		skew := time.Since(date)
		r.mu.Lock()
		r.skew = &skew
		r.mu.Unlock()
	}
	answer.Body = drained{answer.Body}
	if err := r.judge(answer, "application/x-"+wanted); err != nil {
		answer.Body.Close()
		return nil, err
	}
	return answer, nil
}

// drained is a body of which the little that nobody needs is read at the end, because then the connection can be used again.
type drained struct{ io.ReadCloser }

func (d drained) Close() error {
	_, _ = io.CopyN(io.Discard, d.ReadCloser, 4096)
	return d.ReadCloser.Close()
}

func (r *httpRemote) authorize(request *http.Request) error {
	password := r.password
	if r.passwordFile != "" {
		var err error
		if password, err = readSecret(r.passwordFile); err != nil {
			return err
		}
	}
	if r.user != "" || password != "" {
		request.SetBasicAuth(r.user, password)
	}
	return nil
}

func (r *httpRemote) judge(answer *http.Response, wanted string) error {
	said := ""
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain") {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		if s := printable(string(text)); s != "" {
			said = "; it says: " + s
		}
	}
	switch {
	case answer.StatusCode == http.StatusUnauthorized && r.user == "" && r.password == "":
		return fmt.Errorf("%w: the server asks for a user and a password%s", ErrAuth, said)
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: status %s%s", ErrAuth, answer.Status, said)
	case answer.StatusCode == http.StatusNotFound, answer.StatusCode == http.StatusGone:
		return fmt.Errorf("%w: status %s%s", ErrNotFound, answer.Status, said)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: status %s%s", ErrUnavailable, answer.Status, said)
	}
	if kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";"); kind != wanted {
		return fmt.Errorf("%w: there is no Git repository at this URL, only %q", ErrNotFound, printable(kind))
	}
	return nil
}
