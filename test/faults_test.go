// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: kill -9 of preforkd, of a command that makes data, or of a worker in the middle of a load or reload, and a source
// that stalls and breaks off, lose nothing that was there and leave nothing behind: no process, descriptor, file or memory.
// What does not fit is refused with both figures before it is loaded, and a small /dev/shm does not matter.

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/preforkd/preforkd/internal/host/cgrouptest"
	"github.com/preforkd/preforkd/supervisor"
)

// slowly are flags for a dataset that a test sends as it likes.
func slowly(name string) []string { return []string{"-d", name + "=cmd:cat " + name} }

// loading waits until bytes of a dataset have come, and there are no more to come for now.
func (f *fleet) loading(name string) {
	f.t.Helper()
	f.until("a part of "+name, func(s *supervisor.Snapshot) bool {
		return slices.ContainsFunc(s.Data, func(d supervisor.Data) bool { return d.Name == name && d.Version == 0 && d.Loaded > 0 })
	})
}

// again makes a FIFO anew: what a cmd: source reads the second time.
func again(t *testing.T, dir, name string) *fifo {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	return newFIFO(t, dir, name)
}

// outcome is how a verb ended that runs beside the test.
type outcome struct {
	said, failed string
	code         int
}

func (f *fleet) beside(word string, args ...string) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		said, failed, code := f.verb(word, args...)
		done <- outcome{said, failed, code}
	}()
	return done
}

// gone checks what kill -9 leaves: no memory, no process, and a run dir that the next one can use. The command's shell dies
// with preforkd; what that has started ends by SIGPIPE, as soon as its source gives it something to write.
func (f *fleet) gone(l *ledger, source *fifo) {
	f.t.Helper()
	l.holds()
	within(f.t, patience, "the end of every process", func() bool {
		source.sendText("x")
		return len(marked(f.t, f.mark)) == 0
	})
	next := start(f.t, spec{dir: f.dir, flags: []string{"-w", "1", "--ready", "alive:10ms"}, command: sleeper})
	next.untilReady(1)
	if left, err := filepath.Glob(filepath.Join(f.run, "data", "*")); err != nil || len(left) > 0 {
		f.t.Errorf("links of the one that was killed: %v, %v", left, err)
	}
	next.stop()
}

func TestKillOfPreforkdInTheMiddleOfALoadLeavesNothing(t *testing.T) {
	for name, command := range map[string]string{"a command": "cat slow", "a pipeline": "cat slow | cat; exit 0"} {
		t.Run(name, func(t *testing.T) {
			dir := place(t)
			account, through := newLedger(t)
			source := newFIFO(t, dir, "slow")
			file, _ := blob(t, 32*mib)
			f := start(t, spec{
				dir: dir, through: through, flags: []string{"-w", "2", "-d", "slow=cmd:" + command, "-d", "file=" + file}, command: sleeper,
			})
			source.send(8 * mib)
			f.loading("slow")
			if account.shared() < 32*mib {
				t.Errorf("only %d bytes of shared memory are held: this shows nothing", account.shared())
			}
			f.kill()
			f.gone(account, source)
		})
	}
}

func TestKillOfPreforkdInTheMiddleOfAReloadLeavesNothing(t *testing.T) {
	const size = 16 * mib
	dir := place(t)
	put(t, filepath.Join(dir, "slow"), "one")
	account, through := newLedger(t)
	f, emb := versioned(t, 2, "1", size, spec{dir: dir, through: through, flags: slowly("slow")})
	saveRows(t, emb, 2, size)
	source := again(t, dir, "slow")
	reload := f.beside("reload")
	source.send(8 * mib)
	f.loading("slow")
	f.kill()
	if o := <-reload; o.code == 0 {
		t.Errorf("reload says %+v", o)
	}
	f.gone(account, source)
}

