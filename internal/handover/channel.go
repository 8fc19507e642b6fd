// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// strayMax packets that no offer waits for are let pass between two offers: late answers. A process that sends more loses
// its channel, so that a flood costs nothing.
const strayMax = 16

// ErrGone says that the process has closed its end, or that the channel was closed.
var ErrGone = errors.New("the process has closed its socket")

// Channel is the socket of one process that takes new versions of datasets itself. Its methods may be called from any
// goroutine.
type Channel struct {
	conn *net.UnixConn
	raw  syscall.RawConn
	turn chan struct{} // full while an offer is under way

	end   func(why error)
	gone  chan struct{}
	ended error // why; set before gone is closed

	mu      sync.Mutex
	awaited int
	answer  chan answer // nil where no offer waits for one
	stray   int
}

// New takes f over, also when it fails.
func New(f *os.File) (*Channel, error) {
	conn, err := open(f)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s to hand over data: %w", f.Name(), err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c := &Channel{conn: conn, raw: raw, turn: make(chan struct{}, 1), gone: make(chan struct{})}
	var once sync.Once
	c.end = func(why error) {
		once.Do(func() {
			c.ended = why
			close(c.gone)
			// It wakes listen, and tells the process, which may have kept what it sent.
			_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		})
	}
	go c.listen()
	return c, nil
}

// open gives the socket to the netpoller and closes f.
func open(f *os.File) (*net.UnixConn, error) {
	if err := check(f); err != nil {
		go f.Close() // a socket of another kind may have descriptors in it too
		return nil, err
	}
	conn, err := net.FileConn(f)
	if err != nil {
		go f.Close() // then it is the last one, too
		return nil, err
	}
	if err = f.Close(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn.(*net.UnixConn), nil
}

// Err tells why the channel ended, once Gone is closed: ErrGone when the process has closed its end, or Close was called.
func (c *Channel) Err() error {
	<-c.gone
	return c.ended
}

// Gone is closed when the process has closed its end or broken the protocol, or after Close.
func (c *Channel) Gone() <-chan struct{} { return c.gone }

// Close ends the channel and every Give; it always returns nil. It may be called more than once. The descriptor is freed
// behind it: the kernel then closes the descriptors that the process has sent, and it has chosen what that takes (a TCP
// socket that lingers).
func (c *Channel) Close() error {
	c.end(ErrGone)
	return nil
}

// Give offers new versions and waits for the answer: nil when the process took them, *Refused when it does not. Any other
// error means that it does not have them: ErrGone, ctx has ended, or it broke the protocol, which ends the channel. One
// offer is under way at a time, others wait for it.
func (c *Channel) Give(ctx context.Context, o Offer) error {
	err := c.give(ctx, o)
	var refused *Refused
	if err == nil || errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("cannot hand over %s: %w", strings.Join(o.Names, ", "), err)
}

func (c *Channel) give(ctx context.Context, o Offer) error {
	packet, err := o.packet()
	if err != nil {
		return err
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-c.gone:
		return c.ended
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	answered := c.await(o.Number)
	defer c.forget()
	if err := c.send(ctx, packet, o); err != nil {
		return err
	}
	select {
	case a := <-answered:
		return a.verdict()
	case <-c.gone:
		err = c.ended
	case <-ctx.Done():
		err = fmt.Errorf("the process does not answer: %w", context.Cause(ctx))
	}
	select {
	case a := <-answered: // it said so, and ended
		return a.verdict()
	default:
		return err
	}
}

// send waits for room in the socket until ctx ends.
func (c *Channel) send(ctx context.Context, packet []byte, o Offer) error {
	rights, err := o.rights()
	if err != nil {
		return err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.conn.SetWriteDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	defer func() {
		if !stop() {
			<-interrupted
			_ = c.conn.SetWriteDeadline(time.Time{})
		}
	}()
	var (
		sent error
		full bool
	)
	err = c.raw.Write(func(fd uintptr) (ready bool) {
		ready, sent = send(int(fd), packet, rights)
		full = !ready
		return ready
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && !full: // ctx had ended before
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the process reads no offers: %w", context.Cause(ctx))
	case err != nil || errors.Is(sent, ErrGone):
		c.end(ErrGone) // unless it has ended before, by Close or by what the process sent
		return c.ended
	}
	return sent
}

// listen reads until the channel ends.
func (c *Channel) listen() {
	for {
		var (
			packet []byte
			why    error
		)
		if err := c.raw.Read(func(fd uintptr) (ready bool) {
			packet, ready, why = receive(int(fd))
			return ready
		}); err != nil {
			why = ErrGone
		}
		if why == nil {
			why = c.hear(packet)
		}
		if why != nil {
			c.end(why)
			_ = c.conn.Close()
			return
		}
	}
}

// hear passes an answer to the offer that waits for it.
func (c *Channel) hear(packet []byte) error {
	a, err := parseAnswer(packet)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answer != nil && *a.Offer == c.awaited {
		c.answer <- a
		c.answer = nil
		return nil
	}
	if c.stray++; c.stray > strayMax {
		return fmt.Errorf("it sent more than %d answers that nobody waits for", strayMax)
	}
	return nil
}

func (c *Channel) await(number int) <-chan answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited, c.answer, c.stray = number, make(chan answer, 1), 0
	return c.answer
}

func (c *Channel) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = nil
}
