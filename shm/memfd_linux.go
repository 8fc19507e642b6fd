// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// The system calls behind Writer and Segment: memfd_create and seals (Linux 3.17), MFD_NOEXEC_SEAL (6.3).

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// seals are the ones that every segment has. F_SEAL_FUTURE_WRITE is left out: F_SEAL_WRITE says more, and the former
// was faulty before Linux 5.5.
const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

func create(name string) (*os.File, error) {
	fd, err := memfd(name, unix.MemfdCreate)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "memfd:"+name)
	// A memfd is born 0666 (0777 without MFD_NOEXEC_SEAL), whatever the umask. Read-only from the start, no other
	// process but root's can open it for writing before it is sealed; our own descriptor is not affected.
	if err := file.Chmod(0o444); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// memfd asks for a memfd that can never be made executable, where the kernel knows that (6.3); EINVAL where not.
func memfd(name string, call func(string, int) (int, error)) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := call(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = call(name, flags)
	}
	return fd, err
}

// seal adds the seals. The proof that they hold is verify's, on the descriptor that is handed over.
//
// EBUSY has two reasons: somebody maps the memory through a writable descriptor, or the kernel itself still holds a page (it
// moves pages to make huge ones, and waits 150 ms for that in memfd_wait_for_pins). The second one passes. EBUSY without any map
// of ours was seen once in some thousand loads (Linux 6.18).
func seal(file *os.File) error {
	return control(file, func(fd int) error {
		for try := 0; ; try++ {
			_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
			switch {
			case !errors.Is(err, unix.EBUSY):
				return err
			case try == sealTries:
				return fmt.Errorf("it is mapped through a writable descriptor: %w", err)
			}
			time.Sleep(sealPause) //nolint:forbidigo // the kernel tells nobody when it lets go
		}
	})
}

const (
	sealTries = 10
	sealPause = 50 * time.Millisecond
)

// reopen opens what file shows once more, read-only and with an offset of its own. Only /proc can do that.
func reopen(file *os.File) (*os.File, error) {
	var again *os.File
	err := control(file, func(fd int) error {
		n, err := unix.Open(procPath(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			return errors.New("opening it read-only needs /proc, which is not mounted here")
		}
		if err == nil {
			again = os.NewFile(uintptr(n), file.Name())
		}
		return err
	})
	return again, err
}

func identify(file *os.File) (id identity, err error) {
	err = control(file, func(fd int) error {
		id, err = verify(fd)
		return err
	})
	return id, err
}

// verify proves that fd is a memfd with all four seals that is open for reading only and not empty. No other file can
// have the seals: one on tmpfs answers F_GET_SEALS too, with F_SEAL_SEAL alone, which forbids more; elsewhere it is
// EINVAL.
func verify(fd int) (identity, error) {
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	switch {
	case errors.Is(err, unix.EINVAL):
		return identity{}, errors.New("it is no memfd")
	case err != nil:
		return identity{}, err
	case got&seals != seals:
		return identity{}, fmt.Errorf("it has the seals %#x of %#x", got&seals, seals)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return identity{}, err
	}
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		return identity{}, errors.New("it is open for writing")
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return identity{}, err
	}
	if st.Size == 0 {
		return identity{}, errors.New("it is empty")
	}
	return identity{dev: uint64(st.Dev), ino: st.Ino, size: st.Size}, nil //nolint:unconvert // 32 bits on MIPS
}

func allocated(file *os.File) (int64, error) {
	var st unix.Stat_t
	err := control(file, func(fd int) error { return unix.Fstat(fd, &st) })
	return st.Blocks * 512, err
}

func mapShared(file *os.File, size int64) (data []byte, err error) {
	if size > math.MaxInt {
		return nil, unix.EFBIG
	}
	err = control(file, func(fd int) error {
		data, err = unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
		return err
	})
	return data, err
}

func unmap(data []byte) error { return unix.Munmap(data) }

// control calls f with the descriptor while nobody can close it.
func control(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return fs.ErrClosed
	}
	return inner
}
