// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// A segment before it is sealed. How bytes get into it quickly is in fill_linux.go.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrUnsupported is what every function returns on systems without sealable memory (all but Linux).
var ErrUnsupported = errors.New("sealed memory needs Linux")

// maxName is NAME_MAX less "memfd:", which the kernel puts in front.
const maxName = 255 - len("memfd:")

// HugeMode says whether a segment shall be of huge pages.
type HugeMode int

// The choices. HugeOff asks for none; where shmem_enabled is always or force the kernel gives them all the same.
const (
	HugeAuto HugeMode = iota // wherever the kernel gives them
	HugeOff                  // 4 KiB pages
)

// Options say how a segment is made. The zero value is good.
type Options struct {
	Huge HugeMode
	// Grow is asked before the segment takes so many more bytes of memory. Its error ends the write. nil: never asked.
	Grow func(bytes int64) error
}

// FillOptions say how Fill goes about it. The zero value is good.
type FillOptions struct {
	Threads  int              // 0: as many as there are CPUs, 2 to 4
	Progress func(done int64) // told the bytes that have arrived in all, by one goroutine at a time; nil: not told
}

// Writer is a segment that is still being filled. Its methods must not be called at the same time.
type Writer struct {
	name string
	*body
}

// Create makes an empty segment. The name is what /proc/PID/maps shows as "memfd:NAME"; it need not be unique. It has 1
// to 249 printable ASCII characters without spaces and slashes. The caller must call Close.
func Create(name string, o Options) (*Writer, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	file, err := create(name)
	if err != nil {
		return nil, fmt.Errorf("cannot create segment %q: %w", name, err)
	}
	return &Writer{name: name, body: newBody(file, o)}, nil
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
	n, err := w.write(p)
	return n, w.explain("write", err)
}

// ReadFrom appends all that r gives, to its end, and returns the bytes appended. r reads straight into the memory of
// the segment where that is in huge pages. After an error the bytes before it are kept.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	n, err := w.readFrom(r)
	return n, w.explain("fill", err)
}

// Fill appends length bytes of a regular file from offset on, by several threads; the file's own offset is neither
// used nor changed. What is cached is read from the page cache. Of a file of which less than half is cached the reads
// go past it (O_DIRECT), where the file system allows that.
//
// io.ErrUnexpectedEOF: the file ends before that. ctx is looked at every 8 MiB. After an error nothing is appended.
func (w *Writer) Fill(ctx context.Context, src *os.File, offset, length int64, o FillOptions) error {
	if offset < 0 || length < 0 {
		return w.explain("fill", fmt.Errorf("%d bytes from %d are no part of a file", length, offset))
	}
	return w.explain("fill", w.fill(ctx, src, offset, length, o))
}

// ReadAt reads back what has been written so far, such as a header. At the end of it the error is io.EOF.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) {
	n, err := io.NewSectionReader(w.file, 0, w.size).ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, w.explain("read", err)
}

// Huge returns the bytes that are known to be in huge pages.
func (w *Writer) Huge() int64 { return w.huge.total() }

// Note says in one sentence why not all of it is in huge pages; "" if it is, as far as its size allows, or none were
// wanted. It is good after Seal too.
func (w *Writer) Note() string { return w.huge.note(w.size) }

// Size returns the bytes written so far.
func (w *Writer) Size() int64 { return w.size }

// Seal makes the segment immutable for ever, proves it and hands it over; the Writer is then closed. It fails for an
// empty segment and, with EBUSY, while anybody maps the memory through a writable descriptor. After an error only Close
// is of use.
func (w *Writer) Seal() (*Segment, error) {
	if w.size == 0 {
		return nil, fmt.Errorf("cannot seal segment %q: it is empty", w.name)
	}
	if err := w.finish(); err != nil {
		return nil, w.explain("seal", err)
	}
	if err := seal(w.file); err != nil {
		return nil, w.explain("seal", err)
	}
	file, err := reopen(w.file)
	if err != nil {
		return nil, w.explain("seal", err)
	}
	segment := &Segment{name: w.name, file: file, huge: w.Huge()}
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
	return w.explain("close", errors.Join(w.unmap(), closeOnce(w.file)))
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
