// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// This file gives the body, over as many answers as it takes.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	humanize "github.com/dustin/go-humanize"
)

// Read gives the content. A body that breaks off or falls silent is resumed; each byte that comes resets the count of
// tries.
func (s *Source) Read(p []byte) (int, error) {
	for s.err == nil && len(p) > 0 {
		if s.body == nil {
			s.err = s.resume()
			continue
		}
		n, err := s.body.Read(p)
		s.read += int64(n)
		if s.size >= 0 && s.read > s.size {
			s.err = fmt.Errorf("sends more than the %s bytes it announced", humanize.Comma(s.size))
			break
		}
		if s.digest != nil {
			s.digest.write(p[:n])
		}
		switch complete := s.size < 0 || s.read == s.size; {
		case errors.Is(err, io.EOF) && complete:
			s.err = io.EOF
		case err != nil:
			s.err = s.broken(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, s.err
}

// broken gives the body up and waits until it may be resumed; the error says why it cannot be.
func (s *Source) broken(cause error) error {
	s.body.Close()
	s.body = nil
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	why := s.session.reason(cause)
	if errors.Is(cause, io.ErrUnexpectedEOF) || errors.Is(cause, io.EOF) {
		why = "the connection was closed"
	}
	if s.read > s.mark {
		s.failures = 0
	}
	s.failures++
	s.mark = s.read
	switch {
	case s.validator == (Validator{}):
		return fmt.Errorf("broke off after %s (%s) and cannot be resumed: the server sends neither a strong ETag nor a "+
			"Last-Modified of some age", s.progress(), why)
	case s.failures >= s.session.tries:
		return fmt.Errorf("broke off after %s, %d times in a row: %s", s.progress(), s.failures, why)
	}
	wait := s.session.pause(s.failures - 1)
	s.session.log.Warn("download broke off, it will be resumed", "source", s.session.shown, "reason", why,
		"bytes", s.read, "wait", wait.Round(time.Millisecond).String())
	return sleep(s.ctx, wait)
}

// resume opens the body again where it ended. A broken answer on the way leaves it for another try.
func (s *Source) resume() error {
	resp, err := s.session.do(s.ctx, http.MethodGet, s.validator.from(s.read))
	if err != nil {
		return s.lost(err)
	}
	skip, err := s.continues(resp)
	if err != nil {
		resp.body.Close()
		return err
	}
	s.body = resp.body
	if _, err := io.CopyN(io.Discard, s.body, skip); err != nil {
		return s.broken(err)
	}
	return nil
}

// continues checks that an answer holds the rest of what was begun, and tells how many bytes of it were had already.
func (s *Source) continues(resp *response) (skip int64, err error) {
	same := s.validator.same(resp.Header)
	switch resp.StatusCode {
	case http.StatusPartialContent:
		first, total, err := contentRange(resp.Header.Get("Content-Range"))
		switch {
		case err != nil:
			return 0, s.lost(err)
		case !same, s.size >= 0 && total >= 0 && total != s.size:
			return 0, errChanged
		case first != s.read:
			return 0, s.lost(fmt.Errorf("it was asked for the bytes from %s on and answered with those from %s on",
				humanize.Comma(s.read), humanize.Comma(first)))
		}
		if s.size < 0 && total >= 0 { // the first answer did not say how much there is; this one may end early, too
			s.size = total
		}
		return 0, nil
	case http.StatusOK: // it knows no ranges
		if !same || s.size >= 0 && resp.ContentLength >= 0 && resp.ContentLength != s.size {
			return 0, errChanged
		}
		return s.read, nil
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return 0, errChanged
	}
	return 0, s.lost(s.session.refusal(resp))
}

func (s *Source) lost(err error) error {
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	return fmt.Errorf("broke off after %s and could not be resumed: %v", s.progress(), err)
}

func (s *Source) progress() string {
	if s.size < 0 {
		return humanize.Comma(s.read) + " bytes"
	}
	return humanize.Comma(s.read) + " of " + humanize.Comma(s.size) + " bytes"
}

// body is one answer's. A silence of more than idle, while somebody reads, ends its request.
type body struct {
	io.ReadCloser
	ctx    context.Context // of the request; its cause is why it ended
	cancel context.CancelCauseFunc
	idle   time.Duration
	guard  *time.Timer
}

func newBody(ctx context.Context, cancel context.CancelCauseFunc, from io.ReadCloser, idle time.Duration) *body {
	silent := fmt.Errorf("nothing came for %s", idle)
	guard := time.AfterFunc(idle, func() { cancel(silent) })
	guard.Stop()
	return &body{ReadCloser: from, ctx: ctx, cancel: cancel, idle: idle, guard: guard}
}

func (b *body) Read(p []byte) (int, error) {
	b.guard.Reset(b.idle)
	n, err := b.ReadCloser.Read(p)
	b.guard.Stop()
	if cause := context.Cause(b.ctx); cause != nil && err != nil && !errors.Is(err, io.EOF) {
		err = cause
	}
	return n, err
}

// Close ends the request, read to its end or not.
func (b *body) Close() {
	b.guard.Stop()
	b.cancel(nil)
	_ = b.ReadCloser.Close()
}

// sleep waits, unless the context ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
