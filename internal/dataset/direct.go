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

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/shm"
)

// maxDirect is how many entries of a directory are looked at; about 50 ms.
const maxDirect = 20000

// direct is a file or a directory as it was when it was looked at.
type direct struct {
	path     string // absolute
	dir      bool
	files    []part // the regular files, what symbolic links lead to included
	size     int64  // of all files
	partial  bool   // it has more than maxDirect entries
	identity Identity

	mu         sync.Mutex
	measuring  bool
	measuredAt time.Time
	took       time.Duration
	cached     int64 // bytes in the page cache then
	failed     error
}

// part is one file.
type part struct {
	path string
	Identity
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
	d.files, d.size = []part{{abs, d.identity}}, info.Size()
	return d, nil
}

// walk adds up what is in a directory. Its identity is then that of the directory with the times of the newest of all and the
// size of all. Symbolic links to files are followed, as caches of models are made of them; those to directories are not, but for
// the directory itself.
func (d *direct) walk() error {
	root, err := filepath.EvalSymlinks(d.path)
	if err != nil {
		return bare(err)
	}
	entries := 0
	return bare(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entries++; entries > maxDirect {
			d.partial = true
			return fs.SkipAll
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) {
			return nil // a link to nowhere or to itself, or gone since
		}
		if err != nil {
			return err
		}
		id, ok := identity(info)
		if ok {
			d.identity.MTime, d.identity.CTime = max(d.identity.MTime, id.MTime), max(d.identity.CTime, id.CTime)
		}
		if info.Mode().IsRegular() {
			d.files = append(d.files, part{path, id})
			d.size += info.Size()
			d.identity.Size = d.size
		}
		return nil
	}))
}

// beyond is how many bytes it needs in RAM beyond those of another version that is locked, and stays so for a while.
func (d *direct) beyond(have *Loaded) int64 {
	need := d.size
	if have == nil || have.direct == nil || !have.Locked() {
		return need
	}
	type inode struct{ dev, ino uint64 }
	locked := map[inode]int64{}
	for _, p := range have.direct.files {
		locked[inode{p.Dev, p.Ino}] = p.Size
	}
	for _, p := range d.files {
		need -= min(locked[inode{p.Dev, p.Ino}], p.Size)
	}
	return max(need, 0)
}

// open opens it for one worker, or to have a look.
func (d *direct) open() (*os.File, error) { return openFile(d.path) }

// each calls f for every file.
func (d *direct) each(f func(*os.File) error) error {
	for _, p := range d.files {
		file, err := openFile(p.path)
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
		info, err := f.Stat()
		if err != nil {
			return bare(err)
		}
		_ = control(f, func(fd int) { _ = unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL) }) // twice the readahead
		from := io.LimitReader(f, info.Size())                                            // a file in /proc has no size, and may have no end
		for {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n, err := from.Read(block)
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
		lock, err := shm.LockFile(ctx, f)
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
