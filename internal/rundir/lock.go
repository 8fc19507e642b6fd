// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package rundir

// The lock of an instance, and what is done first when it is held.
//
// It is an open-file-description lock (F_OFD_SETLK, Linux 3.15): like flock it ends with its last descriptor, SIGKILL
// included, but a verb can ask about it (F_OFD_GETLK) without taking it for a moment and so refusing it to an instance
// that starts just then.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// acquire opens and locks the lock file. It fails with ErrTaken when a live process holds it and with errVanished when
// the file was removed meanwhile: its last holder was closing.
func (d *Dir) acquire() error {
	file, err := d.root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return orVanished(err)
	}
	err = setLock(file)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = failf(ErrTaken, "cannot start instance %q: process %s runs in %s already", d.name, holder(file), d.path)
	}
	if err == nil {
		err = d.current(file)
	}
	if err == nil {
		err = d.foreign(file)
	}
	if err == nil {
		err = sign(file)
	}
	if err != nil {
		file.Close()
		return err
	}
	d.lock = file
	return nil
}

// current checks that the file that was locked still is the one that others will find.
func (d *Dir) current(file *os.File) error {
	locked, err := file.Stat()
	if err != nil {
		return err
	}
	named, err := d.root.Lstat(lockName)
	if err != nil {
		return orVanished(err)
	}
	if !os.SameFile(locked, named) {
		return errVanished
	}
	return nil
}

// foreign refuses a directory given by the user in which data/ is something else's: it would be cleaned. preforkd's own
// data/ stands only beside a lock file that an instance has signed.
func (d *Dir) foreign(file *os.File) error {
	info, err := file.Stat()
	if err != nil || info.Size() > 0 {
		return err
	}
	if _, err := d.root.Lstat(dataName); err != nil {
		return nil // there is none
	}
	return errors.Join(fmt.Errorf("it has a %s that is not preforkd's; give it a directory of its own", dataName),
		d.remove(lockName))
}

// sign writes our pid into the lock file, for people and for the message of the next one. It is never empty again.
func sign(file *os.File) error {
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if _, err := file.WriteAt([]byte(pid), 0); err != nil {
		return err
	}
	if err := file.Truncate(int64(len(pid))); err != nil {
		return err
	}
	return file.Chmod(0o644) // whatever the umask
}

// holder reads the pid that the lock's holder wrote, "unknown" when it has not yet.
func holder(file *os.File) string {
	buf := make([]byte, 32)
	n, _ := file.ReadAt(buf, 0) // a short read is the normal case
	if pid, _, whole := strings.Cut(string(buf[:n]), "\n"); whole {
		return pid
	}
	return "unknown"
}

// prepare removes what a killed instance left and makes data/.
func (d *Dir) prepare() error {
	if err := d.sweep(); err != nil {
		return err
	}
	if err := d.root.Mkdir(dataName, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.root.Chmod(dataName, 0o755)
}

// sweep removes the control socket and every symbolic link in data/.
func (d *Dir) sweep() error {
	if info, err := d.root.Lstat(controlName); err == nil && info.Mode().Type() == fs.ModeSocket {
		if err := d.remove(controlName); err != nil {
			return err
		}
	}
	entries, err := fs.ReadDir(d.root.FS(), dataName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if entry.Type() != fs.ModeSymlink {
			continue
		}
		if err := d.remove(filepath.Join(dataName, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// setLock takes the lock without waiting for it.
func setLock(file *os.File) error {
	return control(file, func(fd uintptr) error {
		return unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	})
}

// locked tells whether somebody holds the lock, without touching it.
func locked(file *os.File) bool {
	query := unix.Flock_t{Type: unix.F_WRLCK}
	err := control(file, func(fd uintptr) error { return unix.FcntlFlock(fd, unix.F_OFD_GETLK, &query) })
	return err == nil && query.Type != unix.F_UNLCK
}

func control(file *os.File, call func(fd uintptr) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := conn.Control(func(fd uintptr) { result = call(fd) }); err != nil {
		return err
	}
	return result
}
