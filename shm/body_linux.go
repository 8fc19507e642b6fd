// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// The memory of a segment that is being filled. Bytes [0, size) are written. Behind them may lie the rest of a huge
// page that was made for what comes next; finish gives it back.

import (
	"errors"
	"io"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// bufferSize is what one read asks for.
const bufferSize = 1 << 20

// body is what a Writer fills.
type body struct {
	file *os.File // O_RDWR
	size int64
	huge pager

	made   int64  // the end of the huge page in which size lies; size is not below it: there is none
	missed int64  // where a huge page was wanted last and not given
	view   window // of the stream
	seen   []byte // what it shows
	at     int64  // from where
	buffer []byte // of readFrom, for what is not read into a window

	mu      sync.Mutex
	grow    func(int64) error
	granted int64 // bytes of memory that were admitted
}

func newBody(file *os.File, o Options) *body {
	return &body{file: file, grow: o.Grow, missed: -1, huge: pager{off: o.Huge == HugeOff}}
}

// admit asks for the memory up to end, in whole pages.
func (b *body) admit(end int64) error {
	page := int64(os.Getpagesize())
	end = (end + page - 1) / page * page
	b.mu.Lock()
	defer b.mu.Unlock()
	if end <= b.granted {
		return nil
	}
	if b.grow != nil {
		if err := b.grow(end - b.granted); err != nil {
			return err
		}
	}
	b.granted = end
	return nil
}

// write appends p.
func (b *body) write(p []byte) (done int, err error) {
	done, err = b.store(p)
	return done, b.cleanUp(err)
}

// cleanUp leaves nothing mapped after an error.
func (b *body) cleanUp(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, b.unmap())
}

// store is write; after an error the window may still be there.
func (b *body) store(p []byte) (done int, err error) {
	for done < len(p) && err == nil {
		var n int
		if room := b.room(); room != nil {
			n = copy(room, p[done:])
			b.size += int64(n)
		} else {
			n, err = b.put(p[done:min(int64(len(p)), int64(done)+b.left())])
		}
		done += n
	}
	return done, err
}

// readFrom appends what r gives: read straight into huge pages, where there are, or written from a buffer.
func (b *body) readFrom(r io.Reader) (done int64, err error) {
	for idle := 0; err == nil; {
		// The first bytes of a block are read before it is made, so that no memory is taken for what does not come.
		var room []byte
		if b.size < b.made {
			room = b.room()
		}
		var n int
		if room != nil {
			n, err = r.Read(room)
			b.size += int64(n)
		} else {
			if b.buffer == nil {
				b.buffer = make([]byte, bufferSize)
			}
			piece := b.buffer[:min(bufferSize, b.left())]
			if b.size == blockDown(b.size) && b.size > 0 {
				piece = piece[:os.Getpagesize()]
			}
			n, err = r.Read(piece)
			var failed error
			if n, failed = b.store(piece[:n]); failed != nil {
				err = failed
			}
		}
		done += int64(n)
		if idle++; n > 0 {
			idle = 0
		} else if idle == 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return done, b.cleanUp(err)
}

// left is the number of bytes to the end of the block in which the next byte lies.
func (b *body) left() int64 { return blockDown(b.size) + block - b.size }

// room is the mapped rest of the huge page in which the next byte lies; it is made if it is time for one. nil: write
// instead, at most up to the end of the block. The first block is always written: most streams that end there are
// much smaller. So is one that would be beyond what may be taken, of which the stream may need only a part.
func (b *body) room() []byte {
	if off, _ := b.huge.state(); b.size >= b.made {
		if off || b.size == 0 || b.left() != block || b.size == b.missed {
			return nil
		}
		b.missed = b.size
		length := min(windowSize, blockDown(fileLimit()-b.size))
		if length < block || b.admit(b.size+block) != nil {
			return nil
		}
		if err := b.look(length); err != nil {
			b.huge.count(err)
			return nil
		}
		if !b.huge.empty(b.file, b.seen[b.size-b.at:][:block], b.size) {
			return nil
		}
		b.missed, b.made = -1, b.size+block
	}
	if b.seen == nil {
		return nil
	}
	return b.seen[b.size-b.at : b.made-b.at]
}

// look moves the stream's window, of this length, to where the next block will be, if it does not show it yet.
func (b *body) look(length int64) (err error) {
	if b.seen != nil && b.size < b.at+int64(len(b.seen)) {
		return nil
	}
	if err = b.file.Truncate(b.size + length); err != nil {
		return err
	}
	if b.seen, err = b.view.show(b.file, b.size, length, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	b.at = b.size
	b.huge.advise(b.seen)
	return nil
}

// fileLimit is the largest size that a segment may have: for the kernel it is a file.
func fileLimit() int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_FSIZE, &limit) != nil {
		return math.MaxInt64
	}
	return int64(min(limit.Cur, math.MaxInt64))
}

// put writes p, which does not go beyond the block; when that is complete it is made huge.
func (b *body) put(p []byte) (int, error) {
	if err := b.admit(b.size + int64(len(p))); err != nil {
		return 0, err
	}
	n, err := b.file.WriteAt(p, b.size)
	b.size += int64(n)
	if start := b.size - block; n > 0 && b.left() == block && b.size > b.made && start != b.missed {
		b.huge.written(b.file, start)
	}
	return n, err
}

// unmap takes the stream's window away.
func (b *body) unmap() error {
	b.seen = nil
	return b.view.close()
}

// finish unmaps everything and gives back what lies behind the last byte. The last block is then one of small pages:
// cut off in the middle a huge page may stay allocated.
func (b *body) finish() error {
	if err := b.unmap(); err != nil {
		return err
	}
	start := blockDown(b.size)
	if b.size >= b.made {
		start = b.size
	}
	rest := make([]byte, b.size-start)
	if _, err := b.file.ReadAt(rest, start); err != nil {
		return err
	}
	if err := b.file.Truncate(start); err != nil {
		return err
	}
	if len(rest) == 0 {
		return nil
	}
	b.huge.split()
	b.made = 0
	_, err := b.file.WriteAt(rest, start)
	return err
}
