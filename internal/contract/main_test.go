// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package contract

// What the tests share: a plan with everything in it.

import (
	"flag"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// full has two listeners and five datasets; paths are theirs.
func full() (p *Plan, paths []string) {
	return &Plan{
		Command: []string{"app", "--port={port:http}"},
		Base:    []string{"PATH=/bin", "HOME=/root"},
		Env:     []string{"MODEL={path:emb}"},
		Sockets: []Socket{{Name: "http", Port: 8000}, {Name: "admin"}},
		Data: []Dataset{
			{
				Name: "emb", Version: 3, Size: 4128, Ino: 2051, SHA256: "ab12", Format: "npy", DType: "<f4", Shape: []int64{16, 64}, Order: "C", Offset: 128,
			},
			{Name: "raw-words", Version: 1, Size: 7, Format: "raw"},
			{
				Name: "weights", Version: 1, Size: 8448, SHA256: "ef56", Format: "npz", Members: []Member{
					{Name: "w", DType: "<f4", Shape: []int64{2, 512}, Order: "F", Offset: 4096, Size: 4096},
					{Name: "b/a<0>", DType: "<f8", Shape: []int64{}, Order: "C", Offset: 8192, Size: 8},
				},
			},
			{
				Name: "people", Version: 1, Size: 900, Format: "arrow",
				Schema: []Field{{Name: "name", Type: "utf8", Nullable: true}, {Name: "age", Type: "int32"}},
			},
			{Name: "index", Version: 2, Size: 4096, Format: "raw", Direct: true},
		},
		Worker: 2, Workers: 8, Incarnation: 5,
		NotifySocket: "@preforkd/1/2.5", Watchdog: 30 * time.Second, RunDir: "/run/preforkd/default",
	}, []string{"/run/preforkd/default/data/emb.v3.npy", "/proc/self/fd/6", "/run/preforkd/default/data/weights.v1.npz", "/proc/self/fd/8", "/srv/index.sqlite"}
}
