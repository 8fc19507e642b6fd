// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The Prometheus side: one collector that turns one snapshot into all series of a scrape.

import (
	"log/slog"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/preforkd/preforkd/supervisor"
)

// metric is one family: a row of the tables in metrics_*.go, from which docs/metrics.md is made too.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	read       func(v *view, emit emit)
}

// emit hands out one series. labels are the values, in the order of metric.labels.
type emit func(value float64, labels ...string)

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// metrics returns every family.
func metrics() []metric {
	return slices.Concat(fleetMetrics(), memoryMetrics(), workerMetrics(), samplerMetrics())
}

// view is what one scrape reads: one snapshot, and its rows by slot.
type view struct {
	*supervisor.Snapshot
	counters       Counters
	healthy, ready bool
	slots          []slot
}

// collector implements prometheus.Collector for a Source.
type collector struct {
	source  Source
	metrics []metric
	descs   []*prometheus.Desc
}

func newCollector(source Source) *collector {
	c := &collector{source: source, metrics: metrics()}
	for _, m := range c.metrics {
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		ch <- desc
	}
}

// Collect implements prometheus.Collector. Before the first snapshot there is no series.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	snapshot := c.source.Snapshot()
	if snapshot == nil {
		return
	}
	v := &view{
		Snapshot: snapshot, counters: c.source.Counters(), healthy: c.source.Healthy(), ready: c.source.Ready(),
		slots: slots(snapshot.Workers),
	}
	for i, m := range c.metrics {
		m.read(v, func(value float64, labels ...string) {
			sample, err := prometheus.NewConstMetric(c.descs[i], m.kind, value, labels...)
			if err != nil { // a label that is not UTF-8: a socket's path may be anything
				sample = prometheus.NewInvalidMetric(c.descs[i], err)
			}
			ch <- sample
		})
	}
}

// metricsHandler serves the collector on a registry of its own, without the Go runtime's series. A family that cannot
// be shown is logged and left out; the others are served.
func metricsHandler(source Source, log *slog.Logger) http.HandlerFunc {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(source))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics:  true,
		DisableCompression: true, // a gzip writer is 1 MB a request, to make 16 KB smaller
		ErrorHandling:      promhttp.ContinueOnError,
		ErrorLog:           slog.NewLogLogger(log.Handler(), slog.LevelError),
	}).ServeHTTP
}
