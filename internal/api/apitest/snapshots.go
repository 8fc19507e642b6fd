// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package apitest holds snapshots made by hand, for the tests of what shows them. Nothing else imports it.
package apitest

import (
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)

func started() time.Time { return time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC) }

func after(seconds float64) *time.Time {
	at := started().Add(time.Duration(seconds * float64(time.Second)))
	return &at
}

// Example is a fleet of two workers that share one dataset; one of them has written to 1 MiB of a private mapping. Its
// sums follow the formulas of docs/stats.md, where it is the example.
func Example() *supervisor.Snapshot {
	data, private, file, tables, copied, super := gib, 22*mib, 4*mib, 92*kib, mib, 14*mib
	share := (data-copied)/2 + copied // half of what both map, and one MiB alone: the page itself or its copy
	used := data + 2*(private+file+tables) + copied + super
	saved := 2*data - copied - data
	worker := func(id, pid int, own, cow int64) supervisor.Worker {
		return supervisor.Worker{
			ID: id, PID: new(pid), Status: supervisor.StatusReady, Incarnation: 1,
			LastSpawn: after(1.5), Uptime: new(98.5), PIDs: []int{pid},
			RSS: new(data + private + own + 9*mib), PSS: new(share + private + file), USS: new(private + own + copied),
			Private: new(private + own), Shared: new(data + 9*mib), Swap: new(int64(0)), PageTables: new(tables),
			CPUSeconds: new(0.75), Threads: new(1), FDs: new(9),
			Sample: supervisor.Sample{At: after(90), Took: 0.0021, Exact: true, Source: "pagemap_scan+smaps_rollup"},
			Data: []supervisor.WorkerData{
				{Name: "emb", Version: 1, RSS: new(data), PSS: new(share), COW: new(cow), Huge: new(data - 2*cow)},
			},
		}
	}
	return &supervisor.Snapshot{
		Schema: supervisor.SchemaVersion,
		Supervisor: supervisor.Supervised{
			PID: 4100, Version: "0.1.0", Name: "default", Command: []string{"python", "app.py"},
			StartedAt: started(), Uptime: 100,
			RSS: new(17 * mib), PSS: new(super), CPUSeconds: new(0.42), State: supervisor.StateRunning,
		},
		Data: []supervisor.Data{{
			Name: "emb", Version: 1, Source: "./emb.npy", Format: new("npy"), DType: "<f4", Shape: []int64{8388607, 32},
			Size: new(data), Resident: new(data), Huge: new(data),
			SHA256:   new("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
			LoadedAt: after(1.25), LoadSeconds: new(1.125), Loaded: data, Read: data, SourceSize: new(data), Workers: 2,
		}},
		Workers: []supervisor.Worker{worker(0, 4108, 0, 0), worker(1, 4109, copied, copied)},
		Listen:  []supervisor.Listener{{Name: "http", Address: "127.0.0.1:8000", Accept: "shared", Queue: new(0)}},
		Memory: supervisor.Memory{
			RSS: new(2*(data+private+9*mib) + copied), PSS: new(2 * (share + private + file)),
			USS: new(2*(private+copied) + copied), Private: new(2*private + copied), PageTables: new(2 * tables),
			Data: data, Mapped: new(2*data - copied), COW: new(copied), Supervisor: new(super), Used: new(used),
			WithoutSharing: new(used + saved), Saved: new(saved), SavedFull: new(saved),
			SavedRatio: new(float64(saved) / float64(used+saved)), Copies: new(float64(data+copied) / float64(data)),
			Counterfactual: "The data is in memory once: 1.0 GiB. saved: if each of the 2 workers had its own copy of just " +
				"the pages that it maps now, copies would take 2.0 GiB. saved_full: if each of the 2 ready ones had loaded " +
				"all of it, less the 1.0 MiB that they copied by writing.",
			Cgroup: supervisor.CgroupMemory{Current: new(data + 90*mib), Shmem: new(data), Limit: new(4 * gib)},
		},
		Sampler: supervisor.Sampler{Interval: 10, Budget: 0.01, LastTook: 0.0042, LongestCall: 0.0031, CPUSeconds: 0.04},
	}
}

// Rich is Example with one row of everything that can happen: a slot in replacement, one in backoff, a process tree, a
// worker that cannot be measured, one whose predecessor the OOM killer took, two versions of a dataset, another one being
// loaded, a reload under way after one that failed, hostile text, missing values.
func Rich() *supervisor.Snapshot {
	s := Example()
	s.Supervisor.LastReload = &supervisor.Reload{
		At: *after(95), Took: 61.5, Result: supervisor.ReloadFailed,
		Error: "worker 1 was not ready in 60 s; its last words:\nImportError: app\t\x1b[31mv2\x1b[0m",
	}
	s.Supervisor.Operation = &supervisor.Operation{
		Kind: "reload", StartedAt: *after(96), Phase: "rolling", Done: 1, Total: 4, FailedStarts: 2, Queued: 1,
	}

	next := s.Data[0]
	next.Version, next.Huge, next.LoadedAt, next.Workers = 2, nil, after(80), 1
	s.Data = append(s.Data, next, supervisor.Data{
		Name: "geo", Source: "cmd:gen", Resident: new(2 * mib), Loaded: 2 * mib, Read: 2 * mib,
	}, supervisor.Data{
		Name: "tags", Source: "https://host/tags.bin.zst", Size: new(64 * mib), Resident: new(16 * mib), Loaded: 16 * mib,
		Read: 5 * mib, SourceSize: new(20 * mib), Codec: "zstd",
	}, supervisor.Data{
		Name: "words", Version: 1, Source: "words.npz.zst", Format: new("npz"), Codec: "zstd", Members: 3, Size: new(3 * mib),
		Resident: new(3 * mib), Huge: new(2 * mib), LoadedAt: after(1.5), LoadSeconds: new(0.25), Loaded: 3 * mib, Read: mib,
		SourceSize: new(mib), Locked: true,
	}, supervisor.Data{
		Name: "db", Version: 1, Source: "direct:/srv/geo.sqlite", Format: new("raw"), Direct: true, Size: new(8 * mib),
		Resident: new(4 * mib), LoadedAt: after(1.5), LoadSeconds: new(0.001), Loaded: 8 * mib, Read: 8 * mib, SourceSize: new(8 * mib),
	})

	s.Workers[0].PIDs = append(s.Workers[0].PIDs, 4120, 4121)
	s.Workers[0].Requests = new(int64(1234))
	s.Workers[0].StatusText = "index \x1b[31mwarm\x1b[0m"
	s.Workers[0].InPlace = []string{"emb"}
	s.Workers[0].Replacing = "max-private"
	s.Workers[1].Status, s.Workers[1].Replacing = supervisor.StatusStopping, "reload"

	fresh := supervisor.Worker{
		ID: 1, PID: new(4130), Status: supervisor.StatusStarting, Incarnation: 2, RespawnCount: 1,
		LastSpawn: after(97), Uptime: new(3.0), PIDs: []int{4130}, RSS: new(8 * mib), Private: new(5 * mib),
		Shared: new(3 * mib), Swap: new(int64(0)), PageTables: new(64 * kib), CPUSeconds: new(0.05), Threads: new(1),
		Sample: supervisor.Sample{
			At: after(99), Took: 0.00001, Source: "status", Error: "smaps_rollup has not been read yet",
		},
		Data: []supervisor.WorkerData{{Name: "emb", Version: 2}},
	}
	locked := supervisor.Worker{
		ID: 2, PID: new(4131), Status: supervisor.StatusReady, Incarnation: 2, RespawnCount: 1, LastSpawn: after(2),
		Uptime: new(98.0), PIDs: []int{4131},
		LastExit: &supervisor.Exit{At: *after(1), Signal: "SIGKILL", Reason: "crash", OOM: true},
		Sample:   supervisor.Sample{Source: "status", Error: "/proc/4131/status: permission denied"},
		Data:     []supervisor.WorkerData{{Name: "emb", Version: 1}},
	}
	waiting := supervisor.Worker{
		ID: 3, Status: supervisor.StatusBackoff, Incarnation: 5, RespawnCount: 4, LastSpawn: after(96), PIDs: []int{},
		LastExit: &supervisor.Exit{At: *after(97), Signal: "SIGSEGV", Reason: "crash"},
		Data:     []supervisor.WorkerData{},
	}
	s.Workers = append(s.Workers, fresh, locked, waiting)

	s.Listen = append(s.Listen,
		supervisor.Listener{Name: "admin", Address: "unix:/run/app/admin.sock", Accept: "shared"},
		supervisor.Listener{Name: "grpc", Address: "[::1]:9000", Accept: "reuseport", Queue: new(3)})
	s.Memory.PSS, s.Memory.USS, s.Memory.Used, s.Memory.WithoutSharing = nil, nil, nil, nil
	s.Memory.Saved, s.Memory.SavedRatio = new(-40*mib), nil
	s.Memory.Cgroup = supervisor.CgroupMemory{}
	return s
}

// Loading is a fleet whose only dataset is still being loaded: no worker, nothing measured.
func Loading() *supervisor.Snapshot {
	s := Example()
	s.Supervisor.State, s.Supervisor.Uptime = supervisor.StateLoading, 1
	s.Supervisor.PSS = nil
	s.Data = []supervisor.Data{{Name: "emb", Source: "./emb.npy", Size: new(gib), Resident: new(gib / 4), Loaded: gib / 4}}
	s.Workers = []supervisor.Worker{}
	s.Listen = []supervisor.Listener{}
	s.Memory = supervisor.Memory{Data: gib / 4}
	s.Sampler = supervisor.Sampler{Interval: 10, Budget: 0.01}
	return s
}
