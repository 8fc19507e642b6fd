// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// The text of `preforkd status`.

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// Options says how a snapshot is shown.
type Options struct {
	Color bool // ANSI colours; the caller has checked that somebody asked for them and that w is a terminal
}

// Status writes a snapshot as tables and sentences.
func Status(w io.Writer, s *supervisor.Snapshot, o Options) error {
	p := &page{color: o.Color}
	p.header(s)
	p.data(s)
	p.workers(s)
	p.memory(s)
	p.samples(s)
	p.notes(s)
	_, err := io.WriteString(w, p.text.String())
	return err
}

// page is the text so far.
type page struct {
	text  strings.Builder
	color bool
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.text, format, args...) }

func (p *page) header(s *supervisor.Snapshot) {
	v := &s.Supervisor
	p.printf("preforkd %s, pid %d, %s, %s for %s\n",
		p.paint(bold, Line(v.Name)), v.PID, Line(v.Version), Line(string(v.State)), Duration(v.Uptime))
	for _, l := range s.Listen {
		accept := ""
		if l.Accept != "shared" && l.Accept != "" {
			accept = ", " + Line(l.Accept)
		}
		p.printf("listening on %s (%s%s), %s waiting\n", Line(l.Address), Line(l.Name), accept, count(l.Queue))
	}
	p.operation(s)
}

func (p *page) data(s *supervisor.Snapshot) {
	if len(s.Data) == 0 {
		return
	}
	t := table{head: []string{"DATA", "VER", "SIZE", "RESIDENT", "HUGE", "WORKERS", "FORMAT", "SOURCE"}, left: "11000011"}
	for i := range s.Data {
		d := &s.Data[i]
		version, size := "v"+strconv.Itoa(d.Version), Bytes(d.Size)
		if d.LoadedAt == nil {
			version, size = "loading", p.progress(s, d)
		}
		t.add(d.Name, version, size, Bytes(d.Resident), Bytes(d.Huge), strconv.Itoa(d.Workers), format(d), d.Source)
	}
	p.table(&t)
}

// progress is how far a load is: "512 MiB/1.0 GiB, 50 %, 870 MiB/s". Where nobody knows how much the content will be,
// the figures are of the source. The rate is that since the load began, in which this dataset may have waited for another.
func (p *page) progress(s *supervisor.Snapshot, d *supervisor.Data) string {
	read, total := d.Loaded, d.Size
	if d.Size == nil && d.SourceSize != nil {
		read, total = d.Read, d.SourceSize
	}
	text := progress(read, total)
	if total != nil && *total > 0 {
		text += fmt.Sprintf(", %d %%", 100*min(read, *total)/(*total))
	}
	took := s.Supervisor.Uptime
	if o := s.Supervisor.Operation; o != nil {
		took = Now(s).Sub(o.StartedAt).Seconds()
	}
	if rate := int64(float64(read) / took); took >= 1 && rate > 0 {
		text += ", " + Bytes(&rate) + "/s"
	}
	return text
}

// format is what is known of the content and of how it is held: "npy <f4 400000×300", "npz, 12 arrays, zstd, locked".
func format(d *supervisor.Data) string {
	var parts []string
	if d.Format != nil {
		parts = append(parts, content(d))
	}
	if d.Members > 0 {
		parts = append(parts, Plural(d.Members, "array"))
	}
	if d.Codec != "" {
		parts = append(parts, d.Codec)
	}
	if d.Direct {
		parts = append(parts, "direct")
	}
	if d.Locked {
		parts = append(parts, "locked")
	}
	if len(parts) == 0 {
		return Dash
	}
	return strings.Join(parts, ", ")
}

func content(d *supervisor.Data) string {
	words := []string{*d.Format}
	if d.DType != "" {
		words = append(words, d.DType)
	}
	if len(d.Shape) > 0 {
		dims := make([]string, len(d.Shape))
		for i, n := range d.Shape {
			dims[i] = strconv.FormatInt(n, 10)
		}
		words = append(words, strings.Join(dims, "×"))
	}
	return strings.Join(words, " ")
}

func (p *page) workers(s *supervisor.Snapshot) {
	if len(s.Workers) == 0 {
		return
	}
	t := table{
		head: []string{"ID", "PID", "STATUS", "INC", "UP", "RSS", "PSS", "USS", "PRIVATE", "COW"}, left: "0011000000",
		paint: map[int]func(string) string{2: p.status},
	}
	replacing := slices.ContainsFunc(s.Workers, func(w supervisor.Worker) bool { return w.Replacing != "" })
	if replacing { // a column that is worth its width only then
		t.head, t.left = append(t.head, "REPLACING"), t.left+"1"
	}
	inPlace := slices.ContainsFunc(s.Workers, func(w supervisor.Worker) bool { return len(w.InPlace) > 0 })
	if inPlace {
		t.head, t.left = append(t.head, "IN PLACE"), t.left+"1"
	}
	for i := range s.Workers {
		w := &s.Workers[i]
		row := []string{
			strconv.Itoa(w.ID), pid(w), string(w.Status), strconv.Itoa(w.Incarnation), age(w.Uptime),
			Bytes(w.RSS), Bytes(w.PSS), Bytes(w.USS), Bytes(w.Private), Bytes(COW(w)),
		}
		if replacing {
			row = append(row, w.Replacing)
		}
		if inPlace {
			row = append(row, strings.Join(w.InPlace, " "))
		}
		t.add(row...)
	}
	if len(s.Workers) > 1 {
		m := &s.Memory
		row := []string{"", "", "sum", "", "", Bytes(m.RSS), Bytes(m.PSS), Bytes(m.USS), Bytes(m.Private), Bytes(m.COW)}
		t.add(append(row, make([]string, len(t.head)-len(row))...)...)
	}
	p.table(&t)
}

// pid is the leader's, with the number of other processes in its tree.
func pid(w *supervisor.Worker) string {
	switch {
	case w.PID == nil:
		return Dash
	case len(w.PIDs) > 1:
		return fmt.Sprintf("%d+%d", *w.PID, len(w.PIDs)-1)
	}
	return strconv.Itoa(*w.PID)
}

// COW is what the worker has copied of all its data; nil when that of one version is not known.
func COW(w *supervisor.Worker) *int64 {
	return ofData(w, func(d *supervisor.WorkerData) *int64 { return d.COW })
}

// Share is the worker's share of all its data, without what it has copied, which is private: pss − cow of data[]; nil when
// that of one version is not known.
func Share(w *supervisor.Worker) *int64 {
	return ofData(w, func(d *supervisor.WorkerData) *int64 {
		if d.PSS == nil || d.COW == nil {
			return nil
		}
		return new(max(0, *d.PSS-*d.COW))
	})
}

func ofData(w *supervisor.Worker, figure func(*supervisor.WorkerData) *int64) *int64 {
	if w.PID == nil {
		return nil
	}
	var total int64
	for i := range w.Data {
		n := figure(&w.Data[i])
		if n == nil {
			return nil
		}
		total += *n
	}
	return &total
}

// Now is the moment of the snapshot.
func Now(s *supervisor.Snapshot) time.Time {
	return s.Supervisor.StartedAt.Add(time.Duration(s.Supervisor.Uptime * float64(time.Second)))
}