// digesting runs two workers of testdata/digests.py over the output of `cat slow`, which is this text at first.
func digesting(t *testing.T, text string, s spec) *fleet {
	t.Helper()
	if s.dir == "" {
		s.dir = place(t)
	}
	put(t, filepath.Join(s.dir, "slow"), text)
	s.flags = slices.Concat(slowly("slow"), []string{"-w", "2", "--ready", "notify"}, s.flags)
	s.command = []string{python(t, nil), script(t, "digests.py")}
	f := start(t, s)
	f.tells(2, "slow:1:"+sha256Of(text))
	f.until("the digest", func(s *supervisor.Snapshot) bool { return s.Data[0].SHA256 != nil })
	return f
}

func TestASourceThatFailsInAReloadChangesNothing(t *testing.T) {
	account, through := newLedger(t)
	// An array, so that its head tells how much is to come.
	whole := arrayText(t, 16*mib)
	f := digesting(t, whole, spec{through: through})
	before := mainPIDs(f.settled(2))
	descriptors := links(t, f.pid)
	for _, c := range []struct {
		how  string
		fail func(source *fifo)
		says string
	}{
		{"the command is killed", func(*fifo) { kill(t, -producer(t, f.pid, before)) }, "signal 9 (killed)"},
		{"what its shell runs is killed", func(*fifo) {
			for _, p := range children(t, producer(t, f.pid, before)) {
				kill(t, p.pid)
			}
		}, "exit status 137"},
		{"the source ends early", func(source *fifo) { source.file.Close() }, "truncated"},
	} {
		t.Run(c.how, func(t *testing.T) {
			source := again(t, f.dir, "slow")
			reload := f.beside("reload", "slow")
			source.sendText(whole[:12*mib])
			f.loading("slow")
			c.fail(source)
			o := <-reload
			t.Logf("exit code %d: %s", o.code, o.failed)
			if o.code != 3 || !strings.Contains(o.failed, `cannot load dataset "slow": cmd:cat …: `) || !strings.Contains(o.failed, c.says) {
				t.Errorf("reload: %+v, want %q", o, c.says)
			}
			f.servesOn(t, before, c.says)
			account.holds(16 * mib)
			f.keeps(descriptors)
		})
	}
	again(t, f.dir, "slow").file.Close()
	put(t, filepath.Join(f.dir, "slow"), "mended")
	f.must("reload", "slow")
	f.tells(2, "slow:2:"+sha256Of("mended"))
	f.stop()
	account.holds()
}

// producer is the child of preforkd that is no worker: the shell of a cmd: source, at the head of a process group.
func producer(t *testing.T, supervisor int, workers []int) (pid int) {
	t.Helper()
	for _, p := range children(t, supervisor) {
		if !slices.Contains(workers, p.pid) {
			pid = p.pid
		}
	}
	if pid == 0 {
		t.Fatal("no command runs")
	}
	return pid
}

// kill is kill -9.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("cannot kill %d: %v", pid, err)
	}
}

func arrayText(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "emb.npy")
	saveRows(t, path, 1, size)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (f *fifo) sendText(text string) {
	f.t.Helper()
	err := f.file.SetWriteDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = f.file.WriteString(text)
	}
	if err != nil {
		f.t.Fatalf("preforkd does not read: %v", err)
	}
}

// A disk or a network that hangs: the first load has nothing to fall back on.
func TestASourceThatStallsAndBreaksOffIsRefused(t *testing.T) {
	for name, source := range map[string]string{"pipe": "slow", "command": "cmd:cat slow"} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stopped %t", name, stopped), func(t *testing.T) {
				dir := place(t)
				account, through := newLedger(t)
				pipe := newFIFO(t, dir, "slow")
				f := start(t, spec{dir: dir, through: through, flags: []string{"-w", "2", "-d", "slow=" + source}, command: sleeper})
				pipe.sendText(arrayText(t, 16*mib)[:12*mib])
				f.loading("slow")
				if stopped { // while it stalls
					f.signal(syscall.SIGTERM)
					f.exits(0)
				} else {
					pipe.file.Close()
					f.exits(3)
					if out := f.output(); !strings.Contains(out, `cannot load dataset "slow": `) || !strings.Contains(out, "truncated") {
						t.Errorf("it said:\n%s", out)
					}
				}
				if f.logged("worker started") != nil {
					t.Error("a worker was started")
				}
				account.holds()
			})
		}
	}
}

