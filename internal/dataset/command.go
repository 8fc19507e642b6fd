// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"errors"
	"io"
)

// Producer is a running cmd: source. Read gives its standard output.
type Producer interface {
	// ReadCloser's Close kills the producer with all its children and makes a Read or Wait that is under way return. It
	// may be called at any time, from any goroutine, more than once, and after Wait.
	io.ReadCloser
	// Wait is called once, after Read gave io.EOF or after Close. It reaps the producer and returns nil only for exit
	// status 0; else the error says all there is to say: "exit status 3: <last lines of standard error>".
	Wait() error
}

// command is the output of a shell command. It is started by the first Read, and what it wrote counts only if it ends
// with status 0: a download that broke off looks like a short file.
type command struct {
	start   func() (Producer, error)
	watch   func(kill func()) (unwatch func() bool)
	running Producer
	unwatch func() bool
	reaped  bool
}

func (l *Loader) openCommand(ctx context.Context, text string) (source, error) {
	if l.Start == nil {
		return nil, errors.New("commands cannot be run here")
	}
	return &command{
		start: func() (Producer, error) { return l.Start(ctx, text) },
		watch: func(kill func()) func() bool { return context.AfterFunc(ctx, kill) },
	}, nil
}

func (s *command) Size() int64 { return -1 }

func (s *command) Read(p []byte) (int, error) {
	if s.running == nil {
		producer, err := s.start()
		if err != nil {
			return 0, err
		}
		s.running = producer
		s.unwatch = s.watch(func() { _ = producer.Close() })
	}
	return s.running.Read(p)
}

func (s *command) Finish(n int64) error {
	s.reaped = true
	if err := s.running.Wait(); err != nil {
		return err
	}
	if n == 0 {
		return errors.New("wrote nothing to its standard output")
	}
	return nil
}

func (s *command) Close() error {
	if s.running == nil {
		return nil
	}
	s.unwatch()
	err := s.running.Close()
	if !s.reaped {
		_ = s.running.Wait() // killed by us: its status says nothing
	}
	return err
}
