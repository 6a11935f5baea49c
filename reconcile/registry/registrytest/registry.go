// Package registrytest is a registry to look at: the real distribution protocol, in process and in memory, with small real
// images to put in it. The demo and the tests of every package that needs a registry use it. Nothing here needs a network, a
// container engine or an installed program, but for StartDistribution.
package registrytest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"

	"tidewaiter/reconcile/release"
)

// Options say how a registry is reached. The zero value is anonymous and plain http.
type Options struct {
	// User and Password are asked for by basic authentication, or by the token server.
	User, Password string
	// Bearer asks for a token of the registry's own token server, /token, anonymous where there is no user.
	Bearer bool
	// IdentityToken, where there is one, is what the token server takes besides the password.
	IdentityToken string
	// TokenLife is how long a token is good for, in whole seconds; 0 means five minutes.
	TokenLife time.Duration
	// TLS serves https with a certificate that CA signs, for Names besides the names of this machine.
	TLS   bool
	Names []string
}

// Registry is a running registry on a port of the loopback interface.
type Registry struct {
	// Host is what references name: 127.0.0.1 and a port.
	Host string
	// CA is the certificate, in PEM, that clients must trust where the registry speaks TLS.
	CA []byte

	options Options
	store   *olareg.Server
	server  *http.Server
	stop    func() error
	using   sync.RWMutex // the store

	mu       sync.Mutex
	wrap     func(http.Handler) http.Handler
	requests []Request
	tokens   map[string]grant
}

// grant is what a token is good for.
type grant struct {
	scope string
	until time.Time
}

// Request is one request as it came over the wire.
type Request struct {
	Method        string
	Path          string // with the query
	Authorization string
}

// Start serves an empty registry until it is closed.
func Start(options Options) (*Registry, error) {
	yes, off := true, time.Duration(-1)
	store := olareg.New(config.Config{
		Storage: config.ConfigStorage{StoreType: config.StoreMem, GC: config.ConfigGC{Frequency: off}},
		// What lacks a layer or a platform is stored all the same: finding that out is what the images are for.
		API: config.ConfigAPI{Manifest: config.ConfigAPIManifest{SparseImage: &yes, SparseIndex: &yes}},
	})
	r := &Registry{options: options, store: store, tokens: map[string]grant{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	r.Host = listener.Addr().String()
	if options.TLS {
		certificate, ca, err := selfSigned(options.Names)
		if err != nil {
			return nil, errors.Join(err, listener.Close(), store.Close())
		}
		r.CA = ca
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}})
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(listener) }()
	r.stop = func() error {
		err := r.server.Close() // which waits for no answer under way
		r.using.Lock()
		defer r.using.Unlock()
		err = errors.Join(err, store.Close())
		if serve := <-served; !errors.Is(serve, http.ErrServerClosed) {
			err = errors.Join(err, serve)
		}
		return err
	}
	return r, nil
}

// Close stops the registry and forgets what is in it.
func (r *Registry) Close() error { return r.stop() }

// ServeHTTP logs a request, lets Wrap have its way with it, asks for the credential and answers.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, Request{req.Method, req.URL.RequestURI(), req.Header.Get("Authorization")})
	wrap := r.wrap
	r.mu.Unlock()
	handler := http.Handler(http.HandlerFunc(r.serve))
	if wrap != nil {
		handler = wrap(handler)
	}
	handler.ServeHTTP(w, req)
}

// Wrap puts a handler before the registry, for one that lies, stalls or fails; nil takes it away.
func (r *Registry) Wrap(wrap func(http.Handler) http.Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrap = wrap
}

// Requests returns what was asked since the start or the last call, in order. Pushes with Put and Push are not among it.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.requests = nil }()
	return r.requests
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	switch {
	case r.options.Bearer && req.URL.Path == "/token":
		r.token(w, req)
	case r.admits(req):
		r.using.RLock()
		defer r.using.RUnlock()
		r.store.ServeHTTP(w, req)
	default:
		challenge := `Basic realm="registrytest"`
		if r.options.Bearer {
			scheme := "http"
			if r.options.TLS {
				scheme = "https"
			}
			challenge = fmt.Sprintf(`Bearer realm="%s://%s/token",service="registrytest",scope="%s"`, scheme, req.Host, scope(req))
		}
		w.Header().Set("WWW-Authenticate", challenge)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
	}
}

func (r *Registry) admits(req *http.Request) bool {
	if r.options.Bearer {
		token, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		r.mu.Lock()
		defer r.mu.Unlock()
		g, known := r.tokens[token]
		wanted := scope(req)
		return known && (wanted == "" || slices.Contains(strings.Fields(g.scope), wanted)) && time.Now().Before(g.until)
	}
	return r.options.User == "" || r.knows(req)
}

func (r *Registry) knows(req *http.Request) bool {
	user, password, _ := req.BasicAuth()
	return user == r.options.User && password == r.options.Password
}

// scope is what a token must be good for to read what is asked for; any will do where nothing of a repository is.
func scope(req *http.Request) string {
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	for _, kind := range []string{"/manifests/", "/blobs/", "/tags/"} {
		if repository, _, ok := strings.Cut(path, kind); ok {
			return "repository:" + repository + ":pull"
		}
	}
	return ""
}

// token answers as the token server of the distribution specification does: to a GET with the password, and to a POST with the
// identity token.
func (r *Registry) token(w http.ResponseWriter, req *http.Request) {
	offered := req.PostFormValue("refresh_token")
	exchanged := offered != "" && offered == r.options.IdentityToken
	if r.options.User != "" && !exchanged && !r.knows(req) {
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		return
	}
	token, life := rand.Text(), cmp.Or(r.options.TokenLife, 5*time.Minute)
	r.mu.Lock()
	r.tokens[token] = grant{strings.Join(req.Form["scope"], " "), time.Now().Add(life)}
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": int(life.Seconds())})
}

// Tokens returns every token that was issued, sorted.
func (r *Registry) Tokens() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.tokens))
}

// Push builds an image and puts it under a tag. The digest is the one that the tag then names.
func (r *Registry) Push(ctx context.Context, repository, tag string, image Image) (release.Digest, error) {
	b := image.Build()
	return b.Root.Digest, r.Put(ctx, repository, tag, b)
}

// Put stores what is left of a built image under a tag, past any credential, log and wrap.
func (r *Registry) Put(ctx context.Context, repository, tag string, b Built) error {
	return put(ctx, &http.Client{Transport: direct{r.store}}, "http://"+r.Host, "", "", repository, tag, b)
}
