// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: whatever a Python worker starts (fork, spawn, forkserver, a program, executors, joblib's loky), each child reads the data
// of the right version: before a reload, and after the worker has gone on to a newer one. A child from before gives the version
// that it knows, or an error that says so, never another version's bytes; and what is handed over as a Dataset is small.

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// withChildren runs one worker of testdata/children.py.
func withChildren(t *testing.T, size int64) (f *fleet, emb string, ask func(path string) json.RawMessage) {
	t.Helper()
	dir := place(t)
	if err := os.Mkdir(filepath.Join(dir, "joblib"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, emb = versioned(t, 1, "0", size, spec{
		dir:     dir,
		command: []string{tool(t, "env"), client(t), "JOBLIB_TEMP_FOLDER=" + dir + "/joblib", venv(t, "python"), script(t, "children.py")},
	})
	address := f.settled(1).Listen[0].Address
	return f, emb, func(path string) json.RawMessage {
		t.Helper()
		body, err := get(address + path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return json.RawMessage(body)
	}
}

// longLived are the children that live on from the first task, and were not forked.
func longLived(t *testing.T) []string {
	if exec.Command(venv(t, "python"), "-c", "import joblib").Run() == nil {
		return []string{"executor-spawn", "executor-forkserver", "loky"}
	}
	t.Log("without joblib, which is not in the virtual environment")
	return []string{"executor-spawn", "executor-forkserver"}
}

// childReads fails the test where a child has not read this version.
func childReads(t *testing.T, ask func(string) json.RawMessage, kind, how string, version int64) {
	t.Helper()
	var pids, got []int64
	answer := ask("/" + kind + "/" + how)
	if json.Unmarshal(ask("/"), &pids) != nil || json.Unmarshal(answer, &got) != nil ||
		!slices.Equal(got[1:], []int64{version, version, version}) || got[0] == pids[0] {
		t.Errorf("%s, by %s: %s, want version %d from a child", kind, how, answer, version)
	}
}

func TestEveryChildOfAPythonWorkerReadsTheRightVersion(t *testing.T) {
	f, emb, ask := withChildren(t, 4*mib)
	lasting, forked := longLived(t), []string{"os.fork", "fork"}
	spawned := []string{"spawn", "program"}
	for version := int64(1); version <= 2; version++ {
		if version == 2 {
			saveRows(t, emb, 2, 4*mib)
			if text := f.must("reload", "emb"); !strings.HasPrefix(text, "no worker replaced, 1 took the new data in place") {
				t.Errorf("reload said %q", text)
			}
		}
		for _, kind := range slices.Concat(forked, spawned) {
			childReads(t, ask, kind, "name", version)
			childReads(t, ask, kind, "dataset", version)
		}
		for _, kind := range append(lasting, "forkserver") {
			childReads(t, ask, kind, "dataset", version)
		}
		childReads(t, ask, "spawn", "array", version)
	}
	// Version 1 goes when each of the lasting children has been handed version 2.
	f.until("version 2 alone", func(s *supervisor.Snapshot) bool {
		for _, kind := range lasting {
			childReads(t, ask, kind, "dataset", 2)
		}
		return len(s.Data) == 1
	})
	for _, kind := range append(lasting, "forkserver") {
		if answer := string(ask("/" + kind + "/name")); !strings.Contains(answer, "cannot reach version 1 of dataset 'emb'") {
			t.Errorf("%s, by name, whose variables are of version 1, which is gone: %s", kind, answer)
		}
	}
	f.stop()
}

func TestAChildThatHasAVersionMappedKeepsIt(t *testing.T) {
	f, emb, ask := withChildren(t, 4*mib)
	kinds := append(longLived(t), "executor-fork")
	for _, kind := range kinds {
		childReads(t, ask, kind, "name", 1)
	}
	saveRows(t, emb, 2, 4*mib)
	if text := f.must("reload", "emb"); !strings.HasSuffix(text, "worker 0 still holds version 1 of emb") {
		t.Errorf("reload said %q", text)
	}
	for _, kind := range kinds {
		childReads(t, ask, kind, "name", 1)
		childReads(t, ask, kind, "dataset", 2)
		childReads(t, ask, kind, "name", 1)
	}
	f.stop()
}

func TestADatasetIsHandedToAChildAsAName(t *testing.T) {
	const size = 32 * mib
	f, _, ask := withChildren(t, size)
	var lengths [2]int64
	if err := json.Unmarshal(ask("/bytes"), &lengths); err != nil {
		t.Fatal(err)
	}
	t.Logf("pickled: the Dataset %d bytes, its array %d", lengths[0], lengths[1])
	if lengths[0] > 1024 || lengths[1] < size-npyOffset {
		t.Error("the Dataset is not small, or the array is")
	}
	f.stop()
}

// joblib writes a large array to a file and has its children map that: a second copy. With a Dataset there is no such file.
func TestAnArrayThatIsHandedToJoblibIsCopiedToAFile(t *testing.T) {
	if !slices.Contains(longLived(t), "loky") {
		missing(t, "joblib in the virtual environment")
	}
	f, _, ask := withChildren(t, 32*mib)
	var files [2]string
	if err := json.Unmarshal(ask("/file"), &files); err != nil || files[0] != "" || !strings.HasPrefix(files[1], f.dir+"/joblib/") {
		t.Errorf("%q, %v, want none for the Dataset and one below %s for the array", files, err, f.dir)
	}
	f.stop()
}
