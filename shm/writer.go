// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// A segment before it is sealed. How bytes get into it quickly is in fill_linux.go.

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrUnsupported is what every function returns on systems without sealable memory (all but Linux).
var ErrUnsupported = errors.New("sealed memory needs Linux")

// maxName is NAME_MAX less "memfd:", which the kernel puts in front.
const maxName = 255 - len("memfd:")

// Writer is a segment that is still being filled. Its methods must not be called at the same time.
type Writer struct {
	name string
	file *os.File // O_RDWR; its offset is always size
	size int64
	huge collapser
}

// Create makes an empty segment. The name is what /proc/PID/maps shows as "memfd:NAME"; it need not be unique. It has 1
// to 249 printable ASCII characters without spaces and slashes. The caller must call Close.
func Create(name string) (*Writer, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	file, err := create(name)
	if err != nil {
		return nil, fmt.Errorf("cannot create segment %q: %w", name, err)
	}
	return &Writer{name: name, file: file}, nil
}

func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("cannot create segment %.32q: its name has %d characters, 1 to %d are possible",
			name, len(name), maxName)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '/' {
			return fmt.Errorf("cannot create segment %q: use printable ASCII without spaces and slashes", name)
		}
	}
	return nil
}

// Write appends p: all of it, or an error says why not.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.size += int64(n)
	w.huge.upTo(w.file, w.size)
	return n, w.explain("write", err)
}

// ReadFrom appends all that r gives, from its present position to its end. A regular file is copied inside the kernel
// (sendfile), anything else through a buffer. It returns the bytes appended.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	n, err := fill(w.file, r)
	w.size += n
	w.huge.upTo(w.file, w.size)
	return n, w.explain("fill", err)
}

// ReadAt reads back what has been written so far, such as a header. At the end of it the error is io.EOF.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.file.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, w.explain("read", err)
}

// Size returns the bytes written so far.
func (w *Writer) Size() int64 { return w.size }

// Seal makes the segment immutable for ever, proves it and hands it over; the Writer is then closed. It fails for an
// empty segment and, with EBUSY, while anybody maps the memory through a writable descriptor. After an error only Close
// is of use.
func (w *Writer) Seal() (*Segment, error) {
	if w.size == 0 {
		return nil, fmt.Errorf("cannot seal segment %q: it is empty", w.name)
	}
	if err := seal(w.file); err != nil {
		return nil, w.explain("seal", err)
	}
	file, err := reopen(w.file)
	if err != nil {
		return nil, w.explain("seal", err)
	}
	segment := &Segment{name: w.name, file: file}
	if segment.id, err = identify(file); err != nil {
		return nil, w.explain("seal", errors.Join(err, file.Close()))
	}
	if err := w.Close(); err != nil {
		return nil, errors.Join(err, segment.Close())
	}
	return segment, nil
}

// Close gives the memory back if Seal did not succeed. After Seal, and when called again, it does nothing.
func (w *Writer) Close() error {
	return w.explain("close", closeOnce(w.file))
}

// explain puts the name of the segment in front of an error.
func (w *Writer) explain(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot %s segment %q: %w", verb, w.name, err)
}

func closeOnce(file *os.File) error {
	if err := file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
