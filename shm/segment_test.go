// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm

// What makers and consumers may rely on once a segment is sealed.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestEveryConsumerHasItsOwnOffset(t *testing.T) {
	s := sealed(t, []byte("0123456789"))
	for range 3 {
		f, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got := make([]byte, 6)
		if _, err := io.ReadFull(f, got); err != nil || string(got) != "012345" {
			t.Errorf("a consumer read %q, %v", got, err)
		}
	}
}

func TestDescriptorsAreReadOnlyAndCloseOnExec(t *testing.T) {
	s := sealed(t, []byte("x"))
	f, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, fd := range map[string]int{"FD": s.FD(), "Open": int(f.Fd())} {
		mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil || mode&unix.O_ACCMODE != unix.O_RDONLY {
			t.Errorf("%s: access mode %#x, %v", name, mode, err)
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: descriptor flags %#x, %v", name, flags, err)
		}
	}
}

func TestTheKernelShowsTheSegmentByNameDeviceAndInode(t *testing.T) {
	s := sealed(t, []byte("x"))
	m, err := s.Map()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(" %02x:%02x %d ", unix.Major(s.Dev()), unix.Minor(s.Dev()), s.Ino())
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, " r--s ") && strings.Contains(line, want) && strings.Contains(line, "/memfd:test ") {
			return
		}
	}
	t.Errorf("no line with %q in\n%s", want, maps)
}

func TestAfterCloseEverythingSaysClosedAndCloseIsQuiet(t *testing.T) {
	s := sealed(t, []byte("x"))
	m, err := s.Map()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if string(m.Bytes()) != "x" {
		t.Error("the mapping did not outlive the segment")
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	_, openErr := s.Open()
	_, mapErr := s.Map()
	_, sizeErr := s.Allocated()
	for _, err := range []error{openErr, mapErr, sizeErr} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if s.FD() != -1 || s.Size() != 1 || s.Name() != "test" {
		t.Errorf("fd %d, size %d, name %q", s.FD(), s.Size(), s.Name())
	}
}

func TestWriterIsClosedBySeal(t *testing.T) {
	w := filled(t, []byte("x"))
	s, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := w.Write([]byte("y")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Write after Seal: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("Close after Seal: %v", err)
	}
	if _, err := w.Seal(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Seal after Seal: %v", err)
	}
	if string(content(t, s)) != "x" {
		t.Error("the segment changed")
	}
}

func TestSegmentMayBeUsedWhileItIsClosed(t *testing.T) {
	for range 50 {
		s := sealed(t, []byte("content"))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				f, err := s.Open()
				if err != nil {
					if !errors.Is(err, fs.ErrClosed) {
						t.Error(err)
					}
					return
				}
				defer f.Close()
				if got, err := io.ReadAll(f); string(got) != "content" || err != nil {
					t.Errorf("another file was opened: %q, %v", got, err)
				}
			})
		}
		wg.Go(func() { s.Close() })
		wg.Wait()
	}
}

func TestEmptySegmentIsNotSealed(t *testing.T) {
	_, err := filled(t, nil).Seal()
	if want := `cannot seal segment "test": it is empty`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestSegmentMappedThroughAWritableDescriptorIsNotSealed(t *testing.T) {
	for name, prot := range map[string]int{"read-only": unix.PROT_READ, "writable": unix.PROT_READ | unix.PROT_WRITE} {
		t.Run(name, func(t *testing.T) {
			w := filled(t, []byte("x"))
			m, err := unix.Mmap(int(w.file.Fd()), 0, 1, prot, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Munmap(m)
			_, err = w.Seal()
			want := `cannot seal segment "test": it is mapped through a writable descriptor: device or resource busy`
			if !errors.Is(err, unix.EBUSY) || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// The kernel may hold a page for a moment. Here somebody else does: it lets go while Seal waits.
func TestSealWaitsForWhatPasses(t *testing.T) {
	w := filled(t, []byte("x"))
	m, err := unix.Mmap(int(w.file.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	time.AfterFunc(sealPause, func() { gone <- unix.Munmap(m) })
	s, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := <-gone; err != nil {
		t.Error(err)
	}
}

func TestWorkerInheritsASegment(t *testing.T) {
	data := noise(9000)
	s := sealed(t, data)
	f, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if out, want := run(t, child(t, "inherit", 0, f)), string(data)+"test 9000"; out != want {
		t.Errorf("the worker printed %d bytes, want %d: …%q", len(out), len(want), out[max(0, len(out)-20):])
	}
}

// helpInherit prints the content, name and size of descriptor 3 and closes it.
func helpInherit() error {
	s, err := Inherit(3)
	if err != nil {
		return err
	}
	m, err := s.Map()
	if err != nil {
		return err
	}
	if _, err := os.Stdout.Write(m.Bytes()); err != nil {
		return err
	}
	fmt.Print(s.Name(), " ", s.Size())
	if err := s.Close(); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(3, unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		return errors.New("Close did not close descriptor 3")
	}
	return nil
}

func TestWritingToAMapEndsTheProcess(t *testing.T) {
	s := sealed(t, []byte("x"))
	f, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := child(t, "fault", 0, f)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || !strings.Contains(stderr.String(), "SIGSEGV") {
		t.Errorf("got %v\n%s", err, stderr.String())
	}
	if string(content(t, s)) != "x" {
		t.Error("the segment changed")
	}
}

func helpFault() error {
	s, err := Inherit(3)
	if err != nil {
		return err
	}
	m, err := s.Map()
	if err != nil {
		return err
	}
	m.Bytes()[0] = 'y'
	return errors.New("nothing happened")
}
