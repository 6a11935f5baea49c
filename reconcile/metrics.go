package reconcile

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidewaiter/reconcile/contract"
	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/review"
)

// metrics are those of the daemon itself; the registry client has its own.
type metrics struct {
	passes         *prometheus.CounterVec
	gitOperations  *prometheus.CounterVec
	gitDuration    *prometheus.HistogramVec
	lastSuccess    prometheus.Gauge
	specs          *prometheus.GaugeVec
	refusals       *prometheus.GaugeVec
	stalled        *prometheus.GaugeVec
	releases       *prometheus.CounterVec
	lag            prometheus.Histogram
	findings       *prometheus.CounterVec
	audits         *prometheus.CounterVec
	drifts         *prometheus.GaugeVec
	writeConflicts prometheus.Counter
	looksPending   prometheus.Gauge
	reviews        *prometheus.GaugeVec
	buildInfo      *prometheus.GaugeVec
}

// The values of the labels, all of them there from the start so that a rate or an alert never meets a missing series.
var (
	gitOperations = []string{"list", "fetch", "push"}
	results       = []string{"ok", "error"}
	specStates    = []string{"ready", "progressing", "refused", "suspended", "delisted"}
	stalls        = []release.Reason{
		release.HistoryRewritten, release.DelistingHeld, release.InvalidPolicy, release.StatusMissing, release.StatusTampered, release.Suspended,
	}
)

func newMetrics(version string) *metrics {
	m := &metrics{
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_passes_total", Help: "Passes over the catalog, by result."}, []string{"result"}),
		gitOperations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_git_operations_total", Help: "Requests to the Git server, by operation and result."}, []string{"operation", "result"}),
		gitDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidewaiter_git_operation_duration_seconds", Help: "How long requests to the Git server took, by operation.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"operation"}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidewaiter_last_success_timestamp_seconds", Help: "When the last pass without error ended, in seconds since 1970."}),
		specs: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidewaiter_specs", Help: "Images of the catalog, by the state of their newest request."}, []string{"state"}),
		refusals: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidewaiter_refusals", Help: "Images that are not released, by the reason."}, []string{"reason"}),
		stalled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidewaiter_catalog_stalled", Help: "1 while the whole catalog is held up for this reason."}, []string{"reason"}),
		releases: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_releases_total", Help: "Releases recorded by this process, by the upgrade mode applied."}, []string{"mode"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidewaiter_release_lag_seconds", Help: "Time from the commit that asked for a release to its record on the server.",
			Buckets: []float64{1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 86400}}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_upgrade_findings_total", Help: "Findings of the upgrade checks on images that were released or refused for them, by rule and level."},
			[]string{"rule", "level"}),
		audits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidewaiter_audits_total", Help: "Looks at releases that channels serve, by what they found: nothing, drift, or unknown where no answer came."},
			[]string{"result"}),
		drifts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidewaiter_drifts", Help: "Releases that channels serve whose tag or digest is not what it was, by finding."}, []string{"finding"}),
		writeConflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidewaiter_write_conflicts_total", Help: "Commits refused because somebody else wrote first; each is planned again."}),
		looksPending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidewaiter_verifications_pending", Help: "Verifications asked for and not answered yet."}),
		reviews: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidewaiter_reviews", Help: "Open pull requests that change the catalog, by verdict."}, []string{"state"}),
		buildInfo: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidewaiter_build_info", Help: "Always 1; the labels say what is running."}, []string{"version", "goversion"}),
	}
	for _, operation := range gitOperations {
		for _, result := range results {
			m.gitOperations.WithLabelValues(operation, result)
		}
		m.gitDuration.WithLabelValues(operation)
	}
	for _, result := range results {
		m.passes.WithLabelValues(result)
	}
	for _, rule := range contract.Rules() {
		for _, level := range []contract.Level{contract.Info, contract.Warn, contract.Deny} {
			m.findings.WithLabelValues(rule, level.String())
		}
	}
	for _, result := range []string{"nothing", "drift", "unknown"} {
		m.audits.WithLabelValues(result)
	}
	for _, finding := range release.Findings() {
		m.drifts.WithLabelValues(string(finding))
	}
	for _, mode := range release.Modes() {
		m.releases.WithLabelValues(mode.String())
	}
	for _, reason := range release.Refusals() {
		m.refusals.WithLabelValues(string(reason))
	}
	for _, state := range specStates {
		m.specs.WithLabelValues(state)
	}
	m.reviewsAre(nil)
	m.stall("")
	m.buildInfo.WithLabelValues(version, runtime.Version()).Set(1)
	return m
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.passes, m.gitOperations, m.gitDuration, m.lastSuccess, m.specs, m.refusals, m.stalled, m.releases, m.lag,
		m.findings, m.audits, m.drifts, m.writeConflicts, m.looksPending, m.reviews, m.buildInfo,
	}
}

// git counts one request to the Git server.
func (m *metrics) git(operation string, err error, took time.Duration) {
	m.gitOperations.WithLabelValues(operation, result(err)).Inc()
	m.gitDuration.WithLabelValues(operation).Observe(took.Seconds())
}

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

// found counts what the upgrade checks found of one image.
func (m *metrics) found(findings []contract.Finding) {
	for _, f := range findings {
		m.findings.WithLabelValues(f.Rule, f.Level.String()).Inc()
	}
}

// audited counts one look at a release.
func (m *metrics) audited(found []release.Reason, unknown bool) {
	result := "nothing"
	switch {
	case unknown:
		result = "unknown"
	case len(found) > 0:
		result = "drift"
	}
	m.audits.WithLabelValues(result).Inc()
}

// stall says why the whole catalog is held up, "" for not at all.
func (m *metrics) stall(reason release.Reason) {
	for _, r := range stalls {
		value := 0.0
		if r == reason {
			value = 1
		}
		m.stalled.WithLabelValues(string(r)).Set(value)
	}
}

// reviewsAre counts the open pull requests by verdict.
func (m *metrics) reviewsAre(counts map[review.State]int) {
	for _, state := range []review.State{review.Success, review.Failure, review.Pending, review.Error} {
		m.reviews.WithLabelValues(string(state)).Set(float64(counts[state]))
	}
}

// images counts the images by what each stands at.
func (m *metrics) images(reasons []release.Reason) {
	states, refusals := map[string]float64{}, map[release.Reason]float64{}
	for _, r := range reasons {
		states[stateOf(r)]++
		refusals[r]++
	}
	for _, state := range specStates {
		m.specs.WithLabelValues(state).Set(states[state])
	}
	for _, r := range release.Refusals() {
		m.refusals.WithLabelValues(string(r)).Set(refusals[r])
	}
}

func stateOf(r release.Reason) string {
	switch kind := r.Kind(); {
	case r == release.Released, r == release.AlreadyReleased:
		return "ready"
	case r == release.Delisted:
		return "delisted"
	case r == release.Suspended:
		return "suspended"
	case kind == release.Waits, kind == release.Retried:
		return "refused"
	}
	return "progressing"
}
