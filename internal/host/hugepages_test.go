// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
)

const (
	adviseAll = "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled"
	inherit2M = "echo inherit > /sys/kernel/mm/transparent_hugepage/hugepages-2048kB/shmem_enabled"
)

// hugeHost is a machine with these two files; "-" is none.
func hugeHost(t *testing.T, shmem, size string) host.Host {
	t.Helper()
	sys := t.TempDir()
	dir := filepath.Join(sys, "kernel/mm/transparent_hugepage/hugepages-2048kB")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{filepath.Join(dir, "../shmem_enabled"): shmem, filepath.Join(dir, "shmem_enabled"): size} {
		if text == "-" {
			continue
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return host.Host{Sys: sys}
}

func TestHugePagesOfManyMachines(t *testing.T) {
	const all = "always within_size advise never deny force"
	pick := func(word string) string { return strings.Replace(all, word, "["+word+"]", 1) }
	const inherit = "always [inherit] within_size advise never"
	for _, c := range []struct {
		shmem, size string
		want        host.SharedHuge
	}{
		{pick("never"), inherit, host.SharedHuge{Setting: "never", Advice: adviseAll}},
		{pick("never"), "-", host.SharedHuge{Setting: "never", Advice: adviseAll}}, // before Linux 6.12
		{pick("advise"), inherit, host.SharedHuge{Setting: "advise", Plain: true}},
		{pick("advise"), "-", host.SharedHuge{Setting: "advise", Plain: true}},
		{pick("within_size"), inherit, host.SharedHuge{Setting: "within_size", Plain: true}},
		{pick("always"), inherit, host.SharedHuge{Setting: "always", Plain: true}},
		{pick("force"), inherit, host.SharedHuge{Setting: "force", Plain: true}},
		{pick("deny"), inherit, host.SharedHuge{Setting: "deny", Denied: true, Advice: adviseAll}},
		{pick("never"), "[always] inherit never", host.SharedHuge{Setting: "never", Advice: adviseAll}},
		{pick("advise"), "always inherit [never]", host.SharedHuge{Setting: "advise", Denied: true, Advice: inherit2M}},
		{pick("never"), "always inherit [never]", host.SharedHuge{Setting: "never", Denied: true, Advice: adviseAll + "; " + inherit2M}},
		{"-", "-", host.SharedHuge{Denied: true}},
	} {
		if have, err := hugeHost(t, c.shmem, c.size).SharedHuge(); err != nil || have != c.want {
			t.Errorf("%s, %s: %+v, want %+v: %v", c.shmem, c.size, have, c.want, err)
		}
	}
	for _, broken := range [][2]string{{"", inherit}, {"always never", "-"}, {"[never", "-"}, {pick("never"), "?"}} {
		_, err := hugeHost(t, broken[0], broken[1]).SharedHuge()
		if err == nil || !strings.HasPrefix(err.Error(), "cannot tell the setting of huge pages: ") {
			t.Errorf("%q: %v", broken, err)
		}
	}
}

// What is promised of this machine is what its kernel does.
func TestHugePagesOfThisMachineAreAsTold(t *testing.T) {
	told, err := host.Host{}.SharedHuge()
	if err != nil {
		t.Fatal(err)
	}
	const huge, size = 2 << 20, 8 << 20
	fd, err := unix.MemfdCreate("huge", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	space, err := unix.MmapPtr(-1, 0, nil, size+huge, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.MunmapPtr(space, size+huge) //nolint:errcheck // at the end of a test
	aligned := unsafe.Add(space, -uintptr(space)%huge)
	if _, err := unix.MmapPtr(fd, 0, aligned, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
		t.Fatal(err)
	}
	content := unsafe.Slice((*byte)(aligned), size)
	err = unix.EAGAIN
	for try := 0; err == unix.EAGAIN && try < 8; try++ { //nolint:errorlint // an errno
		for i := 0; i < size; i += huge {
			content[i] = 1
		}
		err = unix.Madvise(content, unix.MADV_COLLAPSE)
	}
	if err != nil {
		if !told.Denied {
			t.Skipf("needs MADV_COLLAPSE (Linux 6.1) and free huge pages: %v", err)
		}
		return
	}
	// Each is a page longer than its content: without help of the kernel they cannot all lie on borders of 2 MiB.
	all := true
	for range 3 {
		plain, err := unix.Mmap(fd, 0, size+4096, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(plain) //nolint:errcheck // at the end of a test
		for i := 0; i < size; i += 4096 {
			content[i] = plain[i]
		}
		all = all && mappedHuge(t, &plain[0])
	}
	if all != told.Plain {
		t.Errorf("plain mmaps are mapped huge: %v; told: %+v", all, told)
	}
}

// mappedHuge tells whether the mapping that begins at start uses huge pages.
func mappedHuge(t *testing.T, start *byte) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, mapping, found := strings.Cut(string(maps), fmt.Sprintf("\n%x-", uintptr(unsafe.Pointer(start))))
	_, field, there := strings.Cut(mapping, "ShmemPmdMapped:")
	if !found || !there {
		t.Skip("needs ShmemPmdMapped in /proc/self/smaps")
	}
	return strings.Fields(field)[0] != "0"
}
