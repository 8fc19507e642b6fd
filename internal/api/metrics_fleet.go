// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The families about the fleet as a whole and about the supervisor itself.

import (
	"maps"
	"slices"

	"github.com/preforkd/preforkd/supervisor"
)

func fleetMetrics() []metric {
	return []metric{
		{
			"preforkd_info", "The instance and its version; always 1.", gauge,
			[]string{"name", "version"},
			func(v *view, emit emit) { emit(1, v.Supervisor.Name, v.Supervisor.Version) },
		},
		{
			"preforkd_state", "1 for the state the fleet is in, 0 for the others.", gauge,
			[]string{"state"},
			func(v *view, emit emit) {
				for _, state := range []supervisor.State{
					supervisor.StateLoading, supervisor.StateStarting, supervisor.StateRunning,
					supervisor.StateStopping, supervisor.StateStopped,
				} {
					emit(truth(v.Supervisor.State == state), string(state))
				}
			},
		},
		{
			"preforkd_healthy", "1 while the supervisor's loop answers, as /healthz.", gauge, nil,
			func(v *view, emit emit) { emit(truth(v.healthy)) },
		},
		{
			"preforkd_ready", "1 with at least one ready worker and no stop under way, as /readyz.", gauge, nil,
			func(v *view, emit emit) { emit(truth(v.ready)) },
		},
		{
			"preforkd_workers", "Worker rows by status; a slot in replacement counts twice, one in backoff has no process.",
			gauge,
			[]string{"status"},
			statuses,
		},
		{
			"preforkd_worker_spawns_total", "Worker processes started.", counter, nil,
			func(v *view, emit emit) { emit(float64(v.counters.Spawns)) },
		},
		{
			"preforkd_worker_exits_total", "Worker processes ended, by reason.", counter,
			[]string{"reason"},
			func(v *view, emit emit) { each(v.counters.ExitsByReason, emit) },
		},
		{
			"preforkd_reloads_total", "Reloads, by result.", counter,
			[]string{"result"},
			func(v *view, emit emit) { each(v.counters.Reloads, emit) },
		},
		{
			"preforkd_listen_queue_connections", "Connections waiting to be accepted.", gauge,
			[]string{"name", "address"},
			func(v *view, emit emit) {
				for _, l := range v.Listen {
					number(emit, l.Queue, l.Name, l.Address)
				}
			},
		},
		{
			"preforkd_supervisor_start_time_seconds", "When preforkd started, in seconds since 1970.", gauge, nil,
			func(v *view, emit emit) { emit(unixTime(v.Supervisor.StartedAt)) },
		},
		{
			"preforkd_supervisor_cpu_seconds_total", "User and system time of preforkd itself.", counter, nil,
			func(v *view, emit emit) { number(emit, v.Supervisor.CPUSeconds) },
		},
		{
			"preforkd_supervisor_memory_bytes", "Memory of preforkd itself: rss, pss.", gauge,
			[]string{"kind"},
			func(v *view, emit emit) {
				number(emit, v.Supervisor.RSS, "rss")
				number(emit, v.Supervisor.PSS, "pss")
			},
		},
		{
			"preforkd_sampler_cpu_seconds_total", "Processor time that measuring has cost.", counter, nil,
			func(v *view, emit emit) { emit(v.Sampler.CPUSeconds) },
		},
		{
			"preforkd_sampler_interval_seconds", "Present period of the exact figures.", gauge, nil,
			func(v *view, emit emit) { emit(v.Sampler.Interval) },
		},
		{
			"preforkd_sampler_longest_call_seconds", "The longest single call of the sampler so far.", gauge, nil,
			func(v *view, emit emit) { emit(v.Sampler.LongestCall) },
		},
	}
}

func statuses(v *view, emit emit) {
	count := map[supervisor.Status]int{}
	for i := range v.Workers {
		count[v.Workers[i].Status]++
	}
	for _, status := range []supervisor.Status{
		supervisor.StatusStarting, supervisor.StatusReady, supervisor.StatusStopping, supervisor.StatusBackoff,
	} {
		emit(float64(count[status]), string(status))
	}
}

// each emits a map of totals in the order of its keys.
func each(totals map[string]uint64, emit emit) {
	for _, label := range slices.Sorted(maps.Keys(totals)) {
		emit(float64(totals[label]), label)
	}
}
