package registry

import (
	"context"
	"net/http"
	"time"

	"github.com/regclient/regclient/types/ref"

	"tidewaiter/reconcile/release"
)

// Greeting is how a registry answers who asks whether it is there.
type Greeting struct {
	// Asks is whether it asks for a credential. It took that of the query; where there is none, only what is public can be pulled.
	Asks bool
	// Skew is how far this machine's clock is ahead of the registry's, to a second or two; nil where it does not tell the time.
	Skew *time.Duration
}

// Ping asks the registry of a query whether it answers and, where it asks for a credential, takes the one that is in its file now; no
// repository is asked for. One that asks where there is none answers as well as any. Its error is always a *Refusal.
func (c *Client) Ping(ctx context.Context, q Query) (Greeting, error) {
	r, _, err := c.remote(ctx, q)
	if err != nil {
		return Greeting{}, AsRefusal(err)
	}
	shown, err := c.options.credential(ctx, q.Registry.Credentials, q.Image.Registry)
	if err != nil {
		return Greeting{}, AsRefusal(err)
	}
	none := shown == credential{}
	heard := &ear{door: r.door}
	_, err = r.login(shown, heard).Ping(ctx, ref.Ref{Scheme: "reg", Registry: r.key.host})
	switch {
	case err == nil:
		return Greeting{Asks: heard.authorized && !none, Skew: heard.skew}, nil
	case heard.failed != nil: // which the library may take for a denial
		return Greeting{}, AsRefusal(heard.failed)
	case heard.status == http.StatusUnauthorized && none:
		return Greeting{Asks: true, Skew: heard.skew}, nil
	}
	refusal := AsRefusal(answered(err, release.RegistryUnavailable))
	if refusal.Reason == release.ManifestInvalid { // none was asked for
		refusal = refuse(release.RegistryUnavailable, "%s answers %d, as no registry does", r.door.host, heard.status)
	}
	return Greeting{}, refusal
}

// ear hears what one question sends and gets through a door.
type ear struct {
	*door
	authorized bool  // something was sent with a credential or a token
	status     int   // of the last answer
	failed     error // why the last request has no answer
	skew       *time.Duration
}

func (e *ear) RoundTrip(req *http.Request) (*http.Response, error) {
	e.authorized = e.authorized || req.Header.Get("Authorization") != ""
	resp, err := e.door.RoundTrip(req)
	if e.failed = err; err != nil {
		return nil, err
	}
	e.status = resp.StatusCode
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && req.URL.Host == e.host {
		skew := time.Since(date)
		e.skew = &skew
	}
	return resp, nil
}
