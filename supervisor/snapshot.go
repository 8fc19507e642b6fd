// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

import "time"

// This file is the schema of /stats (docs/stats.md, version 1): the types that a library user reads, that the HTTP
// endpoints serve and that `preforkd status` prints are the same. Bytes are bytes, durations are seconds, times are
// RFC 3339. A pointer that is nil is a value that could not be read: JSON null, never 0; the reason stands in Sample.Error
// of its row.

// SchemaVersion is the number in Snapshot.Schema. It grows when a field changes its meaning or goes away.
const SchemaVersion = 1

// Snapshot is one immutable view of a fleet and its memory.
type Snapshot struct {
	Schema     int        `json:"schema"`
	Supervisor Supervised `json:"supervisor"`
	Data       []Data     `json:"data"`
	Workers    []Worker   `json:"workers"`
	Listen     []Listener `json:"listen"`
	Memory     Memory     `json:"memory"`
	Sampler    Sampler    `json:"sampler"`
}

// State is what the fleet as a whole is doing.
type State string

// The states of a fleet, in the order in which it normally passes through them.
const (
	StateLoading  State = "loading"  // datasets are being loaded, no worker has been started
	StateStarting State = "starting" // workers are starting, none has been ready yet
	StateRunning  State = "running"  // at least one worker has been ready
	StateStopping State = "stopping" // a stop was asked for
	StateStopped  State = "stopped"  // the last worker is gone
)

// Supervised is the supervisor's own row. RSS and PSS are bytes, CPUSeconds is user plus system time.
type Supervised struct {
	PID        int       `json:"pid"`
	Version    string    `json:"version"`
	Name       string    `json:"name"`
	Command    []string  `json:"command"` // of the workers, as it was given; only its first word with Config.HideArgs
	StartedAt  time.Time `json:"started_at"`
	Uptime     float64   `json:"uptime"`
	RSS        *int64    `json:"rss"`
	PSS        *int64    `json:"pss"`
	CPUSeconds *float64  `json:"cpu_seconds"`
	State      State     `json:"state"`
	// Operation is the change under way; nil when there is none.
	Operation  *Operation `json:"operation"`
	LastReload *Reload    `json:"last_reload"`
}

// Operation is a reload, restart or scaling under way.
type Operation struct {
	Kind      string    `json:"kind"` // reload, restart or scale
	StartedAt time.Time `json:"started_at"`
	Phase     string    `json:"phase"` // loading (datasets) or rolling (workers)
	// Done of Total workers are replaced: the new one is ready.
	Done  int `json:"done"`
	Total int `json:"total"`
	// FailedStarts counts replacements that were not ready, in a row; too many end the operation.
	FailedStarts int `json:"failed_starts"`
	Queued       int `json:"queued"` // operations that wait for the end of this one
}

// Results of a reload.
const (
	ReloadDone      = "done"      // every worker was replaced
	ReloadUnchanged = "unchanged" // of the datasets named none had changed: nothing was replaced
	ReloadFailed    = "failed"    // the old workers and the old data serve on
)

// Reload is the outcome of the last reload; nil before the first one. Took is in seconds.
type Reload struct {
	At     time.Time `json:"at"`
	Took   float64   `json:"took"`
	Result string    `json:"result"`
	Error  string    `json:"error,omitempty"`
}

// Data is one live version of a dataset. While it is being loaded Version is 0, Loaded counts the bytes so far, and what only
// the whole content tells is nil.
type Data struct {
	Name        string     `json:"name"`
	Version     int        `json:"version"`
	Source      string     `json:"source"` // without user, query and command arguments
	Format      *string    `json:"format"`
	DType       string     `json:"dtype,omitempty"`
	Shape       []int64    `json:"shape,omitempty"`
	Size        *int64     `json:"size"`     // bytes of content; null for a stream that is being loaded
	Resident    *int64     `json:"resident"` // allocated bytes, st_blocks × 512
	Huge        *int64     `json:"huge"`     // bytes of it in huge pages; null where no worker's scan has shown it
	SHA256      *string    `json:"sha256"`   // of the content; null until it has been reckoned, behind the load
	LoadedAt    *time.Time `json:"loaded_at"`
	LoadSeconds *float64   `json:"load_seconds"`
	Loaded      int64      `json:"loaded"` // bytes loaded so far, Size when done
	// Read of SourceSize bytes of the source were read: other figures than Loaded and Size where it is compressed. SourceSize is
	// nil where nobody knows it.
	Read       int64  `json:"read"`
	SourceSize *int64 `json:"source_size"`
	Codec      string `json:"codec,omitempty"`   // gzip, zstd, xz or lz4: what the source was packed with
	Members    int    `json:"members,omitempty"` // arrays in it: npz, safetensors
	Direct     bool   `json:"direct,omitempty"`  // workers open the source itself; Resident is its part in the page cache
	Locked     bool   `json:"locked,omitempty"`  // kept in RAM by mlock
	Workers    int    `json:"workers"`           // live workers that have this version, mapped or not
}

// Status is what a row's worker is doing.
type Status string

// A worker is starting, ready or stopping; a slot without a worker is in backoff.
const (
	StatusStarting Status = "starting"
	StatusReady    Status = "ready"
	StatusStopping Status = "stopping"
	StatusBackoff  Status = "backoff"
)

