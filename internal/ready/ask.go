// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// Asking the first listener: --ready http:PATH and tcp.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	askTime   = time.Second            // for one try, from the dial to the status
	tcpTime   = 100 * time.Millisecond // in which a connection must not be reset
	answerMax = 64 << 10               // bytes read of an answer
)

// ask tries until the listener answers as p.Mode wants.
func (p Probe) ask(ctx context.Context) error {
	timer := time.NewTimer(askEvery)
	defer timer.Stop()
	var last error
	for {
		err := p.askOnce(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // a try that was cut short says nothing
			last = err
		}
		timer.Reset(askEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return &NotReadyError{Seen: fmt.Sprintf("does not answer as --ready %s wants: %v", p.Mode, last), Cause: ctx.Err()}
		}
	}
}

// askOnce makes one connection.
func (p Probe) askOnce(ctx context.Context) error {
	if len(p.Dial) == 0 {
		return errors.New("there is no listener to ask")
	}
	network, address, _ := strings.Cut(p.Dial[0], " ")
	try, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(try, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if p.Mode.Kind == TCP {
		return stays(try, conn)
	}
	setDeadline(try, conn)
	return get(conn, p.Mode.Path)
}

// stays returns nil if the connection is not reset at once. Silence, bytes and an orderly end are all the server's choice.
func stays(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, tcpTime)
	defer cancel()
	setDeadline(ctx, conn)
	_, err := conn.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func setDeadline(ctx context.Context, conn net.Conn) {
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
}

// get sends a request and judges the status line: "HTTP/1.1 204 No Content".
func get(conn net.Conn, path string) error {
	request := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: preforkd\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, answerMax)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("no status line came: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	words := strings.Fields(line)
	if len(words) < 2 || !strings.HasPrefix(words[0], "HTTP/1.") {
		return fmt.Errorf("the answer to GET %s is not HTTP: %q", path, printable(line))
	}
	if code, err := strconv.Atoi(words[1]); err != nil || code < 200 || code > 399 {
		return fmt.Errorf("the answer to GET %s is %s, not 2xx or 3xx", path, printable(line))
	}
	return nil
}
