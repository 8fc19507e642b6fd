// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The scrape, read back by Prometheus' own parser.

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

// scrape returns the text of /metrics and its series by "name{label=value,…}".
func scrape(t *testing.T, s *supervisor.Snapshot) (text string, series map[string]float64) {
	t.Helper()
	response, text := ask(t, "GET", serve(t, apitest.NewSource(s))+"/metrics")
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", response.Status, text)
	}
	return text, parsed(t, response, text)
}

// parsed reads an answer as its Content-Type says.
func parsed(t *testing.T, response *http.Response, text string) map[string]float64 {
	t.Helper()
	series := map[string]float64{}
	decoder := expfmt.NewDecoder(strings.NewReader(text), expfmt.ResponseFormat(response.Header))
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); errors.Is(err, io.EOF) {
			return series
		} else if err != nil {
			t.Fatalf("%s: %v", response.Header.Get("Content-Type"), err)
		}
		for _, m := range family.GetMetric() {
			var pairs []string
			for _, l := range m.GetLabel() {
				pairs = append(pairs, l.GetName()+"="+l.GetValue())
			}
			slices.Sort(pairs)
			key := family.GetName() + "{" + strings.Join(pairs, ",") + "}"
			if _, twice := series[key]; twice {
				t.Errorf("%s twice", key)
			}
			series[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
	}
}

// What Rich shows is every family there is: a family that is never seen is never checked.
func TestEveryFamilyIsServedByTheRichSnapshot(t *testing.T) {
	text, _ := scrape(t, apitest.Rich())
	example, _ := scrape(t, apitest.Example()) // has the figures that Rich lacks
	for _, m := range metrics() {
		if head := "# HELP " + m.name + " "; !strings.Contains(text, head) && !strings.Contains(example, head) {
			t.Errorf("%s is in no scrape", m.name)
		}
	}
}

// A name ends in its unit, and the help names it too.
func TestHelpNamesTheUnit(t *testing.T) {
	for _, m := range metrics() {
		name, help := strings.TrimSuffix(m.name, "_total"), strings.ToLower(m.help)
		for suffix, word := range map[string]string{"_bytes": "bytes", "_seconds": "seconds", "_ratio": "share"} {
			if strings.HasSuffix(name, suffix) && !strings.Contains(help, word) {
				t.Errorf("%s: %q does not say %s", m.name, m.help, word)
			}
		}
		if !strings.HasSuffix(m.help, ".") {
			t.Errorf("%s: %q is no sentence", m.name, m.help)
		}
	}
}