// Exit is how a process ended: by Signal when that is set, else with Code; with neither when there was no process.
type Exit struct {
	At     time.Time `json:"at"`
	Code   *int      `json:"code"`
	Signal string    `json:"signal,omitempty"`
	// Reason is stop, crash, start-timeout, stop-timeout, spawn-failed, reload, restart, scale, max-age, max-requests,
	// max-private or watchdog.
	Reason string `json:"reason"`
	// OOM: it was killed while the kernel's OOM killer was at work in our memory cgroup.
	OOM bool `json:"oom,omitempty"`
}

// Worker is one live process tree, or a slot without one (PID nil). The memory fields are the kernel's, summed over the
// tree, and as old as Sample.At says.
type Worker struct {
	ID           int          `json:"id"`
	PID          *int         `json:"pid"`
	Status       Status       `json:"status"`
	Incarnation  int          `json:"incarnation"`
	RespawnCount int          `json:"respawn_count"` // processes this slot has had beyond its first
	LastSpawn    *time.Time   `json:"last_spawn"`
	Uptime       *float64     `json:"uptime"`
	LastExit     *Exit        `json:"last_exit"`
	Requests     *int64       `json:"requests"`
	StatusText   string       `json:"status_text,omitempty"` // the worker's own STATUS=
	InPlace      []string     `json:"in_place,omitempty"`    // datasets of which it takes new versions itself
	Replacing    string       `json:"replacing,omitempty"`   // why it is to be replaced: an Exit.Reason
	PIDs         []int        `json:"pids"`
	RSS          *int64       `json:"rss"`
	PSS          *int64       `json:"pss"`
	USS          *int64       `json:"uss"`
	Private      *int64       `json:"private"` // anonymous memory: RssAnon, or Pss_Anon for a tree of several processes
	Shared       *int64       `json:"shared"`  // rss − private
	Swap         *int64       `json:"swap"`
	PageTables   *int64       `json:"page_tables"`
	CPUSeconds   *float64     `json:"cpu_seconds"`
	Threads      *int         `json:"threads"`
	FDs          *int         `json:"fds"`
	Sample       Sample       `json:"sample"`
	Data         []WorkerData `json:"data"`
}

// Sample says where a row's figures come from. Exact means that pss, uss and data[] were counted page by page since this
// incarnation became ready; At is when, Took how long it took in seconds.
type Sample struct {
	At     *time.Time `json:"at"`
	Took   float64    `json:"took"`
	Exact  bool       `json:"exact"`
	Source string     `json:"source"`          // e.g. "pagemap_scan+smaps_rollup", "status"
	Error  string     `json:"error,omitempty"` // why a field of the row is null
}

// WorkerData is what one worker holds of one version that it was handed, mapped or not.
type WorkerData struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	RSS     *int64 `json:"rss"`  // the kernel's Rss of the segment's mappings, copies included
	PSS     *int64 `json:"pss"`  // its share
	COW     *int64 `json:"cow"`  // bytes copied by writing
	Huge    *int64 `json:"huge"` // bytes mapped by huge pages
}

// Listener is one listening socket.
type Listener struct {
	Name    string `json:"name"`
	Address string `json:"address"` // with the real port
	Accept  string `json:"accept"`  // shared or reuseport
	Queue   *int   `json:"queue"`   // connections waiting to be accepted
}

// Memory is the fleet's account. docs/stats.md derives every formula; Counterfactual says them in a sentence.
type Memory struct {
	RSS            *int64       `json:"rss"` // Σ over workers, as `ps` and `top` add it up
	PSS            *int64       `json:"pss"`
	USS            *int64       `json:"uss"`
	Private        *int64       `json:"private"`
	PageTables     *int64       `json:"page_tables"`
	Data           int64        `json:"data"`   // allocated bytes of live segments, once, mapped or not
	Mapped         *int64       `json:"mapped"` // Σ (rss − cow) over workers and segments
	COW            *int64       `json:"cow"`
	Supervisor     *int64       `json:"supervisor"`      // preforkd's own PSS and page tables
	Used           *int64       `json:"used"`            // data + Σ workers (private + other file and shared memory + page tables) + supervisor
	WithoutSharing *int64       `json:"without_sharing"` // used + saved
	Saved          *int64       `json:"saved"`           // mapped − data; may be negative just after a load
	SavedFull      *int64       `json:"saved_full"`      // (ready workers − 1) × data − cow
	SavedRatio     *float64     `json:"saved_ratio"`     // saved / without_sharing; null without datasets, and while saved is negative
	Copies         *float64     `json:"copies"`          // (data + cow) / size of the newest versions; null without datasets
	Counterfactual string       `json:"counterfactual"`
	Cgroup         CgroupMemory `json:"cgroup"`
}

// CgroupMemory is the memory cgroup that preforkd runs in; fields are nil where there is none or no limit.
type CgroupMemory struct {
	Current *int64 `json:"current"`
	Shmem   *int64 `json:"shmem"`
	Limit   *int64 `json:"limit"`
}

// Sampler is what the measuring itself costs. Interval is the present period of the exact figures, Budget the share of
// one core that it may take. LastTook is wall time, and so is LongestCall: the longest single read of the last half hour to hour,
// with the time in which others had the processor.
type Sampler struct {
	Interval    float64 `json:"interval"`
	Budget      float64 `json:"budget"`
	LastTook    float64 `json:"last_took"`
	LongestCall float64 `json:"longest_call"`
	CPUSeconds  float64 `json:"cpu_seconds"`
}
