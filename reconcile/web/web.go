// Package web serves what a daemon shows over HTTP: the store page for people, the API for programs, its health and its metrics.
//
// It promises to be read only, but for hooks that make a look come sooner, and to know nothing but what it is given.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tidewaiter/reconcile/review"
)

// Options are what is served.
type Options struct {
	// Ready reports whether the daemon's passes are good.
	Ready func() bool
	// Metrics are exposed beside those of the process and the Go runtime.
	Metrics []prometheus.Collector
	// Store is what is known of the catalog now, nil before the first pass.
	Store func() *Store
	// Reviews are the pull requests as they were seen last; nil for a daemon that reviews none. Projects is the directory with the tokens of those who may
	// try what is not merged: PROJECT/token.
	Reviews  func() []review.Review
	Projects string
	// Version is the build's. Pages of another one are other pages.
	Version string
	// Hooks, if set, may be called by forges and people.
	Hooks *Hooks
	Log   *slog.Logger
}

// Handler answers all of it, and takes hooks.
func Handler(o Options) http.Handler {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics.MustRegister(o.Metrics...)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if o.Ready() {
			answer(w, http.StatusOK, "ok")
			return
		}
		answer(w, http.StatusServiceUnavailable, "no pass over the catalog was good within the last three intervals; see the log")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{Registry: metrics}))
	if o.Store != nil {
		build := hashOf([]byte(o.Version + " " + appearance))
		rs := reviews{o.Reviews, o.Projects, build}
		api{o.Store, rs, build}.register(mux)
		pages{o.Store, o.Ready, rs, build}.register(mux)
		rs.register(mux)
	}
	if o.Hooks != nil {
		o.Hooks.register(mux)
	}
	return mux
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}

// Server is a handler on an address.
type Server struct {
	listener net.Listener
	server   *http.Server
}

// Listen serves the options on an address like :8080. The error is that the address cannot be had.
func Listen(address string, o Options) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w; choose another address with --listen", address, err)
	}
	s := &Server{listener, &http.Server{
		Handler:           Handler(o),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}}
	go func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("serving http", "error", err)
		}
	}()
	return s, nil
}

// URL is where the server can be reached from this machine.
func (s *Server) URL() string {
	address := s.listener.Addr().(*net.TCPAddr)
	host := "localhost"
	if !address.IP.IsUnspecified() {
		host = address.IP.String()
	}
	return fmt.Sprintf("http://%s", net.JoinHostPort(host, fmt.Sprint(address.Port)))
}

// Close stops listening and gives answers under way a moment to end.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return s.server.Shutdown(ctx)
}
