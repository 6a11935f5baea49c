package review

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds on what a forge may answer.
const (
	requestTimeout = 15 * time.Second
	maxAnswer      = 16 << 20 // Gitea sends all comments of a pull request at once
	maxComplaint   = 8 << 10
	longestQuiet   = time.Hour
	shortestQuiet  = time.Minute // where a forge limits requests and does not say for how long, as GitHub's documentation asks
)

// door is the only way out to a forge's API, whatever its library asks for. It
//   - sends to the API's host and no other, so that redirects take the token nowhere;
//   - reads the token for each request;
//   - bounds each answer in size and time;
//   - keeps quiet for as long as the forge asks it to;
//   - turns each failure into an error that quotes no token.
type door struct {
	api       *url.URL
	transport *http.Transport
	metrics   *forgeMetrics

	mu    sync.Mutex
	quiet time.Time // nothing is sent before
}

func newDoor(api *url.URL, caFile string) (*door, error) {
	transport, err := trusting(caFile)
	if err != nil {
		return nil, err
	}
	return &door{api: api, transport: transport, metrics: newForgeMetrics()}, nil
}

// authorizer gives the header that a request is authorized with.
type authorizer func(context.Context) (string, error)

// token is the authorizer of a token in a file.
func token(scheme, file string) authorizer {
	return func(context.Context) (string, error) {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", explained{fmt.Errorf("reading the forge's token file: %w", err)}
		}
		secret := strings.TrimSpace(string(content))
		if secret == "" || strings.ContainsFunc(secret, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return "", explained{fmt.Errorf("the forge's token file %s does not hold one token and nothing else", file)}
		}
		return scheme + " " + secret, nil
	}
}

// client makes the requests of one operation.
func (d *door) client(operation string, authorize authorizer) *http.Client {
	return &http.Client{
		Transport: errand{d, operation, authorize},
		Timeout:   requestTimeout,
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			switch {
			case to.Method != via[0].Method:
				return explained{fmt.Errorf("%w: it redirects a %s", ErrForgeUnavailable, via[0].Method)}
			case len(via) > 3:
				return explained{fmt.Errorf("%w: it redirects again and again", ErrForgeUnavailable)}
			}
			return nil
		},
	}
}

// errand is a door for one operation. Without an authorizer, requests come with what authorizes them.
type errand struct {
	*door
	operation string
	authorize authorizer
}

// RoundTrip sends one request of a library. Its errors hold an explained one or *Limited, for explain to find.
func (e errand) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := e.roundTrip(req)
	if err != nil && req.Body != nil {
		_ = req.Body.Close()
	}
	return answer, err
}

func (e errand) roundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != e.api.Scheme || !strings.EqualFold(req.URL.Host, e.api.Host) {
		return nil, explained{fmt.Errorf("%w: it redirects away from its API at %s", ErrForgeUnavailable, e.api.Host)} // where to may hold the token
	}
	if limited := e.limited(); limited != nil {
		return nil, limited
	}
	req = req.Clone(req.Context())
	if e.authorize != nil {
		header, err := e.authorize(req.Context())
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", header)
	}
	answer, err := e.transport.RoundTrip(req)
	if err != nil {
		e.metrics.count(e.operation, 0)
		return nil, unreachable(err, secretOf(req))
	}
	e.metrics.count(e.operation, answer.StatusCode)
	e.heed(answer.Header)
	if answer.StatusCode >= 400 {
		defer answer.Body.Close()
		return nil, e.judge(answer, secretOf(req))
	}
	answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	return answer, nil
}

// secretOf is what a request shows of itself that nobody else may see.
func secretOf(req *http.Request) string {
	_, secret, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	return secret
}

