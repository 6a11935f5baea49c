package review

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// The values of the labels, all of them there from the start. What an answer was, or that there was none, is told as package
// registry tells it.
var (
	forgeOperations = []string{onStatus, onComment, onApproval, onOpen, onIdentity}
	forgeCodes      = []string{"2xx", "3xx", "401", "403", "404", "429", "4xx", "5xx", "error"}
)

// What requests are for: one of a Forge's methods, or to know who the token is.
const (
	onStatus   = "status"
	onComment  = "comment"
	onApproval = "approval"
	onOpen     = "open"
	onIdentity = "identity"
)

type forgeMetrics struct {
	requests *prometheus.CounterVec
	quota    *prometheus.GaugeVec
}

func newForgeMetrics() *forgeMetrics {
	m := &forgeMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_forge_requests_total",
			Help: "Requests to the forge's API, by what they are for and by answer.",
		}, []string{"operation", "code"}),
		quota: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidewaiter_forge_quota_remaining",
			Help: "Requests that the forge still allows, as it said last; not there where it says nothing.",
		}, nil),
	}
	for _, operation := range forgeOperations {
		for _, code := range forgeCodes {
			m.requests.WithLabelValues(operation, code)
		}
	}
	return m
}

// count counts one request; the status is 0 where no answer came.
func (m *forgeMetrics) count(operation string, status int) {
	code := "error"
	switch {
	case status == 401, status == 403, status == 404, status == 429:
		code = strconv.Itoa(status)
	case status >= 200 && status < 600:
		code = strconv.Itoa(status/100) + "xx"
	}
	m.requests.WithLabelValues(operation, code).Inc()
}
