// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The scrape, read back by Prometheus' own parser.

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

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
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	series = map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			var pairs []string
			for _, l := range m.GetLabel() {
				pairs = append(pairs, l.GetName()+"="+l.GetValue())
			}
			slices.Sort(pairs)
			key := name + "{" + strings.Join(pairs, ",") + "}"
			if _, twice := series[key]; twice {
				t.Errorf("%s twice", key)
			}
			series[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return text, series
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
		"preforkd_sample_age_seconds{worker=2}",
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
		"preforkd_sample_age_seconds{worker=1}":                                             10,
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

func TestOpenMetricsIsServedToWhoAsksForIt(t *testing.T) {
	url := serve(t, apitest.NewSource(apitest.Rich())) + "/metrics"
	response, text := ask(t, "GET", url, "Accept", "application/openmetrics-text; version=1.0.0")
	if got := response.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text") {
		t.Errorf("Content-Type %q", got)
	}
	if !strings.HasSuffix(text, "# EOF\n") {
		t.Error("no EOF at the end")
	}
	if response, _ := ask(t, "GET", url); !strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("without Accept: %q", response.Header.Get("Content-Type"))
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
