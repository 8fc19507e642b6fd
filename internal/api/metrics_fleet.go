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
			"preforkd_worker_spawns_total", "Worker processes started since preforkd started.", counter, nil,
			func(v *view, emit emit) { emit(float64(v.counters.Spawns)) },
		},
		{
			"preforkd_worker_exits_total",
			"Worker processes ended since preforkd started, by reason: those of workers[].last_exit.reason.", counter,
			[]string{"reason"},
			func(v *view, emit emit) { each(v.counters.ExitsByReason, emit) },
		},
		{
			"preforkd_reloads_total", "Reloads since preforkd started, by result: done, unchanged, failed.", counter,
			[]string{"result"},
			func(v *view, emit emit) {
				for _, result := range []string{supervisor.ReloadDone, supervisor.ReloadUnchanged, supervisor.ReloadFailed} {
					emit(float64(v.counters.Reloads[result]), result)
				}
			},
		},
		{
			"preforkd_last_reload_successful", "0 when the last reload failed, else 1; absent before the first.", gauge, nil,
			lastReload(func(r *supervisor.Reload) float64 { return truth(r.Result != supervisor.ReloadFailed) }),
		},
		{
			"preforkd_last_reload_timestamp_seconds", "When the last reload ended, in seconds since 1970.", gauge, nil,
			lastReload(func(r *supervisor.Reload) float64 { return unixTime(r.At) }),
		},
		{
			"preforkd_last_reload_duration_seconds", "How long the last reload took, in seconds.", gauge, nil,
			lastReload(func(r *supervisor.Reload) float64 { return r.Took }),
		},
		{
			"preforkd_operation", "1 for the operation under way (reload, restart, scale), 0 for the others.", gauge,
			[]string{"kind"},
			func(v *view, emit emit) {
				for _, kind := range []string{"reload", "restart", "scale"} {
					emit(truth(v.Supervisor.Operation != nil && v.Supervisor.Operation.Kind == kind), kind)
				}
			},
		},
		{
			"preforkd_operation_workers",
			"Workers of the operation under way: done (replaced, or ready when scaling), total; absent without one.", gauge,
			[]string{"progress"},
			operation(func(o *supervisor.Operation, emit emit) {
				emit(float64(o.Done), "done")
				emit(float64(o.Total), "total")
			}),
		},
		{
			"preforkd_operation_failed_starts",
			"Replacements in a row that were not ready; absent without an operation.", gauge, nil,
			operation(func(o *supervisor.Operation, emit emit) { emit(float64(o.FailedStarts)) }),
		},
		{
			"preforkd_operation_start_time_seconds",
			"When the operation under way began, in seconds since 1970; absent without one.", gauge, nil,
			operation(func(o *supervisor.Operation, emit emit) { emit(unixTime(o.StartedAt)) }),
		},
		{
			"preforkd_operations_queued", "Operations that wait for the end of the one under way.", gauge, nil,
			func(v *view, emit emit) {
				queued := 0
				if o := v.Supervisor.Operation; o != nil {
					queued = o.Queued
				}
				emit(float64(queued))
			},
		},
		{
			"preforkd_listen_queue_connections",
			"Connections waiting to be accepted, on all sockets of the listener; accept is shared or reuseport.", gauge,
			[]string{"name", "address", "accept"},
			func(v *view, emit emit) {
				for _, l := range v.Listen {
					number(emit, l.Queue, l.Name, l.Address, l.Accept)
				}
			},
		},
		{
			"preforkd_supervisor_start_time_seconds", "When preforkd started, in seconds since 1970.", gauge, nil,
			func(v *view, emit emit) { emit(unixTime(v.Supervisor.StartedAt)) },
		},
		{
			"preforkd_supervisor_cpu_seconds_total", "User and system time of preforkd itself, in seconds.", counter, nil,
			func(v *view, emit emit) { number(emit, v.Supervisor.CPUSeconds) },
		},
		{
			"preforkd_supervisor_memory_bytes", "Memory of preforkd itself, in bytes: rss, pss.", gauge,
			[]string{"kind"},
			func(v *view, emit emit) {
				number(emit, v.Supervisor.RSS, "rss")
				number(emit, v.Supervisor.PSS, "pss")
			},
		},
	}
}

// lastReload emits a figure of the last reload; before the first one there is no series.
func lastReload(figure func(*supervisor.Reload) float64) func(*view, emit) {
	return func(v *view, emit emit) {
		if r := v.Supervisor.LastReload; r != nil {
			emit(figure(r))
		}
	}
}

// operation emits figures of the operation under way; without one there is no series.
func operation(figures func(*supervisor.Operation, emit)) func(*view, emit) {
	return func(v *view, emit emit) {
		if o := v.Supervisor.Operation; o != nil {
			figures(o, emit)
		}
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
