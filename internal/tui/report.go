// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// The text of `preforkd report`: a paragraph and tables in Markdown.

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/preforkd/preforkd/supervisor"
)

// Report writes a snapshot as Markdown to paste into an issue or a pull request.
func Report(w io.Writer, s *supervisor.Snapshot) error {
	r := newReport(s)
	p := &page{}
	r.summary(p)
	r.workers(p)
	r.data(p)
	r.notes(p)
	_, err := io.WriteString(w, p.text.String())
	return err
}

func (r *report) summary(p *page) {
	p.printf("**%s.** %s\n", markdown(r.Saving.Headline), markdown(r.Saving.Detail))
	shared := slices.ContainsFunc(r.Data, func(d reportData) bool { return !d.Loading && !d.Direct })
	if text := r.compared(); shared && text != "" {
		p.printf("\n%s\n", markdown(text))
	}
	if o := r.Preforkd.Operation; o != nil {
		p.printf("\nMeanwhile a %s is under way, which changes these figures (%s).\n",
			markdown(o.Kind), markdown(Operation(*o)))
	}
}

// compared says what the saving is a saving against: what memory.counterfactual of /stats says in its field names. It is
// empty where the saving is not known.
func (r *report) compared() string {
	s := &r.Saving
	if s.Saved == nil {
		return ""
	}
	text := fmt.Sprintf("Without sharing, each page of data that a worker has mapped now would be a copy of its own: %s instead of %s held once.",
		Bytes(new(r.Memory.Data+*s.Saved)), Bytes(&r.Memory.Data))
	if s.SavedFull == nil || r.ready == 0 {
		return text
	}
	text += fmt.Sprintf(" Had each worker that is ready, %d now, loaded all of its data, sharing would save %s", r.ready, Bytes(s.SavedFull))
	if cow := r.Sum.COW; cow != nil && *cow > 0 {
		text += fmt.Sprintf("; the %s copied by writing are taken off", Bytes(cow))
	}
	return text + "."
}

func (r *report) workers(p *page) {
	if len(r.Workers) == 0 {
		p.printf("\nThere is no worker.\n")
		return
	}
	t := table{head: []string{"worker", "pid", "status", "RSS", "PSS", "USS", "private", "share", "COW"}, left: "001000000"}
	for i := range r.Workers {
		w := &r.Workers[i]
		pid := count(w.PID)
		if w.Processes > 1 {
			pid += fmt.Sprintf(" +%d", w.Processes-1)
		}
		t.add(append([]string{strconv.Itoa(w.ID), pid, markdown(w.Status)}, w.cells()...)...)
	}
	if len(r.Workers) > 1 {
		t.add(append([]string{"sum", "", ""}, r.Sum.cells()...)...)
	}
	p.markdownTable(&t)
	p.printf("\nRSS counts the data in full in every worker. Private is the worker's own anonymous memory, share its share of " +
		"the data, COW what of that it has copied by writing.\n")
	first := "\n"
	for _, w := range r.Workers {
		if w.Error != "" && w.PID != nil {
			p.printf("%s- worker %d (pid %d): %s is not known: %s\n", first, w.ID, *w.PID, Dash, codeSpan(w.Error))
			first = ""
		}
	}
}

func (f *reportSum) cells() []string {
	return []string{Bytes(f.RSS), Bytes(f.PSS), Bytes(f.USS), Bytes(f.Private), Bytes(f.Share), Bytes(f.COW)}
}

func (r *report) data(p *page) {
	if len(r.Data) == 0 {
		return
	}
	t := table{head: []string{"dataset", "version", "format", "size", "held", "huge pages", "workers"}, left: "1010000"}
	for i := range r.Data {
		d := &r.Data[i]
		version := strconv.Itoa(d.Version)
		if d.Loading {
			version = "loading"
		}
		t.add(codeSpan(d.Name), version, markdown(d.content()),
			Bytes(d.Size), Bytes(d.Resident), Bytes(d.Huge), strconv.Itoa(d.Workers))
	}
	p.markdownTable(&t)
}

func (d *reportData) content() string {
	var words []string
	if d.Format != nil {
		words = append(words, *d.Format)
	}
	if d.Codec != "" {
		words = append(words, d.Codec)
	}
	if d.Direct {
		words = append(words, "direct")
	}
	if d.Locked {
		words = append(words, "locked")
	}
	if len(words) == 0 {
		return Dash
	}
	return strings.Join(words, ", ")
}

func (r *report) notes(p *page) {
	m := &r.Memory
	p.printf("\n")
	if m.Used != nil && m.Workers != nil && m.Supervisor != nil {
		p.printf("- Held: %s = data %s + workers %s + preforkd %s.\n",
			Bytes(m.Used), Bytes(&m.Data), Bytes(m.Workers), Bytes(m.Supervisor))
	} else {
		p.printf("- Held: data %s; what is used in all is not known.\n", Bytes(&m.Data))
	}
	if text := r.host(); text != "" {
		p.printf("- Host: %s.\n", text)
	}
	switch f := &r.Samples; {
	case f.Workers == 0:
	case f.Oldest == nil:
		p.printf("- Figures: no worker has been measured yet.\n")
	default:
		p.printf("- Figures: %s old, %d of %s counted page by page; measuring has taken %.2f s of CPU time.\n",
			measured{youngest: *f.Youngest, oldest: *f.Oldest}.ages(), f.Exact, Plural(f.Workers, "worker"), f.CPUSeconds)
	}
	v := &r.Preforkd
	p.printf("- preforkd %s, instance %s, %s for %s, stats schema %d.\n",
		codeSpan(v.Version), codeSpan(v.Name), markdown(string(v.State)), Duration(v.Uptime), v.Schema)
}

// host is what the snapshot knows of the machine; "" for nothing.
func (r *report) host() string {
	var parts []string
	if r.Host.Huge != nil {
		parts = append(parts, Bytes(r.Host.Huge)+" of the data in huge pages")
	}
	switch c := &r.Host.Cgroup; {
	case c.Current != nil && c.Limit != nil:
		parts = append(parts, fmt.Sprintf("memory cgroup: %s charged of %s", Bytes(c.Current), Bytes(c.Limit)))
	case c.Current != nil:
		parts = append(parts, fmt.Sprintf("memory cgroup: %s charged, no limit", Bytes(c.Current)))
	}
	return strings.Join(parts, "; ")
}