// judge names an answer that is none. What the forge says of it is passed on in part, but not where the secret is in it.
func (e errand) judge(answer *http.Response, secret string) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxComplaint))
	status := answer.StatusCode
	wait := retryAfter(answer.Header, time.Now())
	throttled := status == http.StatusTooManyRequests ||
		status == http.StatusForbidden && (wait > 0 || answer.Header.Get("X-RateLimit-Remaining") == "0" || strings.Contains(string(text), "rate limit")) ||
		status == http.StatusServiceUnavailable && wait > 0
	if throttled {
		if wait == 0 {
			wait = shortestQuiet
		}
		return e.hush(time.Now().Add(wait))
	}
	kind := ErrForgeRefused
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		kind = ErrForgeDenied
	case status == http.StatusNotFound, status == http.StatusGone:
		kind = ErrForgeNotFound
	case status >= 500:
		kind = ErrForgeUnavailable
	}
	said := ""
	var complaint struct{ Message, Error any }
	if json.Unmarshal(text, &complaint) == nil && !strings.Contains(string(text), secret) {
		for _, part := range []any{complaint.Message, complaint.Error} {
			if s, ok := part.(string); ok && said == "" && s != "" {
				said = "; it says: " + plainText(s, 200)
			}
		}
	}
	return explained{fmt.Errorf("%w: status %d%s", kind, status, said)}
}

// limited is how long the forge still wants to be left alone, nil where it does not.
func (d *door) limited() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Now().Before(d.quiet) {
		return &Limited{d.quiet}
	}
	return nil
}

// hush keeps quiet until then, or for as long as was asked for before where that is longer.
func (d *door) hush(until time.Time) *Limited {
	d.mu.Lock()
	defer d.mu.Unlock()
	if latest := time.Now().Add(longestQuiet); until.After(latest) {
		until = latest
	}
	if until.After(d.quiet) {
		d.quiet = until
	}
	return &Limited{d.quiet}
}

// heed reads what the forge says of its quota: X-RateLimit-Remaining and -Reset at GitHub, RateLimit-Remaining and -Reset at
// GitLab, where a reset is in seconds since 1970. Where nothing is left, waiting costs less than being refused.
func (d *door) heed(h http.Header) {
	for _, prefix := range []string{"X-RateLimit-", "RateLimit-"} {
		left, err := strconv.ParseUint(h.Get(prefix+"Remaining"), 10, 31)
		if err != nil {
			continue
		}
		d.metrics.quota.WithLabelValues().Set(float64(left))
		if reset, err := strconv.ParseUint(h.Get(prefix+"Reset"), 10, 40); err == nil && left == 0 {
			_ = d.hush(time.Unix(int64(reset), 0)) // this answer is good
		}
		return
	}
}

// retryAfter is how long a forge asks to be left alone, 0 where it does not say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}

// explained is an error whose text is ours. Only such a one leaves the package: others may quote what a forge sent.
type explained struct{ error }

func (e explained) Unwrap() error { return e.error }

// unreachable explains an error of the network. A server that speaks no HTTP is quoted by it, with all that it was sent.
func unreachable(err error, secret string) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = errors.New("it does not answer in time")
	case secret != "" && strings.Contains(err.Error(), secret):
		err = errors.New("it does not speak HTTP")
	}
	return explained{fmt.Errorf("%w: %w", ErrForgeUnavailable, err)}
}

// understand asks a forge and explains what goes wrong. Libraries follow what they were sent without looking, so that a null in
// a list makes them panic; that is the forge's mistake, and no reason to end.
func understand(ctx context.Context, ask func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			err = explain(ctx, p)
		default:
			panic(p)
		}
	}()
	return explain(ctx, ask())
}

// explain finds the explained error in what a library made of it.
func explain(ctx context.Context, err error) error {
	var limited *Limited
	var known explained
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return explained{context.Cause(ctx)}
	case errors.As(err, &limited):
		return limited
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.DeadlineExceeded):
		return unreachable(err, "")
	}
	return explained{fmt.Errorf("%w: its answer cannot be understood", ErrForgeUnavailable)}
}
