// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"

	"github.com/preforkd/preforkd/supervisor"
)

// What cannot be had on every machine: packed data, data that does not fit, directories.
func TestCheckTellsWhatItTakesToLoadTheData(t *testing.T) {
	const gib = int64(1) << 30
	r := &report{Plan: &supervisor.Plan{
		Data: []supervisor.PlannedData{
			{
				Name: "emb", Source: "emb.npy.zst", Format: new("npy"), Codec: "zstd", DType: "<f4", Shape: []int64{4, 300}, Size: new(4 * gib),
				SourceSize: new(gib), Fits: new(true), FD: 3, Path: new("/run/emb.v1.npy"),
			},
			{
				Name: "all", Source: "https://host/all", Format: new("npz"), Members: 1200, Size: new(64 * gib), SourceSize: new(64 * gib), Fits: new(false),
				FD: 4, Path: new("/run/all.v1"),
			},
			{Name: "made", Source: "cmd:gen …", FD: 5},
			{Name: "dir", Source: "direct:\x1b[2J", Format: new("raw"), Direct: true, FD: 6, Path: new("\x1b[2J"), Hint: "so\nit is"},
		},
		Memory: supervisor.PlannedMemory{Available: new(12 * gib)},
	}}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	r.writeData(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `
DATASET  SOURCE           FORMAT                  SIZE     FD  PATH
emb      emb.npy.zst      npy <f4 4×300 (zstd)    4.0 GiB  3   /run/emb.v1.npy
all      https://host/all  npz (1,200 arrays)      64 GiB   4   /run/all.v1
made     cmd:gen …        –                       –        5   –
dir      direct:\x1b[2J   raw (direct)            –        6   \x1b[2J

DATASET  TO READ  TO HOLD     AVAILABLE  FITS
emb      1.0 GiB  4.0 GiB     12 GiB     yes
all      64 GiB   64 GiB      12 GiB     no
made     –        –           12 GiB     –
dir      –        page cache  12 GiB     –

hint: dir: so\nit is
`
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(text.String())); diff != "" {
		t.Errorf("- want, + have:\n%s\n%s", diff, text.String())
	}
}

func TestCheckTellsWhatPagesTheDataWouldLieIn(t *testing.T) {
	for _, c := range []struct {
		pages supervisor.PlannedHugePages
		want  string
	}{
		{supervisor.PlannedHugePages{Mode: "off", Setting: new("advise"), Plain: true}, "off"},
		{supervisor.PlannedHugePages{Mode: "auto"}, "not known before the data is loaded"},
		{
			supervisor.PlannedHugePages{Mode: "auto", Setting: new("advise"), Made: true, Plain: true},
			"yes, and a worker's plain mmap is mapped by them (shmem_enabled=advise)",
		},
		{
			supervisor.PlannedHugePages{Mode: "on", Setting: new("never"), Made: true, Advice: "echo advise > /f"},
			"yes, but a worker's plain mmap is mapped by small ones (shmem_enabled=never); better, as root: echo advise > /f",
		},
		{
			supervisor.PlannedHugePages{Mode: "auto", Setting: new("deny"), Advice: "echo advise > /f"},
			"none for shared memory on this host (shmem_enabled=deny); better, as root: echo advise > /f",
		},
		{supervisor.PlannedHugePages{Mode: "auto", Setting: new("")}, "none for shared memory on this host (the kernel has none)"},
	} {
		r := &report{Plan: &supervisor.Plan{HugePages: c.pages}}
		if have := r.hugePages(); have != c.want {
			t.Errorf("%+v: %s, want %s", c.pages, have, c.want)
		}
	}
}
