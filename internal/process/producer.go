// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// A producer is the command of a cmd: source: its standard output becomes a dataset.

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/preforkd/preforkd/internal/contract"
)

const (
	// lastLines is how much of a producer's standard error its failure shows.
	lastLines = 10
	// lastLinesPatience bounds the wait for them: a background process may hold the pipe for ever.
	lastLinesPatience = 500 * time.Millisecond
)

// Producer is a running command, owned by whoever started it: read it to the end, Wait, Close. Gone is closed after
// Close at the earliest when the command left something running.
type Producer struct {
	*Process
	stdout *os.File
	ended  chan struct{}
	result error // valid when ended is closed
}

// StartProducer runs command by /bin/sh -c in dir with env, standard input empty. Like Start it must be called on the
// locked thread; log gets its standard error as it comes, and reaped is called when its pid is no longer ours.
func StartProducer(command, dir string, env []string, log io.Writer, reaped func()) (*Producer, error) {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(null)
	stdout, stdoutW, err := pipe()
	if err != nil {
		return nil, err
	}
	defer unix.Close(stdoutW)
	// A larger pipe than 64 KiB is a quarter to a half faster (measured); a refusal by fs.pipe-max-size does no harm.
	_, _ = unix.FcntlInt(uintptr(stdoutW), unix.F_SETPIPE_SZ, 1<<20)
	// No signal and no deadline for what a shell leaves running in the background: it may still write. Close ends it.
	p := newProcess(0, math.MaxInt64)
	close(p.said) // its standard output is read by whoever asked for it
	stderr, err := p.capture(-1, log, false, &p.words, p.copied)
	if err != nil {
		stdout.Close()
		return nil, err
	}
	defer unix.Close(stderr)
	plan := &stagePlan{Dir: []byte(dir), Args: contract.Strings{"/bin/sh", "-c", command}, Env: env}
	p.child, err = spawn([]int{null, stdoutW, stderr}, plan)
	if err != nil {
		stdout.Close()
		return nil, err
	}
	p.PID = p.child.pid
	producer := &Producer{Process: p, stdout: stdout, ended: make(chan struct{})}
	go p.watch(func(event Event) {
		if _, running := event.(Spawned); !running {
			producer.note(event)
			reaped()
		}
	})
	return producer, nil
}

// note keeps how the command ended.
func (p *Producer) note(event Event) {
	switch event := event.(type) {
	case SpawnFailed:
		p.result = event.Err
	case Exited:
		if event != (Exited{}) {
			p.result = fmt.Errorf("%s%s", event, p.lastLines())
		}
	}
	close(p.ended)
}

func (p *Producer) lastLines() string {
	words := p.LastWords(lastLinesPatience)
	if words == "" {
		return ""
	}
	lines := strings.Split(words, "\n")
	return ":\n  " + strings.Join(lines[max(0, len(lines)-lastLines):], "\n  ")
}

// Read reads the command's standard output. The end of it says nothing about success: see Wait.
func (p *Producer) Read(buffer []byte) (int, error) { return p.stdout.Read(buffer) }

// Wait returns when the command has ended: nil for exit status 0 only, otherwise its status and last lines.
func (p *Producer) Wait() error {
	<-p.ended
	return p.result
}

// Close kills what still runs, the command's children included, and returns at once. It may be called more than once.
func (p *Producer) Close() error {
	p.Kill()
	if err := p.stdout.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
