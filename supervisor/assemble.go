// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// From the loop's view and the sampler's latest figures to a Snapshot. Nothing here reads /proc of a worker: what is read
// is one fstat a segment, one getsockopt a socket, and now and then the cgroup's own account.

import (
	"os"
	"sync"
	"time"

	"github.com/preforkd/preforkd/internal/fleet"
	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/listen"
	"github.com/preforkd/preforkd/internal/memstat"
)

// Snapshot returns the present state with the newest figures. Nobody changes it any more, and callers must not: parts of it
// are shared. It may be called before, during and after Run, as often as wanted.
func (s *Supervisor) Snapshot() *Snapshot {
	v, measured := s.view.Load(), s.sampler.Latest()
	snap := &Snapshot{
		Schema:     SchemaVersion,
		Supervisor: s.supervised(v, measured),
		Data:       v.data(),
		Workers:    []Worker{},
		Listen:     []Listener{},
		Sampler:    Sampler(measured.Cost),
	}
	for i := range v.state.Slots {
		if i < v.state.Config.Workers || len(v.state.Slots[i].Workers) > 0 {
			snap.Workers = append(snap.Workers, v.rows(i, measured)...)
		}
	}
	for _, socket := range v.sockets {
		snap.Listen = append(snap.Listen, listener(socket))
	}
	snap.Memory = v.memory(measured)
	snap.Memory.Cgroup = s.cgroup.read()
	return snap
}

func (s *Supervisor) supervised(v *view, measured *memstat.Fleet) Supervised {
	state := map[fleet.Phase]State{
		fleet.Idle: StateLoading, fleet.Starting: StateStarting, fleet.Running: StateRunning,
		fleet.Stopping: StateStopping, fleet.Stopped: StateStopped,
	}[v.state.Phase]
	if state == StateStopped && v.lingering {
		state = StateStopping
	}
	return Supervised{
		PID: os.Getpid(), Version: s.config.Version, Name: s.config.Name, State: state, Command: v.command,
		StartedAt: s.started, Uptime: seconds(time.Since(s.started)),
		Operation: v.operation(), LastReload: v.reload,
		RSS: measured.Self.RSS, PSS: measured.Self.PSS, CPUSeconds: measured.Self.CPUSeconds,
	}
}

func (v *view) operation() *Operation {
	if v.order == nil {
		return nil
	}
	o := &Operation{Kind: v.order.kind.String(), StartedAt: v.order.begun, Phase: "loading", Queued: v.order.queued}
	switch {
	case v.order.kind == fleet.ReasonScale:
		o.Phase, o.Done, o.Total = "rolling", min(v.state.Count(fleet.WorkerReady), v.state.Config.Workers), v.state.Config.Workers
	case v.state.Roll.Reason != fleet.ReasonNone:
		o.Phase, o.FailedStarts = "rolling", v.state.Roll.Failures
		o.Done, o.Total = v.state.Progress()
	}
	return o
}

