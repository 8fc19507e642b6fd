// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// Filling a segment. With 4 KiB pages the page faults are the cost, so system calls that copy inside the kernel
// (sendfile, write: 0.18 of memcpy) beat reading into a mapping (0.10). Filling huge pages through an aligned mapping
// belongs here too; it must unmap before it returns, or Seal fails with EBUSY.

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	bufferSize = 1 << 20
	sendMax    = 1 << 30 // the kernel moves at most 2 GiB − 4 KiB at a time
)

// fill appends what src gives to dst, at the offset of dst, and returns the bytes appended.
func fill(dst *os.File, src io.Reader) (int64, error) {
	if file, ok := src.(*os.File); ok {
		if n, done, err := sendFile(dst, file); done || err != nil {
			return n, err
		}
	}
	// The wrappers hide io.ReaderFrom and io.WriterTo: os.File's would try copy_file_range (EXDEV between file systems)
	// and then copy by 32 KiB.
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, bufferSize))
}

// sendFile appends a regular file, from its offset to its end; both offsets move on. Done is false where the kernel
// cannot send this file (some in /proc): then nothing was taken and it can be read in the ordinary way.
func sendFile(dst, src *os.File) (n int64, done bool, err error) {
	info, err := src.Stat()
	if err != nil {
		return 0, false, err
	}
	if !info.Mode().IsRegular() {
		return 0, false, nil
	}
	err = control(dst, func(out int) error {
		return control(src, func(in int) error {
			for {
				sent, err := unix.Sendfile(out, in, nil, sendMax)
				switch {
				case errors.Is(err, unix.EINTR):
					continue
				case errors.Is(err, unix.EINVAL) && n == 0:
					return nil
				case err != nil:
					return err
				case sent == 0:
					done = true
					return nil
				}
				n += int64(sent)
			}
		})
	})
	return n, done, err
}
