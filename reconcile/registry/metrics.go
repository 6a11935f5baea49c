package registry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// codes are all values of the label code: what an answer was, or that there was none.
var codes = []string{"2xx", "3xx", "401", "403", "404", "429", "4xx", "5xx", "error"}

// others is the label of every registry that the policy does not name, so that specs cannot make labels.
const others = "other"

type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	duration prometheus.Histogram
	quota    *prometheus.GaugeVec
	quieted  *prometheus.CounterVec
	broken   *prometheus.GaugeVec
	known    sync.Map // labels that are initialised
}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_registry_requests_total",
			Help: "Requests to registries and their token servers, by registry named in the policy (or other) and by answer.",
		}, []string{"registry", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidewaiter_registry_request_duration_seconds",
			Help:    "Time until a registry or its token server begins to answer a request, by registry named in the policy (or other).",
			Buckets: []float64{0.025, 0.1, 0.25, 0.5, 1, 2.5, 10, 30},
		}, []string{"registry"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidewaiter_verification_duration_seconds",
			Help:    "Time to find out whether an image can be pulled.",
			Buckets: []float64{0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300},
		}),
	}
	m.quota = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidewaiter_registry_quota_remaining",
		Help: "Requests that a registry named in the policy still allows, as it said last; not there for those that say nothing.",
	}, []string{"registry"})
	m.quieted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidewaiter_registry_throttled_seconds_total",
		Help: "Time for which registries asked to be left alone, by registry named in the policy (or other).",
	}, []string{"registry"})
	m.broken = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidewaiter_registry_breaker_open",
		Help: "How many credentials of a registry named in the policy (or other) are not used because it does not answer.",
	}, []string{"registry"})
	m.registry(others)
	return m
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.latency, m.duration, m.quota, m.quieted, m.broken}
}

// registry makes the counters of one registry exist, at zero.
func (m *metrics) registry(label string) {
	if _, known := m.known.LoadOrStore(label, true); known {
		return
	}
	for _, code := range codes {
		m.requests.WithLabelValues(label, code)
	}
	m.latency.WithLabelValues(label)
	m.quieted.WithLabelValues(label)
	m.broken.WithLabelValues(label)
}

// count takes in one request: the answer's status, 0 where there was none, and how long it took to come.
func (m *metrics) count(label string, status int, took time.Duration) {
	code := "error"
	switch {
	case status == 401:
		code = "401"
	case status == 403:
		code = "403"
	case status == 404:
		code = "404"
	case status == 429:
		code = "429"
	case status >= 200 && status < 600:
		code = string(rune('0'+status/100)) + "xx"
	}
	m.requests.WithLabelValues(label, code).Inc()
	m.latency.WithLabelValues(label).Observe(took.Seconds())
}

// timer starts the clock of one verification and returns what stops it.
func (m *metrics) timer() func() {
	start := time.Now()
	return func() { m.duration.Observe(time.Since(start).Seconds()) }
}