func TestMetricsAreWhatPromlintWants(t *testing.T) {
	for _, s := range []*supervisor.Snapshot{apitest.Rich(), apitest.Example(), apitest.Loading()} {
		text, _ := scrape(t, s)
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestTheWholeScrape(t *testing.T) {
	text, _ := scrape(t, apitest.Rich())
	golden(t, "testdata/metrics.txt", text)
}

func TestAMissingValueIsAnAbsentSeries(t *testing.T) {
	_, rich := scrape(t, apitest.Rich())
	for _, absent := range []string{
		"preforkd_worker_memory_bytes{kind=pss,worker=1}", // of its two processes one is not measured
		"preforkd_worker_memory_bytes{kind=rss,worker=2}",
		"preforkd_worker_memory_bytes{kind=rss,worker=3}",
		"preforkd_worker_cpu_seconds_total{worker=2}",
		"preforkd_worker_requests_total{worker=1}",
		"preforkd_worker_start_time_seconds{worker=3}",
		"preforkd_worker_sample_age_seconds{worker=2}",
		"preforkd_worker_data_bytes{kind=rss,name=emb,version=2,worker=1}",
		"preforkd_data_bytes{kind=huge,name=emb,version=2}",
		"preforkd_data_bytes{kind=size,name=geo,version=0}",
		"preforkd_memory_bytes{kind=pss}",
		"preforkd_memory_saved_ratio{}",
		"preforkd_cgroup_memory_bytes{kind=limit}",
		"preforkd_listen_queue_connections{accept=shared,address=unix:/run/app/admin.sock,name=admin}",
		"preforkd_worker_last_exit_oom{worker=0}",
	} {
		if value, there := rich[absent]; there {
			t.Errorf("%s = %v", absent, value)
		}
	}
	for key, want := range map[string]float64{
		"preforkd_memory_saved_bytes{}":                                                     -40 << 20,
		"preforkd_workers{status=ready}":                                                    2,
		"preforkd_workers{status=starting}":                                                 1,
		"preforkd_workers{status=stopping}":                                                 1,
		"preforkd_workers{status=backoff}":                                                  1,
		"preforkd_worker_ready{worker=1}":                                                   0,
		"preforkd_worker_memory_bytes{kind=rss,worker=1}":                                   (1<<30 + 22<<20 + 1<<20 + 9<<20) + 8<<20,
		"preforkd_worker_restarts_total{worker=1}":                                          1,
		"preforkd_worker_cpu_seconds_total{worker=1}":                                       0.05, // the newer one's
		"preforkd_worker_requests_total{worker=0}":                                          1234,
		"preforkd_worker_processes{worker=0}":                                               3,
		"preforkd_worker_processes{worker=3}":                                               0,
		"preforkd_worker_sample_age_seconds{worker=1}":                                      10,
		"preforkd_worker_data_bytes{kind=cow,name=emb,version=1,worker=1}":                  1 << 20,
		"preforkd_worker_exits_total{reason=crash}":                                         2,
		"preforkd_worker_exits_total{reason=start-timeout}":                                 0,
		"preforkd_worker_spawns_total{}":                                                    7,
		"preforkd_reloads_total{result=failed}":                                             1,
		"preforkd_reloads_total{result=unchanged}":                                          0, // also where the source does not count it
		"preforkd_last_reload_successful{}":                                                 0,
		"preforkd_last_reload_timestamp_seconds{}":                                          1772355695,
		"preforkd_last_reload_duration_seconds{}":                                           61.5,
		"preforkd_operation{kind=reload}":                                                   1,
		"preforkd_operation{kind=scale}":                                                    0,
		"preforkd_operation_workers{progress=done}":                                         1,
		"preforkd_operation_workers{progress=total}":                                        4,
		"preforkd_operation_failed_starts{}":                                                2,
		"preforkd_operation_start_time_seconds{}":                                           1772355696,
		"preforkd_operations_queued{}":                                                      1,
		"preforkd_unmeasured_workers{}":                                                     2,
		"preforkd_sampler_budget_ratio{}":                                                   0.01,
		"preforkd_data_bytes{kind=read,name=tags,version=0}":                                5 << 20,
		"preforkd_data_bytes{kind=source,name=tags,version=0}":                              20 << 20,
		"preforkd_worker_replacing{worker=1}":                                               1,
		"preforkd_worker_replacing{worker=2}":                                               0,
		"preforkd_worker_last_exit_oom{worker=2}":                                           1,
		"preforkd_worker_last_exit_oom{worker=3}":                                           0,
		"preforkd_state{state=running}":                                                     1,
		"preforkd_state{state=loading}":                                                     0,
		"preforkd_data_bytes{kind=loaded,name=tags,version=0}":                              16 << 20,
		"preforkd_supervisor_start_time_seconds{}":                                          1772355600,
		"preforkd_listen_queue_connections{accept=shared,address=127.0.0.1:8000,name=http}": 0,
		"preforkd_listen_queue_connections{accept=reuseport,address=[::1]:9000,name=grpc}":  3,
	} {
		if got, there := rich[key]; !there || got != want {
			t.Errorf("%s = %v (%v), want %v", key, got, there, want)
		}
	}
}

func TestEachScraperGetsTheFormatThatItAsksForAndTheSameSeries(t *testing.T) {
	url := serve(t, apitest.NewSource(apitest.Rich())) + "/metrics"
	_, want := scrape(t, apitest.Rich())
	for _, c := range []struct{ accept, kind string }{
		{"", "text/plain; version=0.0.4"},
		{"text/plain", "text/plain; version=0.0.4"},
		{"application/openmetrics-text; version=0.0.1", "application/openmetrics-text; version=0.0.1"},
		{"application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0"},
		{ // Prometheus 2.42
			"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75," +
				"text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "application/openmetrics-text; version=1.0.0",
		},
		{
			"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;q=0.5",
			"application/vnd.google.protobuf",
		},
	} {
		response, text := ask(t, "GET", url, "Accept", c.accept)
		if got := response.Header.Get("Content-Type"); !strings.HasPrefix(got, c.kind) {
			t.Errorf("Accept %q: Content-Type %q, want %s", c.accept, got, c.kind)
		}
		if open := strings.Contains(c.kind, "openmetrics"); strings.HasSuffix(text, "# EOF\n") != open {
			t.Errorf("Accept %q: an EOF at the end is for OpenMetrics", c.accept)
		}
		if diff := cmp.Diff(want, parsed(t, response, text)); diff != "" {
			t.Errorf("Accept %q (-text +this):\n%s", c.accept, diff)
		}
	}
}

// The age of a sample is told by the snapshot: a scrape of an old snapshot does not make its figures older or younger.
func TestSampleAgeIsTheSnapshotsOwn(t *testing.T) {
	s := apitest.Example()
	s.Supervisor.Uptime = 250
	s.Workers[0].Sample.At = new(s.Supervisor.StartedAt.Add(300 * time.Second)) // read after the snapshot was begun
	_, series := scrape(t, s)
	if now, ago := series["preforkd_worker_sample_age_seconds{worker=0}"], series["preforkd_worker_sample_age_seconds{worker=1}"]; now != 0 ||
		ago != 160 {
		t.Errorf("ages %v and %v, want 0 and 160", now, ago)
	}
}

// A label that Prometheus cannot carry costs its family and nothing more.
func TestABadLabelSpoilsOnlyItsFamily(t *testing.T) {
	s := apitest.Example()
	s.Listen[0].Address = "unix:/\xff"
	text, series := scrape(t, s)
	if strings.Contains(text, "listen_queue") || series["preforkd_healthy{}"] != 1 {
		t.Errorf("the scrape is\n%s", text)
	}
}

func TestWithoutAReloadThereIsNoFigureOfOne(t *testing.T) {
	_, series := scrape(t, apitest.Example())
	for key := range series {
		if strings.HasPrefix(key, "preforkd_last_reload") {
			t.Errorf("%s", key)
		}
	}
	if value, there := series["preforkd_operation{kind=reload}"]; !there || value != 0 {
		t.Errorf("preforkd_operation = %v (%v)", value, there)
	}
}
