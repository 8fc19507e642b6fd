// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The families about the measuring: how old its figures are, which are missing, and what it costs.

import "time"

func samplerMetrics() []metric {
	return []metric{
		{
			"preforkd_worker_sample_age_seconds",
			"Age of the slot's oldest memory sample when the snapshot was made, in seconds; absent before the first.", gauge,
			[]string{"worker"},
			func(v *view, emit emit) {
				now := v.Supervisor.StartedAt.Add(time.Duration(v.Supervisor.Uptime * float64(time.Second)))
				for _, s := range v.slots {
					if at := s.oldestSample(); at != nil {
						emit(max(0, now.Sub(*at).Seconds()), s.id)
					}
				}
			},
		},
		{
			"preforkd_unmeasured_workers",
			"Live workers of which a figure is unknown; workers[].sample.error of /stats says why.", gauge, nil,
			func(v *view, emit emit) { emit(float64(unmeasured(v))) },
		},
		{
			"preforkd_sampler_cpu_seconds_total", "Processor time that measuring has cost, in seconds.", counter, nil,
			func(v *view, emit emit) { emit(v.Sampler.CPUSeconds) },
		},
		{
			"preforkd_sampler_budget_ratio",
			"Share of one core that measuring may cost in the long run (--stats-budget).", gauge, nil,
			func(v *view, emit emit) { emit(v.Sampler.Budget) },
		},
		{
			"preforkd_sampler_interval_seconds", "Present period of the exact figures, in seconds.", gauge, nil,
			func(v *view, emit emit) { emit(v.Sampler.Interval) },
		},
		{
			"preforkd_sampler_last_duration_seconds", "How long the last scan of a worker took, in seconds.", gauge, nil,
			func(v *view, emit emit) { emit(v.Sampler.LastTook) },
		},
		{
			"preforkd_sampler_longest_call_seconds",
			"The longest single read of the last half hour to hour by the wall clock, in seconds.", gauge, nil,
			func(v *view, emit emit) { emit(v.Sampler.LongestCall) },
		},
	}
}

// unmeasured counts rows, not slots: each is a process tree.
func unmeasured(v *view) (n int) {
	for i := range v.Workers {
		if w := &v.Workers[i]; w.PID != nil && w.Sample.Error != "" {
			n++
		}
	}
	return n
}
