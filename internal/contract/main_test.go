// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package contract

// What the tests share: a plan with everything in it.

import (
	"flag"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// full has two listeners and two datasets; paths are theirs.
func full() (p *Plan, paths []string) {
	return &Plan{
		Command: []string{"app", "--port={port:http}"},
		Base:    []string{"PATH=/bin", "HOME=/root"},
		Env:     []string{"MODEL={path:emb}"},
		Sockets: []Socket{{Name: "http", Port: 8000}, {Name: "admin"}},
		Data: []Dataset{
			{
				Name: "emb", Version: 3, Size: 4128, SHA256: "ab12", Format: "npy", DType: "<f4", Shape: []int64{16, 64}, Order: "C", Offset: 128,
			},
			{Name: "raw-words", Version: 1, Size: 7, SHA256: "cd34", Format: "raw"},
		},
		Worker: 2, Workers: 8, Incarnation: 5,
		NotifySocket: "@preforkd/1/2.5", Watchdog: 30 * time.Second, RunDir: "/run/preforkd/default",
	}, []string{"/run/preforkd/default/data/emb.v3.npy", "/proc/self/fd/6"}
}
