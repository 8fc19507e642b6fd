// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// This file is a source from its first request to its end; read.go is what happens between.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	humanize "github.com/dustin/go-humanize"
)

// Options say how an address is asked.
type Options struct {
	Headers   []string     // "Name: value", sent only to the address's own host
	TokenFile string       // its content is sent as Authorization: Bearer; read at every request
	Unless    Validator    // what is had already: Open gives ErrUnchanged if the server has nothing else
	Log       *slog.Logger // gets the tries that failed, without secrets; nil: nobody
}

// ErrUnchanged means that the server still has what Options.Unless names. Nothing is open then.
var ErrUnchanged = errors.New("has not changed")

var (
	errEmpty   = errors.New("is empty")
	errChanged = errors.New("changed while it was loaded: load it again")
)

// Source is an answer while it is read, by one goroutine. Its context is Open's, for all its life.
type Source struct {
	ctx       context.Context // resumes are requests of their own, made by Read
	session   *session
	body      *body // nil: broken off, to be resumed
	validator Validator
	digest    *digest // nil: the server has announced none
	size      int64
	read      int64
	failures  int   // in a row, without a byte between
	mark      int64 // read at the last of them
	err       error // Read's last word
}

// Open makes the first request and returns when the answer begins. The context ends the source whenever it is done.
func Open(ctx context.Context, address string, o Options) (*Source, error) {
	return open(ctx, address, o, usual())
}

func open(ctx context.Context, address string, o Options, l limits) (*Source, error) {
	session, err := newSession(address, o, l)
	if err != nil {
		return nil, err
	}
	resp, err := session.do(ctx, http.MethodGet, o.Unless.conditions())
	if err != nil {
		return nil, err
	}
	s := &Source{
		ctx: ctx, session: session, body: resp.body, size: resp.ContentLength,
		validator: validatorOf(resp.Header, resp.ContentLength),
	}
	switch known := o.Unless != (Validator{}); {
	case resp.StatusCode == http.StatusNotModified && known:
		err = ErrUnchanged
	case resp.StatusCode != http.StatusOK:
		err = session.refusal(resp)
	case s.size == 0:
		err = errEmpty
	case known && o.Unless.ETag != "" && o.Unless.ETag == s.validator.ETag && o.Unless.Size == s.size:
		err = ErrUnchanged // a server without conditional requests
	}
	if err != nil {
		resp.body.Close()
		return nil, err
	}
	if sum := announced(resp.Header); sum != nil {
		s.digest = newDigest(sum)
	}
	return s, nil
}

// Size is the bytes that Read will give in all, -1 when the server does not say.
func (s *Source) Size() int64 { return s.size }

// Validator names the version that is read, for the Unless of a later load; zero when the server gives nothing that
// proves equality.
func (s *Source) Validator() Validator { return s.validator }

// Finish is asked once, when Read has given io.EOF after n bytes: were these all, and those that the server announced?
func (s *Source) Finish(n int64) error {
	switch {
	case s.size >= 0 && n != s.size:
		return fmt.Errorf("gave %s of the %s bytes it announced", humanize.Comma(n), humanize.Comma(s.size))
	case n == 0:
		return errEmpty
	case s.digest != nil:
		return s.digest.check()
	}
	return nil
}

// Close gives everything back, whatever happened before. Not for use while a Read is under way: cancel the context.
func (s *Source) Close() error {
	if s.body != nil {
		s.body.Close()
		s.body = nil
	}
	if s.digest != nil {
		s.digest.sum()
	}
	s.err = errors.New("is closed")
	return nil
}

// CheckURL refuses an address that cannot be asked. The error does not repeat it.
func CheckURL(address string) error {
	_, err := parseURL(address)
	return err
}

func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("is not a valid address: encode special characters as %XX")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("is neither an http:// nor an https:// address")
	case u.Hostname() == "":
		return nil, errors.New("has no host: write https://HOST/PATH")
	}
	return u, nil
}