func TestWorkersThatAreKilledInTheMiddleOfAReloadComeBackWithTheNewData(t *testing.T) {
	const size = 4 * mib
	dir := place(t)
	put(t, filepath.Join(dir, "slow"), "one")
	account, through := newLedger(t)
	f, emb := versioned(t, 2, "1", size, spec{dir: dir, through: through, flags: slowly("slow")})
	first := f.settled(2)
	stop := load{clients: 2, pace: 5 * time.Millisecond, address: first.Listen[0].Address, right: new(readings).right}.start(t)

	// While data is loaded: it comes back with the old data, and is replaced like the others.
	saveRows(t, emb, 2, size)
	source := again(t, dir, "slow")
	reload := f.beside("reload")
	source.send(8 * mib)
	f.loading("slow")
	kill(t, mainPIDs(first)[0])
	f.until("the one that was killed is back", func(s *supervisor.Snapshot) bool { return len(ready(s)) == 2 && s.Workers[0].Incarnation == 2 })
	touch(t, filepath.Join(dir, "hold"))
	source.file.Close()

	// While workers are replaced: the new one, which waits in its start, and the old one that is to be replaced next.
	rolling := f.until("a new worker beside the old ones", func(s *supervisor.Snapshot) bool { return len(s.Workers) == 3 })
	for _, w := range rolling.Workers {
		if w.Status == supervisor.StatusStarting || w.ID == 1 {
			kill(t, *w.PID)
		}
	}
	if err := os.Remove(filepath.Join(dir, "hold")); err != nil {
		t.Fatal(err)
	}
	o := <-reload
	t.Logf("%+v", o)
	if o.code != 0 || !strings.Contains(o.said, "emb is now version 2") {
		t.Errorf("reload: %+v", o)
	}
	f.until("both have the new versions, and nothing else is there", func(s *supervisor.Snapshot) bool {
		return len(s.Workers) == 2 && len(ready(s)) == 2 && len(s.Data) == 2 && s.Data[0].Version+s.Data[1].Version == 4 &&
			s.Data[0].Workers == 2 && s.Data[1].Workers == 2
	})
	if body, err := get(first.Listen[0].Address); err != nil || strings.Fields(body)[2] != "2" {
		t.Errorf("answer %q, %v, want version 2", body, err)
	}
	result := stop()
	t.Logf("%v\n%s", result, result.kinds())
	if lost := len(result.failures); lost > 2 { // what the two that served had in hand
		t.Errorf("%d requests were lost by two kills", lost)
	}
	account.holds(size, 8*mib)
	f.stop()
	account.holds()
}

func TestAReloadBeyondTheCgroupsLimitIsRefusedBeforeAByteIsLoaded(t *testing.T) {
	asRoot(t)
	group := cgrouptest.New(t, 192*mib)
	f := start(t, spec{
		through: enter(group), flags: []string{"-w", "2", "-d", "blob=blob.bin", "--ready", "notify"},
		dir: withFile(t, "blob.bin", strings.Repeat("x", 64*mib)), command: []string{python(t, nil), script(t, "digests.py")},
	})
	f.until("two ready workers", func(s *supervisor.Snapshot) bool { return len(ready(s)) == 2 })
	before := mainPIDs(f.settled(2))
	account := &ledger{t: t, dir: group}
	account.holds(64 * mib)
	put(t, filepath.Join(f.dir, "blob.bin"), strings.Repeat("y", 128*mib))

	most := int64(0)
	end := f.every(func(*supervisor.Snapshot) { most = max(most, account.shared()) })
	_, stderr, code := f.verb("reload", "blob")
	end()
	t.Log(stderr)
	says := regexp.MustCompile(`cannot load dataset "blob": needs 128 MiB, but only \d+ MiB of memory can be used \(bound by the limit of cgroup `)
	if code != 3 || !says.MatchString(stderr) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if most > 66*mib {
		t.Errorf("%d bytes of shared memory were held, want those of the old version", most)
	}
	f.servesOn(t, before, "needs 128 MiB")
	if n := oomKills(t, group); n > 0 {
		t.Errorf("the kernel killed %d processes", n)
	}
	f.stop()
	account.holds()
}

