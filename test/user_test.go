// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: workers of another user read the data by path, by descriptor and by mapping, and are that user in every way;
// their rows have all figures; and after a kill -9 of preforkd, which a change of user must not undo, none is left.

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestWorkersOfAnotherUser(t *testing.T) {
	asRoot(t)
	const nobody, size = 65534, 16 * mib
	dir := place(t)
	interpreter := python(t, &syscall.Credential{Uid: nobody, Gid: nobody})
	// The scripts go where that user can read them: this checkout may be below a closed home.
	for _, name := range []string{"user.py", "notify.py"} {
		text, err := os.ReadFile(script(t, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(out, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	path, digest := blob(t, size)
	if err := os.Chmod(path, 0o600); err != nil { // preforkd can read it, its workers could not
		t.Fatal(err)
	}
	f := start(t, spec{
		dir:     dir,
		flags:   []string{"-w", "2", "-d", "blob=" + path, "--ready", "notify", "--user", "nobody"},
		command: []string{interpreter, "user.py"},
	})
	snap := f.untilExact(2)

	type told struct{ SHA256, Path string }
	for _, w := range snap.Workers {
		text, err := os.ReadFile(filepath.Join(out, fmt.Sprintf("%d.json", w.ID)))
		if err != nil {
			t.Fatal(err)
		}
		var found struct {
			UID, GID, Groups []int
			Path             string
			ByPath           string `json:"by_path"`
			ByDescriptor     string `json:"by_descriptor"`
			ByMapping        string `json:"by_mapping"`
			Env              map[string]string
			Told             told
		}
		if err := json.Unmarshal(text, &found); err != nil {
			t.Fatal(err)
		}
		everywhere := []int{nobody, nobody, nobody} // real, effective and saved
		if !slices.Equal(found.UID, everywhere) || !slices.Equal(found.GID, everywhere) || slices.Contains(found.Groups, 0) {
			t.Errorf("worker %d has uid %v, gid %v, groups %v", w.ID, found.UID, found.GID, found.Groups)
		}
		if found.ByPath != digest || found.ByDescriptor != digest || found.ByMapping != digest {
			t.Errorf("worker %d read %s, want %s", w.ID, text, digest)
		}
		if found.Told.Path != found.Path || found.Env["PREFORKD_DATA_BLOB_SIZE"] != fmt.Sprint(size) {
			t.Errorf("worker %d was told %+v, %v", w.ID, found.Told, found.Env)
		}
		if env := found.Env; env["USER"] != "nobody" || env["LOGNAME"] != "nobody" || env["HOME"] == dir {
			t.Errorf("worker %d has environment %v", w.ID, env)
		}
		figures := []float64{
			value(w.RSS), value(w.PSS), value(w.USS), value(w.Private), value(w.PageTables), value(w.CPUSeconds), value(w.Data[0].PSS),
		}
		if slices.ContainsFunc(figures, math.IsNaN) || w.Threads == nil || w.FDs == nil || w.Sample.Error != "" {
			t.Errorf("worker %d has no figures for something: %+v", w.ID, w)
		}
		if d := w.Data[0]; value(d.RSS) != size || value(d.COW) != 0 {
			t.Errorf("worker %d: data %+v", w.ID, d)
		}
	}
	if measured := float64(pss(t, snap)); math.Abs(value(snap.Memory.PSS)-measured) > 0.01*measured {
		t.Errorf("memory.pss = %v, but smaps_rollup adds up to %v", value(snap.Memory.PSS), measured)
	}
	if gone := f.killed(snap); gone > promptly {
		t.Errorf("workers were left for %v after kill -9 of preforkd, want %v at most", gone, promptly)
	}
}
