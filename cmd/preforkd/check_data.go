// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// What preforkd check says of datasets and the memory for them.

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/supervisor"
)

// writeData is two tables: what workers get, and what it takes to load it.
func (r *report) writeData(w io.Writer) {
	if len(r.Data) == 0 {
		return
	}
	fmt.Fprint(w, "\nDATASET\tSOURCE\tFORMAT\tSIZE\tFD\tPATH\n")
	for _, d := range r.Data {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n",
			d.Name, printable(d.Source), printable(contentOf(d)), contentSize(d), d.FD, printable(orUnknown(d.Path)))
	}
	fmt.Fprint(w, "\nDATASET\tTO READ\tTO HOLD\tAVAILABLE\tFITS\n")
	for _, d := range r.Data {
		held, fits := contentSize(d), unknown
		if d.Direct {
			held = "page cache"
		}
		if d.Fits != nil {
			fits = map[bool]string{true: "yes", false: "no"}[*d.Fits]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.Name, size(d.SourceSize), held, size(r.Memory.Available), fits)
	}
	for _, d := range r.Data {
		if d.Hint != "" {
			fmt.Fprintf(w, "\nhint: %s: %s\n", d.Name, printable(d.Hint))
		}
	}
}

// contentSize is the size of the content, or what it is at least.
func contentSize(d supervisor.PlannedData) string {
	if d.AtLeast {
		return "≥ " + size(d.Size)
	}
	return size(d.Size)
}

// contentOf is a format with what is known of it: "npy <f4 400000×300 (zstd)".
func contentOf(d supervisor.PlannedData) string {
	text := orUnknown(d.Format)
	if d.DType != "" {
		text += " " + d.DType
	}
	if len(d.Shape) > 0 {
		text += " " + strings.ReplaceAll(strings.Trim(fmt.Sprint(d.Shape), "[]"), " ", "×")
	}
	var more []string
	if d.Members > 0 {
		more = append(more, humanize.Comma(int64(d.Members))+" arrays")
	}
	if d.Codec != "" {
		more = append(more, d.Codec)
	}
	if d.Direct {
		more = append(more, "direct")
	}
	if len(more) > 0 {
		text += " (" + strings.Join(more, ", ") + ")"
	}
	return text
}

func size(n *int64) string {
	if n == nil {
		return unknown
	}
	return humanize.IBytes(uint64(max(0, *n)))
}

// hugePages is what the data would lie in, and the host setting that would make it better.
func (r *report) hugePages() string {
	h := r.HugePages
	if h.Mode == "off" {
		return "off"
	}
	if h.Setting == nil {
		return "not known before the data is loaded"
	}
	setting := "the kernel has none"
	if *h.Setting != "" {
		setting = "shmem_enabled=" + *h.Setting
	}
	var text string
	switch {
	case !h.Made:
		text = "none for shared memory on this host (" + setting + ")"
	case h.Plain:
		return "yes, and a worker's plain mmap is mapped by them (" + setting + ")"
	default:
		text = "yes, but a worker's plain mmap is mapped by small ones (" + setting + ")"
	}
	if h.Advice != "" {
		text += "; better, as root: " + h.Advice
	}
	return text
}

// segments tells whether any data is held by preforkd.
func (r *report) segments() bool {
	return slices.ContainsFunc(r.Data, func(d supervisor.PlannedData) bool { return !d.Direct })
}

func (r *report) memory() string {
	m := r.Memory
	text := humanize.IBytes(uint64(m.Needed)) + " for the data"
	switch {
	case len(r.Data) == 0:
		text = "no data"
	case !r.segments():
		text = "no copy of the data"
	case m.Needed == 0:
		text = "not known before the data is loaded"
	case m.Partial:
		text += " whose size is known"
	}
	if m.Available == nil {
		return text
	}
	return text + "; " + humanize.IBytes(uint64(*m.Available)) + " available, by " + m.By
}
