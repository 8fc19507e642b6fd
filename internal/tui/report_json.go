// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// The facts of `preforkd report`, and their JSON (docs/report.md).

import (
	"encoding/json"
	"io"
	"time"

	"github.com/preforkd/preforkd/supervisor"
)

// reportVersion grows when a field of the report changes its meaning or goes away.
const reportVersion = 1

// report is what a report tells. The units are those of /stats: bytes and seconds; null is what could not be read.
type report struct {
	Report   int            `json:"report"`
	At       time.Time      `json:"at"`
	Preforkd reportPreforkd `json:"preforkd"`
	Saving   reportSaving   `json:"saving"`
	Memory   reportMemory   `json:"memory"`
	Workers  []reportWorker `json:"workers"`
	Sum      reportSum      `json:"sum"`
	Data     []reportData   `json:"data"`
	Host     reportHost     `json:"host"`
	Samples  reportSamples  `json:"samples"`

	ready int // workers
}

type reportPreforkd struct {
	Version   string                `json:"version"`
	Schema    int                   `json:"schema"`
	Name      string                `json:"name"`
	State     supervisor.State      `json:"state"`
	Uptime    float64               `json:"uptime"`
	Operation *supervisor.Operation `json:"operation"`
}

type reportSaving struct {
	Headline       string   `json:"headline"`
	Detail         string   `json:"detail"`
	Counterfactual string   `json:"counterfactual"`
	Saved          *int64   `json:"saved"`
	SavedFull      *int64   `json:"saved_full"`
	SavedRatio     *float64 `json:"saved_ratio"`
	Copies         *float64 `json:"copies"`
}

type reportMemory struct {
	Used           *int64 `json:"used"`
	WithoutSharing *int64 `json:"without_sharing"`
	Data           int64  `json:"data"`
	Workers        *int64 `json:"workers"` // used − data − supervisor
	Supervisor     *int64 `json:"supervisor"`
}

type reportSum struct {
	RSS     *int64 `json:"rss"`
	PSS     *int64 `json:"pss"`
	USS     *int64 `json:"uss"`
	Private *int64 `json:"private"`
	Share   *int64 `json:"share"`
	COW     *int64 `json:"cow"`
}

type reportWorker struct {
	ID          int      `json:"id"`
	PID         *int     `json:"pid"`
	Processes   int      `json:"processes"`
	Status      string   `json:"status"`
	Incarnation int      `json:"incarnation"`
	reportSum            // its own figures
	Age         *float64 `json:"age"` // of the figures
	Exact       bool     `json:"exact"`
	Error       string   `json:"error,omitempty"`
}

type reportData struct {
	Name     string  `json:"name"`
	Version  int     `json:"version"`
	Loading  bool    `json:"loading"`
	Format   *string `json:"format"`
	Codec    string  `json:"codec,omitempty"`
	Direct   bool    `json:"direct,omitempty"`
	Locked   bool    `json:"locked,omitempty"`
	Size     *int64  `json:"size"`
	Resident *int64  `json:"resident"`
	Huge     *int64  `json:"huge"`
	Workers  int     `json:"workers"`
}

type reportHost struct {
	Huge   *int64                  `json:"huge"` // of the loaded data; null where that of one version is not known
	Cgroup supervisor.CgroupMemory `json:"cgroup"`
}

type reportSamples struct {
	Workers    int      `json:"workers"` // live ones
	Exact      int      `json:"exact"`
	Youngest   *float64 `json:"youngest"`
	Oldest     *float64 `json:"oldest"`
	CPUSeconds float64  `json:"cpu_seconds"`
}

// ReportJSON writes the facts of Report as a JSON object.
func ReportJSON(w io.Writer, s *supervisor.Snapshot) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(newReport(s))
}

func newReport(s *supervisor.Snapshot) *report {
	v, m := &s.Supervisor, &s.Memory
	headline, detail := Saving(s)
	r := &report{
		Report: reportVersion, At: Now(s),
		Preforkd: reportPreforkd{v.Version, s.Schema, v.Name, v.State, v.Uptime, v.Operation},
		Saving:   reportSaving{headline, detail, m.Counterfactual, m.Saved, m.SavedFull, m.SavedRatio, m.Copies},
		Memory:   reportMemory{Used: m.Used, WithoutSharing: m.WithoutSharing, Data: m.Data, Supervisor: m.Supervisor},
		Workers:  make([]reportWorker, 0, len(s.Workers)),
		Sum:      reportSum{m.RSS, m.PSS, m.USS, m.Private, new(int64(0)), m.COW},
		Data:     make([]reportData, 0, len(s.Data)),
		Host:     reportHost{Cgroup: m.Cgroup, Huge: huge(s)},
	}
	if m.Used != nil && m.Supervisor != nil {
		r.Memory.Workers = new(*m.Used - m.Data - *m.Supervisor)
	}
	for i := range s.Workers {
		w := &s.Workers[i]
		if w.Status == supervisor.StatusReady {
			r.ready++
		}
		share := Share(w)
		r.Workers = append(r.Workers, reportWorker{
			ID: w.ID, PID: w.PID, Processes: len(w.PIDs), Status: string(w.Status), Incarnation: w.Incarnation,
			reportSum: reportSum{w.RSS, w.PSS, w.USS, w.Private, share, COW(w)},
			Age:       SampleAge(s, w), Exact: w.Sample.Exact, Error: w.Sample.Error,
		})
		if w.PID == nil {
			continue
		}
		if r.Sum.Share != nil && share != nil {
			*r.Sum.Share += *share
		} else {
			r.Sum.Share = nil
		}
	}
	for i := range s.Data {
		d := &s.Data[i]
		r.Data = append(r.Data, reportData{
			d.Name, d.Version, d.LoadedAt == nil, d.Format, d.Codec, d.Direct, d.Locked, d.Size, d.Resident, d.Huge, d.Workers,
		})
	}
	f := measure(s)
	r.Samples = reportSamples{Workers: f.live, Exact: f.exact, CPUSeconds: s.Sampler.CPUSeconds}
	if f.sampled > 0 {
		r.Samples.Youngest, r.Samples.Oldest = &f.youngest, &f.oldest
	}
	return r
}

// huge is how much of the loaded segments is in huge pages.
func huge(s *supervisor.Snapshot) *int64 {
	total, segments := int64(0), 0
	for i := range s.Data {
		d := &s.Data[i]
		switch {
		case d.Direct || d.LoadedAt == nil:
			continue
		case d.Huge == nil:
			return nil
		}
		segments++
		total += *d.Huge
	}
	if segments == 0 {
		return nil
	}
	return &total
}
