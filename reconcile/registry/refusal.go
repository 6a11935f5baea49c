package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/regclient/regclient/types/errs"

	"tidewaiter/reconcile/release"
)

// Refusal says why an image could not be shown to be pullable.
type Refusal struct {
	Reason release.Reason
	// RetryAfter is how long the registry asked to be left alone; 0 where it said nothing.
	RetryAfter time.Duration
	// Err is the detail. It holds no secret, but may quote a host, a platform or a date that a stranger wrote.
	Err error
}

// Error is for the log. It is as long as one line there should be, whatever is quoted.
func (r *Refusal) Error() string {
	const longest = 500
	text := string(r.Reason) + ": " + r.Err.Error()
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(reason release.Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// AsRefusal returns the refusal in err; an error without one is our own, InternalError. It is nil for no error.
func AsRefusal(err error) *Refusal {
	var r *Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return r
	}
	return &Refusal{Reason: release.InternalError, Err: err}
}

// about says what a refusal is about and keeps its reason.
func about(err error, format string, args ...any) error {
	r := AsRefusal(err)
	if r == nil {
		return nil
	}
	return &Refusal{r.Reason, r.RetryAfter, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), r.Err)}
}

// answered names what regclient made of an answer; missing is the reason that a 404 stands for. Everything about the way
// there was named by the door before regclient saw it, so what is left is few. Its texts are dropped: they quote the bodies
// of answers.
func answered(err error, missing release.Reason) error {
	var refusal *Refusal
	var realm *url.Error // one that is no URL
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errs.ErrCanceled):
		return unreachable(err)
	case errors.Is(err, errs.ErrNotFound):
		return refuse(missing, "the registry answers 404")
	case errors.Is(err, errs.ErrHTTPRedirectRefused):
		return refuse(release.RegistryNotAllowed, "the token server is on a local address or speaks plain http")
	case errors.Is(err, errs.ErrHTTPUnauthorized), errors.Is(err, errs.ErrEmptyChallenge), errors.Is(err, errs.ErrNoNewChallenge),
		errors.Is(err, errs.ErrInvalidChallenge), errors.Is(err, errs.ErrParsingFailed), errors.Is(err, errs.ErrRetryLimitExceeded), errors.As(err, &realm):
		return refuse(release.AccessDenied, "the registry asks for a credential that may read it")
	case errors.Is(err, errs.ErrDigestMismatch):
		return refuse(release.DigestMismatch, "what is served does not hash to its digest")
	}
	return refuse(release.ManifestInvalid, "it cannot be read as a manifest of OCI or Docker schema 2")
}

// unreachable names a failure on the way to a registry: the registry's, unless this machine has no network, no name
// resolution or nothing left to open a connection with.
func unreachable(err error) *Refusal {
	var refusal *Refusal
	var dns *net.DNSError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, context.Canceled), errors.Is(err, errs.ErrCanceled),
		errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN),
		errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return refuse(release.InternalError, "%w", err)
	case errors.As(err, &dns) && !dns.IsNotFound && (dns.IsTimeout || !dns.IsTemporary):
		// A resolver that answers "no such host" or "server failure" speaks of that host; one that does not answer is ours.
		return refuse(release.InternalError, "%w", err)
	}
	return refuse(release.RegistryUnavailable, "%w", err)
}
