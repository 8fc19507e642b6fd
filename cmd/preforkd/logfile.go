// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// Where lines go: standard error, or the file of --log-file, which can be opened anew when logrotate has moved it.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// logMode is what a new log file gets: logs are for the group at most.
const logMode = 0o640

// sink takes whole lines from several goroutines, one call at a time. A call waits as long as what is behind it does.
type sink struct {
	path   string    // of the log file, or ""
	stderr io.Writer // used without a path
	file   atomic.Pointer[os.File]

	mu   sync.Mutex // of one Write; Reopen goes without it, since a Write may be stuck
	torn bool       // the last call ended within a line: the disk was full
}

// openSink opens the file path, or stands for stderr when there is no path.
func openSink(path string, stderr io.Writer) (*sink, error) {
	s := &sink{path: path, stderr: stderr}
	if path == "" {
		return s, nil
	}
	file, err := openLogFile(path)
	if err != nil {
		return nil, cannotLog(path, err)
	}
	s.file.Store(file)
	return s, nil
}

func cannotLog(path string, err error) error {
	return fmt.Errorf("cannot open log file %s: %w; give --log-file a file that can be written", path, err)
}

// openLogFile never waits: a FIFO that nobody reads is an error (ENXIO).
func openLogFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, logMode)
	if failure, ok := errors.AsType[*os.PathError](err); ok {
		return nil, failure.Err // the path is told already
	}
	return file, err
}

// Write writes whole lines. After an error that left a line without its end, the next call begins a new one.
func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.torn {
		if _, err := s.write([]byte{'\n'}); err != nil {
			return 0, err
		}
		s.torn = false
	}
	n, err := s.write(p)
	s.torn = n > 0 && p[n-1] != '\n'
	return n, err
}

func (s *sink) write(p []byte) (int, error) {
	written := 0
	for {
		file := s.file.Load()
		if file == nil {
			return s.stderr.Write(p)
		}
		n, err := file.Write(p[written:])
		if written += n; errors.Is(err, os.ErrClosed) && s.file.Load() != file {
			continue // Reopen was faster
		}
		return written, err
	}
}

// Reopen opens the log file anew by its path. When that fails the old one stays. Without a log file it does nothing.
func (s *sink) Reopen() error {
	if s.path == "" {
		return nil
	}
	file, err := openLogFile(s.path)
	if err != nil {
		return fmt.Errorf("cannot reopen log file %s: %w", s.path, err)
	}
	return s.file.Swap(file).Close()
}

// Close closes the log file.
func (s *sink) Close() error {
	if file := s.file.Load(); file != nil {
		return file.Close()
	}
	return nil
}

// terminal tells whether people read the lines as they come.
func (s *sink) terminal() bool { return s.path == "" && isTerminal(s.stderr) }
