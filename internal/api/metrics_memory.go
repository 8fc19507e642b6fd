// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// The families about memory and datasets.

import "strconv"

func memoryMetrics() []metric {
	return []metric{
		{
			"preforkd_memory_bytes",
			"The fleet's account, in bytes: rss, pss, uss, private, page_tables, data, mapped, cow, supervisor, used, " +
				"without_sharing.",
			gauge,
			[]string{"kind"},
			fleetMemory,
		},
		{
			"preforkd_memory_saved_bytes",
			"Bytes that would be held more if each worker had its own copy of the pages it maps; may be negative after a load.",
			gauge, nil, func(v *view, emit emit) { number(emit, v.Memory.Saved) },
		},
		{
			"preforkd_memory_saved_full_bytes",
			"Bytes that would be held more if each ready worker had loaded all of the data.",
			gauge, nil, func(v *view, emit emit) { number(emit, v.Memory.SavedFull) },
		},
		{
			"preforkd_memory_saved_ratio",
			"Share that is saved: saved bytes over the bytes without sharing, 0 to 1; absent without datasets and while nothing is saved.",
			gauge, nil, func(v *view, emit emit) { number(emit, v.Memory.SavedRatio) },
		},
		{
			"preforkd_data_copies", "Copies of the data held, 1 is perfect; absent without datasets.",
			gauge, nil, func(v *view, emit emit) { number(emit, v.Memory.Copies) },
		},
		{
			"preforkd_cgroup_memory_bytes",
			"The memory cgroup of preforkd, in bytes: current, shmem, limit; absent where there is none.",
			gauge,
			[]string{"kind"},
			func(v *view, emit emit) {
				number(emit, v.Memory.Cgroup.Current, "current")
				number(emit, v.Memory.Cgroup.Shmem, "shmem")
				number(emit, v.Memory.Cgroup.Limit, "limit")
			},
		},
		{
			"preforkd_data_bytes",
			"One version of a dataset, in bytes: size (content), loaded (so far), resident (allocated), huge (in huge pages), " +
				"read (so far, of the source), source (its length). Version 0 is being loaded.",
			gauge,
			[]string{"name", "version", "kind"},
			dataBytes,
		},
		{
			"preforkd_data_workers", "Live workers that were handed this version.", gauge,
			[]string{"name", "version"},
			func(v *view, emit emit) {
				for _, d := range v.Data {
					emit(float64(d.Workers), d.Name, strconv.Itoa(d.Version))
				}
			},
		},
		{
			"preforkd_data_load_seconds", "How long the load of this version took, in seconds.", gauge,
			[]string{"name", "version"},
			func(v *view, emit emit) {
				for _, d := range v.Data {
					if d.LoadSeconds != nil {
						emit(*d.LoadSeconds, d.Name, strconv.Itoa(d.Version))
					}
				}
			},
		},
		{
			"preforkd_data_loaded_timestamp_seconds", "When this version was loaded, in seconds since 1970.",
			gauge,
			[]string{"name", "version"},
			func(v *view, emit emit) {
				for _, d := range v.Data {
					if d.LoadedAt != nil {
						emit(unixTime(*d.LoadedAt), d.Name, strconv.Itoa(d.Version))
					}
				}
			},
		},
	}
}

func fleetMemory(v *view, emit emit) {
	m := &v.Memory
	emit(float64(m.Data), "data")
	for _, field := range []struct {
		value *int64
		kind  string
	}{
		{m.RSS, "rss"},
		{m.PSS, "pss"},
		{m.USS, "uss"},
		{m.Private, "private"},
		{m.PageTables, "page_tables"},
		{m.Mapped, "mapped"},
		{m.COW, "cow"},
		{m.Supervisor, "supervisor"},
		{m.Used, "used"},
		{m.WithoutSharing, "without_sharing"},
	} {
		number(emit, field.value, field.kind)
	}
}

func dataBytes(v *view, emit emit) {
	for _, d := range v.Data {
		version := strconv.Itoa(d.Version)
		number(emit, d.Size, d.Name, version, "size")
		emit(float64(d.Loaded), d.Name, version, "loaded")
		number(emit, d.Resident, d.Name, version, "resident")
		number(emit, d.Huge, d.Name, version, "huge")
		emit(float64(d.Read), d.Name, version, "read")
		number(emit, d.SourceSize, d.Name, version, "source")
	}
}
