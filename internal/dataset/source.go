// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file opens sources, and says what is wrong with one before anything is started.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// source is an input while it is read, by one goroutine. Its errors do not repeat the source's name.
type source interface {
	io.Reader
	// Size is the bytes that Read will give in all, -1 when nobody knows yet.
	Size() int64
	// Finish is asked once, when Read has given io.EOF after n bytes: were these all, and right?
	Finish(n int64) error
	// Close gives everything back, whatever happened before.
	Close() error
}

// open makes the source ready to be read. It does not wait for data: a command is started, a pipe waited for, by Read.
func (l *Loader) open(ctx context.Context, s Spec) (source, error) {
	if err := s.checkSource(); err != nil {
		return nil, err
	}
	if s.Source == stdinSource {
		return openStdin(ctx, l.Stdin)
	}
	if command, ok := strings.CutPrefix(s.Source, commandPrefix); ok {
		return l.openCommand(ctx, command)
	}
	info, err := statSource(s.Source)
	if err != nil {
		return nil, err
	}
	f, err := openFile(s.Source)
	if err != nil {
		return nil, err
	}
	var src source
	if info.Mode().IsRegular() {
		src, err = newFile(f, f.Close)
	} else {
		src, err = newPipe(ctx, f, f.Close, errors.New("nothing was written to this pipe"))
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return src, nil
}

// Peek looks at a source without loading it: its size in bytes and what its first bytes say. For standard input, pipes
// and commands the size is -1, nothing is read or started, and only their text is checked.
func (s Spec) Peek() (Meta, int64, error) {
	h, size, err := s.peek()
	if err != nil {
		return Meta{}, 0, s.fail(err)
	}
	return h.Meta, size, nil
}

func (s Spec) peek() (head, int64, error) {
	if err := s.checkSource(); err != nil {
		return head{}, 0, err
	}
	if s.stream() {
		return head{}, -1, nil
	}
	info, err := statSource(s.Source)
	if err != nil {
		return head{}, 0, err
	}
	if !info.Mode().IsRegular() {
		return head{}, -1, nil // opening a FIFO would wake its writer
	}
	f, err := openFile(s.Source)
	if err != nil {
		return head{}, 0, err
	}
	defer f.Close() //nolint:errcheck // only read from
	src, err := newFile(f, f.Close)
	if err != nil {
		return head{}, 0, err
	}
	h, err := sniff(src)
	if err == nil {
		err = h.checkSize(src.size)
	}
	return h, src.size, err
}

// Check is the cheap part of a load, to be asked before anything is started: a missing, unreadable or empty file, a
// directory, a device, an npy that is truncated or cannot be shared.
func (s Spec) Check() error {
	_, _, err := s.Peek()
	return err
}

// statSource refuses what is neither a regular file nor a FIFO. A FIFO is read once, like standard input: that is what
// the shell's <(command) gives.
func statSource(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, bare(err)
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return nil, errors.New("is a directory: name a file in it")
	case mode.IsRegular() && info.Size() == 0:
		return nil, errEmpty
	case mode.IsRegular(), mode&fs.ModeNamedPipe != 0:
		return info, nil
	}
	return nil, errors.New("is a device or socket, not a file: use cmd: with a command that reads it")
}

// openFile opens a regular file, or a FIFO without waiting for its writer.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: make it readable for uid %d", bare(err), os.Geteuid())
	}
	return f, bare(err)
}

// bare is err without the path that os puts in front.
func bare(err error) error {
	if pathErr := new(fs.PathError); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

var extForm = regexp.MustCompile(`^\.[A-Za-z0-9]{1,10}$`)

// Ext is the plain suffix of the source's file name, under which workers find the data too, or "".
func (s Spec) Ext() string {
	if ext := filepath.Ext(s.Source); !s.stream() && extForm.MatchString(ext) {
		return ext
	}
	return ""
}

// ext is Ext; what has no name (standard input, commands) or a passing one (pipes) gets what its format calls for.
func (s Spec) ext(format string, stream bool) string {
	ext := s.Ext()
	if ext == "" && (s.stream() || stream) && format == FormatNpy {
		return ".npy"
	}
	return ext
}
