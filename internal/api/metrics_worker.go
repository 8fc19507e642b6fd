// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The families about single workers. The label worker is the slot: it stays when its process is replaced. While a slot
// is in replacement it has two rows; what they hold is added up, and what counts up is the newer one's.

import (
	"strconv"

	"github.com/preforkd/preforkd/supervisor"
)

func workerMetrics() []metric {
	worker := []string{"worker"}
	return []metric{
		{
			"preforkd_worker_ready", "1 while a process of this slot is ready.", gauge, worker,
			func(v *view, emit emit) {
				for _, s := range v.slots {
					emit(truth(s.ready()), s.id)
				}
			},
		},
		{
			"preforkd_worker_replacing", "1 while a process of this slot is to be replaced, or is being replaced.", gauge,
			worker,
			func(v *view, emit emit) {
				for _, s := range v.slots {
					emit(truth(s.replacing()), s.id)
				}
			},
		},
		{
			"preforkd_worker_last_exit_oom",
			"1 when the slot's last process was killed while the kernel's OOM killer was at work in preforkd's cgroup.",
			gauge, worker,
			func(v *view, emit emit) {
				for _, s := range v.slots {
					if exit := s.newest().LastExit; exit != nil {
						emit(truth(exit.OOM), s.id)
					}
				}
			},
		},
		{
			"preforkd_worker_restarts_total", "Processes this slot has had beyond its first.", counter, worker,
			func(v *view, emit emit) {
				for _, s := range v.slots {
					emit(float64(s.newest().RespawnCount), s.id)
				}
			},
		},
		{
			"preforkd_worker_start_time_seconds", "When the slot's newest process started, in seconds since 1970.",
			gauge, worker,
			func(v *view, emit emit) {
				for _, s := range v.slots {
					if at := s.newest().LastSpawn; at != nil && s.newest().PID != nil {
						emit(unixTime(*at), s.id)
					}
				}
			},
		},
		{
			"preforkd_worker_memory_bytes",
			"Memory of the slot's process tree, in bytes: rss, pss, uss, private, shared, swap, page_tables.",
			gauge,
			[]string{"worker", "kind"},
			workerMemory,
		},
		{
			"preforkd_worker_data_bytes",
			"What the slot maps of one version, in bytes: rss, pss, cow (copied by writing), huge (by huge pages).",
			gauge,
			[]string{"worker", "name", "version", "kind"},
			workerData,
		},
		{
			"preforkd_worker_cpu_seconds_total",
			"User and system time of the slot's newest process tree, in seconds.", counter, worker,
			func(v *view, emit emit) {
				for _, s := range v.slots {
					number(emit, s.newest().CPUSeconds, s.id)
				}
			},
		},
		{
			"preforkd_worker_requests_total",
			"Requests served by the slot's newest process, where it tells (X_PREFORKD_REQUESTS).", counter, worker,
			func(v *view, emit emit) {
				for _, s := range v.slots {
					number(emit, s.newest().Requests, s.id)
				}
			},
		},
		{
			"preforkd_worker_processes", "Processes of the slot.", gauge, worker,
			func(v *view, emit emit) {
				for _, s := range v.slots {
					emit(float64(s.processes()), s.id)
				}
			},
		},
		{
			"preforkd_worker_threads", "Threads of the slot's processes.", gauge, worker,
			func(v *view, emit emit) {
				for _, s := range v.slots {
					number(emit, sum(s, func(w *supervisor.Worker) *int { return w.Threads }), s.id)
				}
			},
		},
		{
			"preforkd_worker_open_fds", "Open descriptors of the slot's processes.", gauge, worker,
			func(v *view, emit emit) {
				for _, s := range v.slots {
					number(emit, sum(s, func(w *supervisor.Worker) *int { return w.FDs }), s.id)
				}
			},
		},
	}
}

func workerMemory(v *view, emit emit) {
	for _, s := range v.slots {
		for _, field := range []struct {
			kind string
			of   func(w *supervisor.Worker) *int64
		}{
			{"rss", func(w *supervisor.Worker) *int64 { return w.RSS }},
			{"pss", func(w *supervisor.Worker) *int64 { return w.PSS }},
			{"uss", func(w *supervisor.Worker) *int64 { return w.USS }},
			{"private", func(w *supervisor.Worker) *int64 { return w.Private }},
			{"shared", func(w *supervisor.Worker) *int64 { return w.Shared }},
			{"swap", func(w *supervisor.Worker) *int64 { return w.Swap }},
			{"page_tables", func(w *supervisor.Worker) *int64 { return w.PageTables }},
		} {
			number(emit, sum(s, field.of), s.id, field.kind)
		}
	}
}

func workerData(v *view, emit emit) {
	for _, s := range v.slots {
		for _, d := range s.data() {
			version := strconv.Itoa(d.Version)
			number(emit, d.RSS, s.id, d.Name, version, "rss")
			number(emit, d.PSS, s.id, d.Name, version, "pss")
			number(emit, d.COW, s.id, d.Name, version, "cow")
			number(emit, d.Huge, s.id, d.Name, version, "huge")
		}
	}
}
