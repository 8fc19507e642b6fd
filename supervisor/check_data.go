// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package supervisor

// What Run would load, and into what memory.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	humanize "github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
	"github.com/preforkd/preforkd/internal/dataset"
	"github.com/preforkd/preforkd/internal/host"
)

// lookPatience bounds the wait for servers that are asked for the size of a URL.
const lookPatience = 10 * time.Second

// PlannedData is a dataset as a worker would get it. Path is known when there is a run dir and the source is a file.
type PlannedData struct {
	Name       string  `json:"name"`
	Source     string  `json:"source"` // without user, query and command arguments
	Format     *string `json:"format"`
	Codec      string  `json:"codec,omitempty"` // what it is packed with
	DType      string  `json:"dtype,omitempty"`
	Shape      []int64 `json:"shape,omitempty"`
	Members    int     `json:"members,omitempty"`  // arrays in it
	Direct     bool    `json:"direct,omitempty"`   // workers open the source itself
	Size       *int64  `json:"size"`               // of the content, unpacked
	AtLeast    bool    `json:"at_least,omitempty"` // it may be more: only the first part of the source says its size
	SourceSize *int64  `json:"source_size"`        // as it lies there, packed
	Fits       *bool   `json:"fits"`               // into the memory that can be used, alone; nil when that is not known
	FD         int     `json:"fd"`
	Path       *string `json:"path"`
	Hint       string  `json:"hint,omitempty"`
}

// PlannedMemory is what the datasets take and what there is. A reload holds the old and the new version of what changed.
type PlannedMemory struct {
	Needed    int64  `json:"needed"`  // for the datasets whose size is known, with the kernel's page index
	Partial   bool   `json:"partial"` // there are others: commands, pipes, standard input, packed ones
	Available *int64 `json:"available"`
	By        string `json:"by"` // what bounds it: MemAvailable or the limit of a cgroup
}

// PlannedHugePages is whether the data would lie in huge pages, and whether workers would map it by them. Setting is the host's
// shmem_enabled; nil where it cannot be read.
type PlannedHugePages struct {
	Mode    string  `json:"mode"` // auto, on or off
	Setting *string `json:"setting"`
	Made    bool    `json:"made"`  // segments are made of them
	Plain   bool    `json:"plain"` // a worker's ordinary mmap of such a segment is mapped by them, too
	Advice  string  `json:"advice,omitempty"`
}

// PlannedLock is whether the data would be kept in RAM. Limit is how much may be locked, in bytes; nil: all.
type PlannedLock struct {
	Wanted bool   `json:"wanted"`
	Limit  *int64 `json:"limit"`
}

// look fills in the datasets and the memory, and what the loader would refuse.
func (plan *Plan) look(p *parsed, sockets []contract.Socket) {
	if room, err := (host.Host{}).Free(); err == nil {
		plan.Memory.Available, plan.Memory.By = &room.Free, room.By
	}
	layout := contract.Plan{Sockets: sockets}
	var local []dataset.Spec
	var together int64
	for i, found := range lookAt(p.data) {
		spec := p.data[i]
		row := PlannedData{Name: spec.Name, Source: spec.Display(), FD: layout.DataFD(i), Direct: spec.Direct()}
		if found.err != nil {
			plan.refuse(fail(KindData, found.err))
			plan.Data = append(plan.Data, row)
			continue
		}
		row.Codec, row.DType, row.Shape, row.Members, row.Hint = string(found.Codec), found.DType, found.Shape, found.Members, found.Hint
		if found.Format != "" {
			row.Format = &found.Format
			row.Path = p.pathOf(spec, row.FD, found.Ext)
		}
		if found.SourceSize >= 0 {
			row.SourceSize = &found.SourceSize
		}
		if found.Size >= 0 {
			row.Size, row.AtLeast = &found.Size, found.AtLeast
			plan.Memory.Partial = plan.Memory.Partial || found.AtLeast
		}
		switch {
		case spec.Direct():
		case found.Size < 0:
			plan.Memory.Partial = true
		default:
			plan.Memory.Needed += dataset.Need(found.Size)
			together += found.Size
			if available := plan.Memory.Available; available != nil {
				// What may be more than its first part says does not fit for sure, or may.
				if fits := dataset.Fits(found.Size, *available); !fits || !found.AtLeast {
					row.Fits = &fits
				}
			}
		}
		if spec.Local() { // pipes are left alone: opening one would wake its writer
			local = append(local, spec)
		}
		plan.Data = append(plan.Data, row)
	}
	if err := tryLoad(local, p.Stdin); err != nil {
		plan.refuse(fail(KindData, err))
	} else if available := plan.Memory.Available; available != nil && len(local) < len(p.data) && !dataset.Fits(together, *available) {
		plan.refuse(fail(KindData, fmt.Errorf("cannot load the datasets: they need %s together, but only %s of memory can be used (bound by %s)",
			humanize.IBytes(uint64(plan.Memory.Needed)), humanize.IBytes(uint64(*available)), plan.Memory.By)))
	}
	plan.lookAtPages(p)
}

