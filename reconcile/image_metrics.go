package reconcile

import (
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"tidewaiter/reconcile/release"
	"tidewaiter/reconcile/web"
)

// maxImageMetrics bounds how many images have series of their own.
const maxImageMetrics = 1000

// imageMetrics are the gauges of single images: the first maxImageMetrics by name, without those delisted. They say what the page
// says, as of the last good pass, and are made from it whenever somebody asks. So a series is gone with its image.
type imageMetrics struct {
	store func() *web.Store // nil before the first pass
}

func imageGauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tidewaiter_image_"+name, help, append([]string{"image"}, labels...), nil)
}

var (
	imageInfo       = imageGauge("info", "Always 1; the labels say what the image's channel latest serves, and why the image stands where it stands.", "version", "reason")
	imageReady      = imageGauge("ready", "1 while all of an image is as the catalog wants it, 0 while a request of it is refused or waits.")
	imageTransition = imageGauge("transition_timestamp_seconds", "When an image last began to stand where it stands, in seconds since 1970.")
	imageReleased   = imageGauge("released_timestamp_seconds", "When the newest release that a channel of an image serves was made, in seconds since 1970.")
	imageRequests   = imageGauge("requests", "Requests of an image that are not final.")
	imageDrifts     = imageGauge("drifts", "What audits found and recorded of the releases that channels of an image serve.")
	imagesLeftOut   = prometheus.NewDesc("tidewaiter_image_metrics_left_out", "Images without metrics of their own, because there are too many.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (m imageMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{imageInfo, imageReady, imageTransition, imageReleased, imageRequests, imageDrifts, imagesLeftOut} {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (m imageMetrics) Collect(metrics chan<- prometheus.Metric) {
	shown, leftOut := 0, 0
	if store := m.store(); store != nil {
		for _, i := range store.Images {
			switch {
			case i.Ready().Reason == release.Delisted:
			case !utf8.ValidString(i.Name): // a file on the status branch that no daemon wrote
			case shown == maxImageMetrics:
				leftOut++
			default:
				shown++
				collectImage(metrics, i)
			}
		}
	}
	metrics <- prometheus.MustNewConstMetric(imagesLeftOut, prometheus.GaugeValue, float64(leftOut))
}

func collectImage(metrics chan<- prometheus.Metric, i web.Image) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{i.Name}, labels...)...)
	}
	ready, version, released := i.Ready(), "", time.Time{}
	if latest := i.Latest(); latest != nil {
		version = latest.Version.String()
	}
	for _, c := range i.Status.Channels {
		if c.Released.After(released) {
			released = c.Released
		}
	}
	gauge(imageInfo, 1, version, string(ready.Reason))
	isReady := 0.0
	if ready.Status == release.True {
		isReady = 1
	}
	gauge(imageReady, isReady)
	gauge(imageTransition, float64(ready.Since.Unix()))
	if !released.IsZero() {
		gauge(imageReleased, float64(released.Unix()))
	}
	gauge(imageRequests, float64(len(i.Status.Requests)))
	gauge(imageDrifts, float64(len(i.Status.Drifts)))
}
