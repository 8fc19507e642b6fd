// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// Nothing is left behind: no descriptor, no mapping, no memory, whatever fails.

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/internal/host/cgrouptest"
)

func TestNoDescriptorIsLeft(t *testing.T) {
	for name, f := range map[string]func(t *testing.T){
		"success": func(t *testing.T) {
			s := sealed(t, []byte("x"))
			content(t, s)
			m, err := s.Map()
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		},
		"given up":    func(t *testing.T) { filled(t, []byte("x")) },
		"empty":       TestEmptySegmentIsNotSealed,
		"mapped":      TestSegmentMappedThroughAWritableDescriptorIsNotSealed,
		"bad name":    TestBadNamesAreRefused,
		"bad source":  TestReadFromReportsTheSourcesErrorAndKeepsCount,
		"not sealed":  TestInheritRefusesWhatIsNoSealedSegment,
		"closed":      TestAfterCloseEverythingSaysClosedAndCloseIsQuiet,
		"sealed once": TestWriterIsClosedBySeal,
	} {
		t.Run(name, func(t *testing.T) { noLeak(t, f) })
	}
}

func TestWithoutFreeDescriptorsEveryStepFailsCleanly(t *testing.T) {
	run(t, child(t, "descriptors", 0))
}

// helpDescriptors uses up all descriptors at each step that needs one.
func helpDescriptors() error {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		return err
	}
	scarce := func(step func() error) error {
		var taken []int
		var fd int
		var err error
		for err == nil {
			if fd, err = unix.Dup(0); err == nil {
				taken = append(taken, fd)
			}
		}
		result := step()
		for _, fd := range taken {
			err = errors.Join(err, unix.Close(fd))
		}
		if !errors.Is(result, unix.EMFILE) {
			return fmt.Errorf("got %w (%w)", result, err)
		}
		return nil
	}
	w, err := Create("kept", Options{})
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte("x")); err != nil {
		return err
	}
	if err := scarce(func() error { return second(Create("more", Options{})) }); err != nil {
		return fmt.Errorf("Create: %w", err)
	}
	if err := scarce(func() error { return second(w.Seal()) }); err != nil {
		return fmt.Errorf("Seal: %w", err)
	}
	if err := w.Close(); err != nil {
		return err
	}
	return noMemfd()
}

// noMemfd fails while this process holds a descriptor of a memfd.
func noMemfd() error {
	for fd := range 64 {
		if link, err := os.Readlink(procPath(fd)); err == nil && strings.Contains(link, "memfd:") {
			return fmt.Errorf("descriptor %d is still %s", fd, link)
		}
	}
	return nil
}

func TestSealWithoutProcSaysWhatIsMissing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can take /proc away")
	}
	out := run(t, child(t, "no-proc", 0))
	want := `cannot seal segment "test": opening it read-only needs /proc, which is not mounted here`
	switch {
	case strings.HasPrefix(out, "skip: "):
		t.Skip(out)
	case out != want:
		t.Errorf("got %q, want %q", out, want)
	}
}

// helpNoProc hides /proc from its own thread and prints what Seal says then.
func helpNoProc() error {
	w, err := Create("test", Options{})
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte("x")); err != nil {
		return err
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the process
	if err := errors.Join(
		unix.Unshare(unix.CLONE_NEWNS),
		unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("none", "/proc", "tmpfs", 0, ""),
	); err != nil {
		fmt.Print("skip: ", err)
		return nil
	}
	_, err = w.Seal()
	fmt.Print(err)
	return w.Close()
}

func TestMemoryIsFreedWithItsLastUser(t *testing.T) {
	dir := cgrouptest.New(t, 512<<20)
	cmd := child(t, "memory", 0)
	cmd.Env = append(cmd.Env, "SHM_TEST_CGROUP="+dir)
	const size, slack = 64 << 20, 16 << 20 // the kernel counts in batches
	want := map[string]int64{
		"written": size, "given up": 0, "sealed": size, "consumer": size, "mapped": size, "unmapped": 0,
	}
	lines := strings.Split(strings.TrimSpace(run(t, cmd)), "\n")
	if len(lines) != len(want) {
		t.Fatalf("the child said %q", lines)
	}
	for _, line := range lines {
		var got int64
		state, number, _ := strings.Cut(line, ": ")
		if _, err := fmt.Sscan(number, &got); err != nil {
			t.Fatal(err)
		}
		if got < want[state]-slack || got > want[state]+slack {
			t.Errorf("%s: the cgroup is charged %d bytes of shared memory, want about %d", state, got, want[state])
		}
	}
}

// helpMemory prints the shared memory that its cgroup is charged in each state of a segment.
func helpMemory() error {
	if err := cgrouptest.Enter(os.Getenv("SHM_TEST_CGROUP")); err != nil {
		return err
	}
	var failed error
	say := func(state string, err error) {
		m, readErr := host.Host{}.Memory()
		fmt.Printf("%s: %d\n", state, m.Shmem)
		failed = errors.Join(failed, err, readErr)
	}
	fill := func() *Writer {
		w, err := Create("memory", Options{})
		if err != nil {
			panic(err)
		}
		// In pieces: this process's own buffer is charged too, threefold under the race detector.
		piece := make([]byte, 1<<20)
		for range 64 {
			_, err := w.Write(piece)
			failed = errors.Join(failed, err)
		}
		return w
	}
	w := fill()
	say("written", nil)
	say("given up", w.Close())
	s, err := fill().Seal()
	if err != nil {
		return err
	}
	say("sealed", nil)
	f, err := s.Open()
	if err != nil {
		return err
	}
	m, err := s.Map()
	say("consumer", errors.Join(err, s.Close()))
	say("mapped", f.Close())
	say("unmapped", m.Close())
	return failed
}