// data has a row for each dataset that is being loaded and for each live version.
func (v *view) data() []Data {
	rows := []Data{}
	for _, load := range v.loading {
		p := load.progress.Load()
		row := Data{
			Name: load.spec.Name, Source: load.spec.Display(), Direct: load.spec.Direct(),
			Loaded: p.Loaded, Resident: &p.Loaded, Read: p.Read, Codec: string(p.Codec),
		}
		if p.Total >= 0 {
			row.SourceSize = &p.Total
		}
		if p.Size >= 0 {
			row.Size = &p.Size
		}
		rows = append(rows, row)
	}
	for _, version := range v.versions {
		size := version.Size()
		row := Data{
			Name: version.Name, Version: version.number, Source: version.Display(),
			Format: &version.Format, DType: version.DType, Shape: version.Shape, Members: len(version.Members),
			Codec: string(version.Codec), Direct: version.Direct(), Locked: version.locked,
			Size: &size, Loaded: size, Read: version.SourceSize, SourceSize: &version.SourceSize,
			LoadedAt: &version.At, LoadSeconds: new(seconds(version.Took)), SHA256: version.digest.Load(),
		}
		if resident, err := version.Resident(); err == nil {
			row.Resident = &resident
		}
		if version.Segment != nil {
			row.Huge = new(version.Segment.Huge())
		}
		for _, w := range v.live {
			for _, handed := range w.versions {
				if handed == version {
					row.Workers++
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// rows are those of one slot: one for each live process tree, or one without.
func (v *view) rows(slot int, measured *memstat.Fleet) []Worker {
	s := &v.state.Slots[slot]
	common := Worker{ID: slot, RespawnCount: s.Respawns, LastExit: v.ended[slot].exit, PIDs: []int{}, Data: []WorkerData{}}
	if len(s.Workers) == 0 {
		row := common
		row.Status, row.Incarnation, row.LastSpawn = StatusBackoff, s.NextIncarnation-1, v.ended[slot].spawned
		row.Sample.Error = "no process"
		return []Worker{row}
	}
	rows := make([]Worker, 0, len(s.Workers))
	for i := range s.Workers {
		rows = append(rows, v.row(common, &s.Workers[i], measured))
	}
	return rows
}

func (v *view) row(row Worker, w *fleet.Worker, measured *memstat.Fleet) Worker {
	live := v.live[w.ID]
	row.Incarnation = w.ID.Incarnation
	if reason := v.state.Replacing(*w); reason != fleet.ReasonNone && w.Phase == fleet.WorkerReady {
		row.Replacing = reason.String()
	}
	switch w.Phase {
	case fleet.WorkerSpawning, fleet.WorkerStarting:
		row.Status = StatusStarting
	case fleet.WorkerReady:
		row.Status = StatusReady
	case fleet.WorkerStopping:
		row.Status = StatusStopping
	}
	if live.pid != 0 {
		row.PID, row.PIDs = &live.pid, []int{live.pid}
		uptime := seconds(time.Since(live.spawned))
		row.LastSpawn, row.Uptime = &live.spawned, &uptime
	}
	row.Requests, row.StatusText, row.InPlace = live.requests, live.status, live.inPlace
	m := measured.Workers[memstat.Key{Worker: w.ID.Slot, Incarnation: w.ID.Incarnation}]
	if m == nil {
		row.Sample.Error = "not measured yet"
		for _, version := range live.versions {
			row.Data = append(row.Data, WorkerData{Name: version.Name, Version: version.number})
		}
		return row
	}
	if len(m.PIDs) > 0 {
		row.PIDs = m.PIDs
	}
	row.RSS, row.PSS, row.USS, row.Private, row.Shared = m.RSS, m.PSS, m.USS, m.Private, m.Shared
	row.Swap, row.PageTables = m.Swap, m.PageTables
	row.CPUSeconds, row.Threads, row.FDs = m.CPUSeconds, m.Threads, m.FDs
	row.Sample = Sample(m.Sample)
	for _, d := range m.Data {
		row.Data = append(row.Data, WorkerData(d))
	}
	return row
}

// allocated is the memory that a version's segment holds: 0 for one that was freed a moment ago, and for what workers open
// themselves, which lies in the page cache.
func (v *version) allocated() int64 {
	if v.Segment == nil {
		return 0
	}
	allocated, _ := v.Segment.Allocated()
	return allocated
}

func (v *view) memory(measured *memstat.Fleet) Memory {
	account := memstat.Account{Ready: v.state.Count(fleet.WorkerReady), Supervisor: measured.Self.Held()}
	for _, slot := range v.state.Slots {
		for _, w := range slot.Workers {
			if w.Phase == fleet.WorkerReady {
				for _, version := range v.live[w.ID].versions {
					account.Full += version.allocated()
				}
			}
			account.Workers = append(account.Workers, measured.Workers[memstat.Key{Worker: w.ID.Slot, Incarnation: w.ID.Incarnation}])
		}
	}
	for _, load := range v.loading { // held already, if not shared yet
		account.Data += load.progress.Load().Loaded
	}
	newest := map[string]int64{}
	for _, version := range v.versions {
		account.Data += version.allocated()
		if version.Segment != nil {
			newest[version.Name] = version.Segment.Size() // oldest first: the last one stays
		}
	}
	for _, size := range newest {
		account.Newest += size
	}
	m := memstat.Totals(account)
	if len(v.loading) > 0 && v.state.Phase == fleet.Idle {
		m.Counterfactual = "The data is being loaded: there is nothing yet that could be saved."
		m.Saved, m.SavedFull, m.WithoutSharing = nil, nil, nil
	}
	return Memory{
		RSS: m.RSS, PSS: m.PSS, USS: m.USS, Private: m.Private, PageTables: m.PageTables,
		Data: m.Data, Mapped: m.Mapped, COW: m.COW, Supervisor: m.Supervisor,
		Used: m.Used, WithoutSharing: m.WithoutSharing, Saved: m.Saved, SavedFull: m.SavedFull, SavedRatio: m.SavedRatio,
		Copies: m.Copies, Counterfactual: m.Counterfactual,
	}
}

func listener(socket *listen.Socket) Listener {
	row := Listener{Name: socket.Name, Address: socket.Address, Accept: socket.Accept.String()}
	if queue, ok := socket.Queue(); ok {
		row.Queue = &queue
	}
	return row
}

// cgroupCache keeps the cgroup's account for a second, so that a crowd of readers costs no more than one.
type cgroupCache struct {
	mu   sync.Mutex
	at   time.Time
	last CgroupMemory
}

func (c *cgroupCache) read() CgroupMemory {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) < time.Second {
		return c.last
	}
	c.at, c.last = time.Now(), CgroupMemory{}
	if m, err := (host.Host{}).Memory(); err == nil {
		c.last.Current, c.last.Shmem = &m.Current, &m.Shmem
		if m.Limit != host.None {
			c.last.Limit = &m.Limit
		}
	}
	return c.last
}