// looked is what was found of one dataset.
type looked struct {
	dataset.Look
	err error
}

// lookAt looks at all datasets at once, in their order.
func lookAt(specs []dataset.Spec) []looked {
	ctx, cancel := context.WithTimeout(context.Background(), lookPatience)
	defer cancel()
	list := make([]looked, len(specs))
	var wg sync.WaitGroup
	for i, spec := range specs {
		wg.Go(func() { list[i].Look, list[i].err = spec.Look(ctx) })
	}
	wg.Wait()
	return list
}

// lookAtPages tells of what pages the data would be made, and whether it can be locked.
func (plan *Plan) lookAtPages(p *parsed) {
	plan.HugePages.Mode = p.HugePages
	if huge, err := (host.Host{}).SharedHuge(); err == nil {
		plan.HugePages.Setting, plan.HugePages.Plain, plan.HugePages.Advice = &huge.Setting, huge.Plain, huge.Advice
		plan.HugePages.Made = p.HugePages != "off" && !huge.Denied
		if p.HugePages == "on" && huge.Denied {
			plan.Warnings = append(plan.Warnings, "huge pages are wanted, but this host makes none for shared memory: the data will lie in small ones")
		}
	}
	var wanted int64
	for i, spec := range p.data {
		if *spec.Options.Lock {
			plan.LockMemory.Wanted = true
			if size := plan.Data[i].Size; size != nil {
				wanted += *size
			}
		}
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur <= math.MaxInt64 && !mayLock() {
		plan.LockMemory.Limit = new(int64(limit.Cur))
		if wanted > *plan.LockMemory.Limit {
			plan.refuse(fail(KindData, fmt.Errorf("cannot lock %s of data: RLIMIT_MEMLOCK is %s; raise it (ulimit -l, LimitMEMLOCK= of systemd)",
				humanize.IBytes(uint64(wanted)), humanize.IBytes(limit.Cur))))
		}
	}
}

// mayLock tells whether this process may lock any amount of memory: root in a container often may not.
func mayLock() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0
}

// pathOf is the value of PREFORKD_DATA_…, nil where it depends on the supervisor's own descriptors.
func (p *parsed) pathOf(spec dataset.Spec, fd int, ext string) *string {
	if spec.Direct() {
		return new(spec.File())
	}
	if p.RunDir != nil {
		return new(p.RunDir.DataPath(spec.Name + ".v1" + ext))
	}
	if u := p.User; u != nil && u.UID != os.Geteuid() {
		return new(fmt.Sprintf("/proc/self/fd/%d", fd))
	}
	return nil
}

// tryLoad has the loader make all its checks, the one for memory too, and give up before the first byte: its context has
// ended before it begins.
func tryLoad(specs []dataset.Spec, stdin *os.File) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	loader := &dataset.Loader{
		Stdin: stdin,
		Free:  func() (host.Headroom, error) { return (host.Host{}).Free() },
	}
	if _, err := loader.Load(ctx, specs); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
