package registry_test

import (
	"net/http"
	"testing"
	"time"

	"tidewaiter/reconcile/registry"
	"tidewaiter/reconcile/registry/registrytest"
	"tidewaiter/reconcile/release"
)

// TestPing: who asks a registry whether it is there learns what was seen, and nothing that was not.
func TestPing(t *testing.T) {
	basic := registrytest.Options{User: "puller", Password: "s3cret"}
	bearer := registrytest.Options{User: "puller", Password: "s3cret", Bearer: true}
	for name, test := range map[string]struct {
		options  registrytest.Options
		password string // of the credential; empty for none
		at       string // where it answers
		status   int    // this
		asks     bool
		want     release.Reason // empty: it answers
	}{
		"it takes the credential":                 {options: basic, password: "s3cret", asks: true},
		"its token server takes the credential":   {options: bearer, password: "s3cret", asks: true},
		"it asks and there is none":               {options: basic, asks: true},
		"its token server asks and there is none": {options: bearer, asks: true},
		"its token server lets anybody in":        {options: registrytest.Options{Bearer: true}},
		"it never asks for the credential":        {password: "s3cret"},
		"it never asks":                           {},
		"another password":                        {options: basic, password: "gu3ss", want: release.AccessDenied},
		"another password for its token server":   {options: bearer, password: "gu3ss", want: release.AccessDenied},
		"it forbids and does not ask":             {at: "/v2/", status: http.StatusForbidden, want: release.AccessDenied},
		"it limits its tokens":                    {options: bearer, password: "s3cret", at: "/token", status: http.StatusTooManyRequests, want: release.RateLimited},
		"it limits tokens of anybody":             {options: bearer, at: "/token", status: http.StatusTooManyRequests, want: release.RateLimited},
		"there is none":                           {at: "/v2/", status: http.StatusNotFound, want: release.RegistryUnavailable},
		"it does not answer as one":               {at: "/v2/", status: http.StatusAccepted, want: release.RegistryUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, test.options)
			if test.at != "" {
				when(r, test.at, answers(test.status))
			}
			q := query(r.Host, "ci/app", "1")
			options := registry.Options{}
			if test.password != "" {
				q.Registry.Credentials = "pull"
				options.CredentialsDir = credentials(t, map[string]string{"pull/username": "puller", "pull/password": test.password})
			}
			client := registry.New(options)
			for range 2 { // what was learned the first time changes nothing
				greeting, err := client.Ping(t.Context(), q)
				if test.want != "" {
					refused(t, err, test.want)
					continue
				}
				if err != nil || greeting.Asks != test.asks {
					t.Fatalf("it asks for a credential: %t, want %t (%v)", greeting.Asks, test.asks, err)
				}
				if greeting.Skew == nil || greeting.Skew.Abs() > time.Minute {
					t.Errorf("on one machine, two clocks differ by %v", greeting.Skew)
				}
			}
		})
	}
}
