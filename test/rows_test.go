// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// A fleet that serves rows of a large array, each of which tells its version, and what its answers must be.

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// saveRows puts an array of size bytes in place at path, by renaming: row i of a version begins with version<<32 | i.
func saveRows(t *testing.T, path string, version int, size int64) {
	t.Helper()
	const row = 64
	rows := (size - npyOffset) / row
	const head = "\x93NUMPY\x01\x00"
	text := fmt.Sprintf("{'descr': '<i8', 'fortran_order': False, 'shape': (%d, %d), }", rows, row/8)
	begin := binary.LittleEndian.AppendUint16([]byte(head), npyOffset-uint16(len(head))-2)
	begin = fmt.Appendf(begin, "%-*s\n", npyOffset-len(begin)-1, text)
	file, err := os.Create(path + ".new")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, err = file.Write(begin)
	block := make([]byte, mib)
	for i := int64(0); i < rows && err == nil; {
		n := min(int64(len(block)/row), rows-i)
		for k := range n {
			binary.LittleEndian.PutUint64(block[k*row:], uint64(version)<<32|uint64(i+k))
		}
		_, err = file.Write(block[:n*row])
		i += n
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// reading is one answer of testdata/versions.py.
type reading struct{ pid, count, version, row, value int64 }

// readings are the answers of a load.
type readings struct {
	mu  sync.Mutex
	all []reading
}

// right tells whether an answer is of one version, and notes it.
func (r *readings) right(body string) bool {
	var a reading
	if _, err := fmt.Sscan(body, &a.pid, &a.count, &a.version, &a.row, &a.value); err != nil || a.value != a.version<<32|a.row {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, a)
	return true
}

// onlyRise checks that no process ever answered with an older version than before, and that each version has been seen.
func (r *readings) onlyRise(t *testing.T, newest int) {
	t.Helper()
	slices.SortFunc(r.all, func(a, b reading) int { return int(a.count - b.count) })
	last, seen := map[int64]reading{}, map[int64]int{}
	for _, a := range r.all {
		if before := last[a.pid]; a.version < before.version {
			t.Errorf("process %d answered with version %d after version %d", a.pid, a.version, before.version)
		}
		last[a.pid] = a
		seen[a.version]++
	}
	for v := 1; v <= newest; v++ {
		if seen[int64(v)] == 0 {
			t.Errorf("nobody answered with version %d: %v", v, seen)
		}
	}
	t.Logf("answers by version: %v, from %d processes", seen, len(last))
}

// versioned runs n workers of testdata/versions.py over version 1 of an array, of which takers take new versions in place.
func versioned(t *testing.T, n int, takers string, size int64, s spec) (f *fleet, emb string) {
	t.Helper()
	if s.dir == "" {
		s.dir = place(t)
	}
	emb = filepath.Join(s.dir, "emb.npy")
	saveRows(t, emb, 1, size)
	s.flags = slices.Concat([]string{"-w", fmt.Sprint(n), "-l", "127.0.0.1:0", "-d", "emb=" + emb}, s.flags)
	if s.command == nil {
		s.command = []string{venv(t, "python"), script(t, "versions.py")}
	}
	s.env = append(s.env, "TAKES="+takers, "PYTHONPATH="+script(t, "."), "OPENBLAS_NUM_THREADS=1")
	f = start(t, s)
	f.until("every taker has said so", func(s *supervisor.Snapshot) bool {
		asked := 0
		for _, w := range ready(s) {
			if slices.Equal(w.InPlace, []string{"emb"}) {
				asked++
			}
		}
		return len(ready(s)) == n && asked == len(strings.Fields(takers))
	})
	return f, emb
}

// serves waits until all n workers have this version of emb, nothing else is there, and the answers show it.
func (f *fleet) serves(n, version int) *supervisor.Snapshot {
	f.t.Helper()
	snap := f.until(fmt.Sprintf("%d workers with version %d alone", n, version), func(s *supervisor.Snapshot) bool {
		return len(ready(s)) == n && len(s.Workers) == n && s.Supervisor.Operation == nil && len(s.Data) == 1 &&
			s.Data[0].Version == version && s.Data[0].Workers == n
	})
	for range 2 * n {
		var r readings
		if body, err := get(snap.Listen[0].Address); err != nil || !r.right(body) || r.all[0].version != int64(version) {
			f.t.Errorf("answer %q, %v, want version %d", body, err, version)
		}
	}
	return snap
}

// tells waits until all n workers say this, and nothing is under way.
func (f *fleet) tells(n int, want string) *supervisor.Snapshot {
	f.t.Helper()
	return f.until(fmt.Sprintf("%d workers that say %s", n, want), func(s *supervisor.Snapshot) bool {
		rows := ready(s)
		return len(rows) == n && s.Supervisor.Operation == nil &&
			!slices.ContainsFunc(rows, func(w supervisor.Worker) bool { return w.StatusText != want })
	})
}

// put writes a file at once, as who publishes data should: beside its place, and renamed.
func put(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", []byte(content), 0o644), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

func sha256Of(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}
