// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// The memory of a segment that is being filled. Bytes [0, size) are written. Behind them may lie the rest of a huge
// page that was made for what comes next; finish gives it back.

import (
	"errors"
	"io"
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
		var room []byte
		if room, err = b.room(); room != nil {
			n = copy(room, p[done:])
			b.size += int64(n)
		} else if err == nil {
			n, err = b.put(p[done:min(int64(len(p)), int64(done)+b.left())])
		}
		done += n
	}
	return done, err
}

// readFrom appends what r gives: read straight into huge pages, where there are, or written from a buffer.
func (b *body) readFrom(r io.Reader) (done int64, err error) {
	var buffer []byte
	for idle := 0; err == nil; {
		// The first bytes of a block are read before it is made, so that no memory is taken for what does not come.
		var room []byte
		if b.size < b.made {
			room, _ = b.room()
		}
		var n int
		if room != nil {
			n, err = r.Read(room)
			b.size += int64(n)
		} else {
			if buffer == nil {
				buffer = make([]byte, bufferSize)
			}
			piece := buffer[:min(bufferSize, b.left())]
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
// much smaller.
func (b *body) room() ([]byte, error) {
	if off, _ := b.huge.state(); b.size >= b.made {
		if off || b.size == 0 || b.left() != block || b.size == b.missed {
			return nil, nil
		}
		if err := b.admit(b.size + block); err != nil {
			return nil, err
		}
		made := false
		if err := b.look(); err != nil {
			b.huge.count(err)
		} else {
			made = b.huge.empty(b.file, b.seen[b.size-b.at:][:block], b.size)
		}
		if !made {
			b.missed = b.size
			return nil, nil
		}
		b.made = b.size + block
	}
	if b.seen == nil {
		return nil, nil
	}
	return b.seen[b.size-b.at : b.made-b.at], nil
}

// look moves the stream's window to where the next block will be, if it does not show it yet.
func (b *body) look() (err error) {
	if b.seen != nil && b.size < b.at+windowSize {
		return nil
	}
	if err = b.file.Truncate(b.size + windowSize); err != nil {
		return err
	}
	if b.seen, err = b.view.show(b.file, b.size, windowSize, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	b.at = b.size
	b.huge.advise(b.seen)
	return nil
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
