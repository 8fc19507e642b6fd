// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host

// The machines in testdata: each archive is a story, the files of its /proc and /sys, and what we make of them.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

func TestMachines(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no machines: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := txtar.Write(archive, dir); err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join(dir, "want"))
			if err != nil {
				t.Fatal(err)
			}
			h := Host{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys")}
			got := strings.NewReplacer(h.Proc, "PROC", h.Sys, "SYS").Replace(account(h))
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s-want +got\n%s", archive.Comment, diff)
			}
		})
	}
}

// account is all that we say of a machine with 16 CPUs.
func account(h Host) string {
	var out strings.Builder
	switch m, err := h.Memory(); {
	case err == ErrNoCgroup: //nolint:errorlint // it is promised as it is
		fmt.Fprintln(&out, "memory: none")
	case err != nil:
		fmt.Fprintln(&out, "memory:", err)
	default:
		limit := fmt.Sprint(m.Limit)
		if m.Limit == None {
			limit = "none"
		}
		fmt.Fprintln(&out, "memory:", m.Cgroup, "current", m.Current, "shmem", m.Shmem, "file", m.File, "limit", limit)
	}
	if free, err := h.Free(); err != nil {
		fmt.Fprintln(&out, "free:", err)
	} else {
		fmt.Fprintln(&out, "free:", free.Free, "by", free.By)
	}
	fmt.Fprintln(&out, "cpus:", h.cpus(16))
	return out.String()
}

func FuzzMounts(f *testing.F) {
	f.Add("0::/a/b\n5:memory:/docker\n", "30 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
	f.Add("", "33 24 0:30 /docker /sys/fs/cgroup/memory rw shared:13 - cgroup cgroup rw,memory\n")
	f.Fuzz(func(t *testing.T, cgroups, mounts string) {
		name, v1 := member(cgroups, "memory")
		point, rel := mounted(mounts, "memory", name, v1)
		if point == "" {
			return
		}
		if !strings.HasPrefix(rel, "/") || rel != filepath.Clean(rel) {
			t.Errorf("%q is mounted at %q below %q", name, rel, point)
		}
	})
}
