// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file is sources that workers open themselves: a file or a directory that stays where it is, in the page cache.

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/shm"
)

const (
	// maxDirect is how many entries of a directory are looked at; about 50 ms.
	maxDirect = 20000
	// residentAge is how old the answer to how much is in the page cache may be.
	residentAge = 10 * time.Second
)

// direct is a file or a directory as it was when it was looked at.
type direct struct {
	path     string // absolute
	dir      bool
	files    []string // the regular files, what symbolic links lead to included
	size     int64    // of all files
	partial  bool     // it has more than maxDirect entries
	identity Identity

	mu         sync.Mutex
	measuring  bool
	measuredAt time.Time
	cached     int64 // bytes in the page cache then
	failed     error
}

// openDirect looks at what a direct source names and proves that it can be read.
func openDirect(path string) (*direct, error) {
	d, err := lookDirect(path)
	if err != nil {
		return nil, err
	}
	f, err := d.open()
	if err != nil {
		return nil, err
	}
	_ = f.Close()
	return d, nil
}

func lookDirect(path string) (*direct, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, bare(err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, bare(err)
	}
	d := &direct{path: abs, dir: info.IsDir()}
	d.identity, _ = identity(info)
	switch {
	case d.dir:
		d.identity.Size = 0
		return d, d.walk()
	case !info.Mode().IsRegular():
		return nil, errors.New("is neither a file nor a directory: workers could not map it")
	}
	d.files, d.size = []string{abs}, info.Size()
	return d, nil
}

// walk adds up what is in a directory. Its identity is then that of the directory with the times of the newest of all and the
// size of all. Symbolic links to files are followed, as caches of models are made of them; those to directories are not.
func (d *direct) walk() error {
	entries := 0
	return bare(filepath.WalkDir(d.path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entries++; entries > maxDirect {
			d.partial = true
			return fs.SkipAll
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a link to nowhere, or gone since
		}
		if err != nil {
			return err
		}
		if id, ok := identity(info); ok {
			d.identity.MTime, d.identity.CTime = max(d.identity.MTime, id.MTime), max(d.identity.CTime, id.CTime)
		}
		if info.Mode().IsRegular() {
			d.files = append(d.files, path)
			d.size += info.Size()
			d.identity.Size = d.size
		}
		return nil
	}))
}

// open opens it for one worker, or to have a look.
func (d *direct) open() (*os.File, error) { return openFile(d.path) }

// each calls f for every file.
func (d *direct) each(f func(*os.File) error) error {
	for _, path := range d.files {
		file, err := openFile(path)
		if err != nil {
			return err
		}
		err = f(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// read reads all files once, which leaves them in the page cache, and tells each step.
func (d *direct) read(ctx context.Context, step func(block []byte)) error {
	block := make([]byte, 1<<20)
	return d.each(func(f *os.File) error {
		_ = control(f, func(fd int) { _ = unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL) }) // twice the readahead
		for {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n, err := f.Read(block)
			step(block[:n])
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return bare(err)
			}
		}
	})
}

// lock keeps all files in RAM.
func (d *direct) lock(ctx context.Context) (locks []*shm.Lock, err error) {
	if d.partial {
		return nil, errTooMany
	}
	err = d.each(func(f *os.File) error {
		if info, err := f.Stat(); err == nil && info.Size() == 0 {
			return nil // nothing to map
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		lock, err := shm.LockFile(f)
		if err == nil {
			locks = append(locks, lock)
		}
		return err
	})
	if err != nil {
		for _, lock := range locks {
			err = errors.Join(err, lock.Close())
		}
		return nil, err
	}
	return locks, nil
}

var errTooMany = errors.New("has more than 20,000 entries: to read ahead or lock so many, name a directory below it")

// resident is the part that is in the page cache. It is measured again behind the back of who asks, when it has grown old: a
// directory may take a while.
func (d *direct) resident() (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.measuring && time.Since(d.measuredAt) > residentAge {
		d.measuring = true
		go d.measure()
	}
	return d.cached, d.failed
}

func (d *direct) measure() {
	sum := int64(0)
	err := d.each(func(f *os.File) error {
		n, err := inCache(f)
		sum += n
		return err
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.measuring, d.measuredAt, d.cached, d.failed = false, time.Now(), sum, err
}

// inCache returns the bytes of a file that are in the page cache, in whole pages: by cachestat (Linux 6.5), else by mincore.
func inCache(f *os.File) (bytes int64, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	page := int64(os.Getpagesize())
	failed := control(f, func(fd int) {
		var stat unix.Cachestat_t
		if err = unix.Cachestat(uint(fd), &unix.CachestatRange{}, &stat, 0); err == nil {
			bytes = int64(stat.Cache) * page
			return
		}
		bytes, err = mincore(fd, info.Size())
	})
	return bytes, errors.Join(failed, err)
}

func mincore(fd int, size int64) (bytes int64, err error) {
	page := int64(os.Getpagesize())
	view, err := unix.MmapPtr(fd, 0, nil, uintptr(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer unix.MunmapPtr(view, uintptr(size)) //nolint:errcheck // it was mapped a moment ago
	in := make([]byte, (size+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(view), uintptr(size), uintptr(unsafe.Pointer(&in[0]))); errno != 0 {
		return 0, errno
	}
	for _, b := range in {
		bytes += int64(b&1) * page
	}
	return bytes, nil
}