// withFile makes a directory with one file in it.
func withFile(t *testing.T, name, content string) (dir string) {
	t.Helper()
	dir = place(t)
	put(t, filepath.Join(dir, name), content)
	return dir
}

func TestDataBeyondTheLimitOfAFilesSizeIsRefused(t *testing.T) {
	through := []string{tool(t, "prlimit"), fmt.Sprint("--fsize=", 32*mib)}
	const says = `needs 64 MiB, but a file may have only 32 MiB here, and a segment counts as one (RLIMIT_FSIZE)`
	dir := withFile(t, "blob.bin", strings.Repeat("x", 64*mib))
	s := spec{
		dir: dir, through: through, flags: []string{"-w", "2", "-d", "blob=blob.bin", "--ready", "notify"},
		command: []string{python(t, nil), script(t, "digests.py")},
	}
	f := start(t, s)
	f.exits(3)
	if !strings.Contains(f.output(), `cannot load dataset "blob": `+says) {
		t.Errorf("it said:\n%s", f.output())
	}

	put(t, filepath.Join(dir, "blob.bin"), "small enough")
	f = start(t, s)
	before := mainPIDs(f.tells(2, "blob:1:"+sha256Of("small enough")))
	put(t, filepath.Join(dir, "blob.bin"), strings.Repeat("y", 64*mib))
	if _, stderr, code := f.verb("reload"); code != 3 || !strings.Contains(stderr, says) {
		t.Errorf("reload: exit code %d: %s", code, stderr)
	}
	f.servesOn(t, before, says)
	f.stop()

	// A stream, which does not say how much is to come, must not die of SIGXFSZ either.
	s.flags = []string{"-w", "2", "-d", "blob=cmd:head -c 64M /dev/zero"}
	f = start(t, s)
	f.exits(3)
	if !strings.Contains(f.output(), `needs more than`) || !strings.Contains(f.output(), `RLIMIT_FSIZE`) {
		t.Errorf("of a stream it said:\n%s", f.output())
	}
}

// Docker's default.
func TestASmallDevShmDoesNotMatter(t *testing.T) {
	asRoot(t)
	f := start(t, spec{
		through: []string{tool(t, "unshare"), "--mount", "/bin/sh", "-c", `mount -t tmpfs -o size=64m none /dev/shm && exec "$@"`, "sh"},
		flags:   []string{"-w", "2", "-d", "blob=blob.bin", "--ready", "notify"}, dir: withFile(t, "blob.bin", strings.Repeat("x", 256*mib)),
		command: []string{python(t, nil), script(t, "digests.py")},
	})
	size, err := exec.Command(tool(t, "stat"), "--file-system", "--format", "%S %b", fmt.Sprintf("/proc/%d/root/dev/shm", f.untilReady(2).Supervisor.PID)).Output()
	var block, blocks int64
	if _, scan := fmt.Sscan(string(size), &block, &blocks); err != nil || scan != nil || block*blocks != 64*mib {
		t.Fatalf("/dev/shm there: %q, %v: this shows nothing", size, err)
	}
	f.tells(2, "blob:1:"+sha256Of(strings.Repeat("x", 256*mib)))
	put(t, filepath.Join(f.dir, "blob.bin"), strings.Repeat("y", 256*mib))
	f.must("reload", "blob")
	f.tells(2, "blob:2:"+sha256Of(strings.Repeat("y", 256*mib)))
	f.stop()
}
