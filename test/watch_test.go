// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: --watch sees the ways in which files are published, and loads and replaces nothing for what has not changed; what is
// broken changes nothing, until it is mended.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

func TestWatchedFilesBringTheirNewVersions(t *testing.T) {
	dir := place(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	put(t, path("blob.bin"), "one")
	// As Kubernetes publishes a ConfigMap: conf → ..data/conf, ..data → a directory with a name of its own.
	publish := func(release, content string) {
		do(os.Mkdir(path(release), 0o755), os.WriteFile(path(release+"/conf"), []byte(content), 0o644),
			os.Symlink(release, path("..data.new")), os.Rename(path("..data.new"), path("..data")))
	}
	publish("..r1", "first")
	do(os.Symlink("..data/conf", path("conf")))
	f := start(t, spec{
		dir: dir, flags: []string{"-w", "2", "--watch", "-d", "blob=blob.bin", "-d", "conf=conf", "--ready", "notify"},
		command: []string{python(t, nil), script(t, "digests.py")},
	})
	say := func(blob string, v int, conf string, w int) string {
		return fmt.Sprintf("blob:%d:%s conf:%d:%s", v, sha256Of(blob), w, sha256Of(conf))
	}
	f.tells(2, say("one", 1, "first", 1))

	put(t, path("blob.bin"), "two")
	f.tells(2, say("two", 2, "first", 1))

	// In place.
	do(os.WriteFile(path("blob.bin"), []byte("three"), 0o644))
	f.tells(2, say("three", 3, "first", 1))

	publish("..r2", "second")
	last := f.tells(2, say("three", 3, "second", 2))
	do(os.RemoveAll(path("..r1")))

	// Touched, and another file with the same content.
	reloads := f.metric(`preforkd_reloads_total{result="done"}`)
	put(t, path("blob.bin"), "three")
	f.until("the look at what has not changed", func(s *supervisor.Snapshot) bool {
		return s.Supervisor.Operation == nil && s.Supervisor.LastReload.Result == supervisor.ReloadUnchanged
	})
	publish("..r3", "second")
	f.until("the same of the other one", func(s *supervisor.Snapshot) bool {
		return s.Supervisor.Operation == nil && f.metric(`preforkd_reloads_total{result="unchanged"}`) >= 2
	})
	if now := f.settled(2); !slices.Equal(mainPIDs(now), mainPIDs(last)) || f.metric(`preforkd_reloads_total{result="done"}`) != reloads {
		t.Errorf("unchanged data: workers %v before, %v after", mainPIDs(last), mainPIDs(now))
	}

	// Gone for a while, then back: deploys that are no rename.
	do(os.Remove(path("blob.bin")))
	do(os.WriteFile(path("blob.bin"), []byte("four"), 0o644))
	f.tells(2, say("four", 4, "second", 2))
	if data := f.settled(2).Data; len(data) != 2 {
		t.Errorf("data: %+v", data)
	}
	f.stop()
}

func TestAWatchedFileThatIsBrokenChangesNothing(t *testing.T) {
	const size = 4 * mib
	account, through := newLedger(t)
	f, emb := versioned(t, 2, "1", size, spec{through: through, flags: []string{"--watch"}})
	before := f.serves(2, 1)
	f.until("the digest", func(s *supervisor.Snapshot) bool { return s.Data[0].SHA256 != nil })
	descriptors := links(t, f.pid)

	saveRows(t, emb+".whole", 2, size)
	whole, err := os.ReadFile(emb + ".whole")
	if err != nil {
		t.Fatal(err)
	}
	put(t, emb, string(whole[:size/2]))
	const reason = "truncated"
	f.until("a failed reload", func(s *supervisor.Snapshot) bool {
		last := s.Supervisor.LastReload
		return last != nil && last.Result == supervisor.ReloadFailed && strings.Contains(last.Error, reason)
	})
	f.servesOn(t, mainPIDs(before), reason)
	if got := f.metric(`preforkd_reloads_total{result="failed"}`); got != 1 {
		t.Errorf("%v reloads have failed, want 1", got)
	}
	if _, stderr, code := f.verb("reload", "emb"); code != 3 || !strings.Contains(stderr, `cannot load dataset "emb": `) || !strings.Contains(stderr, reason) {
		t.Errorf("reload of broken data: exit code %d: %s", code, stderr)
	}
	f.serves(2, 1)
	account.holds(size)
	f.keeps(descriptors)

	put(t, emb, string(whole))
	after := mainPIDs(f.serves(2, 2))
	if old := mainPIDs(before); after[0] == old[0] || after[1] != old[1] {
		t.Errorf("workers %v before, %v after: want the first replaced and the second, which takes it itself, kept", old, after)
	}
	account.holds(size)
	f.stop()
	account.holds()
}
