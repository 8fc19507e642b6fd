// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package process

// What a process writes: copied from its pipes as it comes, the end of its standard error kept.

import (
	"io"
	"os"
	"time"
)

// drainPatience bounds the wait for what is still in the pipes when a group has ended.
const drainPatience = 500 * time.Millisecond

// capture makes a pipe whose writing end is a process's descriptor, and copies what comes to to, and to kept, until its end;
// done is closed then, and to if it is own. Without to the descriptor is fd itself.
func (p *Process) capture(fd int, to io.Writer, own bool, kept io.Writer, done chan struct{}) (int, error) {
	if to == nil {
		close(done)
		return fd, nil
	}
	reader, writer, err := pipe()
	go func() {
		defer close(done)
		if err == nil {
			copyStream(reader, to, kept)
		}
		if closer, ok := to.(io.Closer); ok && own {
			_ = closer.Close() // it has no one to tell
		}
	}()
	return writer, err
}

// copyStream copies reader to its end and closes it. A writer that fails stops nothing.
func copyStream(reader *os.File, to, kept io.Writer) {
	defer reader.Close()
	buffer := make([]byte, 16<<10)
	for {
		n, err := reader.Read(buffer)
		if n > 0 {
			_, _ = kept.Write(buffer[:n])
			_, _ = to.Write(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

// drain waits until what was written has been copied, for a short time: a process of another group may hold a pipe for ever.
func (p *Process) drain() {
	patience := time.After(drainPatience)
	for _, done := range []chan struct{}{p.said, p.copied} {
		select {
		case <-done:
		case <-patience:
			return
		}
	}
}

// LastWords returns the last 8 KiB of the worker's standard error. It waits up to patience for what is still in the
// pipe: a grandchild may hold the other end for ever.
func (p *Process) LastWords(patience time.Duration) string {
	select {
	case <-p.copied:
	case <-time.After(patience):
	}
	return p.words.String()
}
