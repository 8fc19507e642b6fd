// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

// This file makes requests: with what, how often, and after which pauses.

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	retryablehttp "github.com/hashicorp/go-retryablehttp"
)

// limits are all bounds in time and number. Tests have smaller ones.
type limits struct {
	tries   int           // of one request, and resumes in a row without a byte
	waitMin time.Duration // before the second try; doubled before each further one
	waitMax time.Duration // the longest of these
	waitAll time.Duration // waiting for one request in all, also when the server asks for more by Retry-After
	connect time.Duration // for the connection, and again for its TLS handshake
	answer  time.Duration // from a request to the header of its answer
	idle    time.Duration // silence in a body
	look    time.Duration // for all of Head
}

func usual() limits {
	return limits{
		tries: 5, waitMin: 500 * time.Millisecond, waitMax: 8 * time.Second, waitAll: 30 * time.Second,
		connect: 10 * time.Second, answer: time.Minute, idle: time.Minute, look: 10 * time.Second,
	}
}

// session makes the requests of one source, one at a time.
type session struct {
	limits
	address *url.URL // without user and fragment
	shown   string   // of it, what may be read by anybody
	secrets secrets
	log     *slog.Logger
	client  *retryablehttp.Client

	tried  int           // tries of the present request
	waited time.Duration // between them
	why    string        // the last of them failed
	strip  string        // host that a redirect led to and that the secrets were kept from
}

// response is one whose body is guarded; the body is the caller's to close.
type response struct {
	*http.Response
	body *body
}

func newSession(address string, o Options, l limits) (*session, error) {
	u, err := parseURL(address)
	if err != nil {
		return nil, err
	}
	given, err := newSecrets(u, o)
	if err != nil {
		return nil, err
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	s := &session{limits: l, address: u, shown: show(u), secrets: given, log: o.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	// One body at a time has nothing of HTTP/2, whose frames and windows made it four times slower over TLS on loopback.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: l.connect}
	s.client = &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				OnProxyConnectResponse: proxyAnswer,
				DialContext:            dialer.DialContext,
				TLSHandshakeTimeout:    l.connect,
				ResponseHeaderTimeout:  l.answer,
				Protocols:              protocols,
				// A connection carries one body and is closed: a server that sends more than it announced would make
				// net/http print these bytes to standard error.
				DisableKeepAlives:  true,
				DisableCompression: true,
			},
			CheckRedirect: s.redirect,
		},
		RetryMax:       l.tries - 1,
		CheckRetry:     s.again,
		Backoff:        s.backoff,
		ErrorHandler:   retryablehttp.PassthroughErrorHandler,
		RequestLogHook: func(_ retryablehttp.Logger, _ *http.Request, earlier int) { s.tried = earlier + 1 },
	}
	return s, nil
}

// do makes one request, with as many tries as it takes. Answers of every status come back without error.
func (s *session) do(ctx context.Context, method string, header http.Header) (*response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := retryablehttp.NewRequestWithContext(ctx, method, s.address.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, errors.New(s.reason(err))
	}
	req.Header = header
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "preforkd")
	if err := s.secrets.add(req.Header); err != nil {
		cancel(nil)
		return nil, err
	}
	s.tried, s.waited, s.why, s.strip = 0, 0, "", ""
	resp, err := s.client.Do(req)
	if err != nil {
		defer cancel(nil)
		if resp != nil { // a redirect that was refused
			_ = resp.Body.Close()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, s.failure(err)
	}
	return &response{Response: resp, body: newBody(ctx, cancel, resp.Body, s.idle)}, nil
}

// again tells whether one more try may help.
func (s *session) again(ctx context.Context, resp *http.Response, err error) (bool, error) {
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil && permanent(err):
		return false, nil
	case err != nil:
		s.why = s.reason(err)
	case passing(resp.StatusCode):
		s.why = status(resp.StatusCode)
		_ = resp.Body.Close() // retryablehttp would read it, for as long as it takes
	default:
		return false, nil
	}
	return s.waited < s.waitAll, nil
}

// passing tells whether a status may be another one soon.
func passing(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return code >= http.StatusInternalServerError
}

// backoff is the pause after a failed try, and says so. Retry-After is done as far as the time for all pauses goes.
func (s *session) backoff(_, _ time.Duration, earlier int, resp *http.Response) time.Duration {
	wait := s.pause(earlier)
	if asked := retryablehttp.DefaultBackoff(s.waitMin, s.waitMax, earlier, resp); asked > wait {
		wait = asked
	}
	wait = min(wait, s.waitAll-s.waited)
	s.waited += wait
	s.log.Warn("request failed, it will be tried again", "source", s.shown, "reason", s.why, "wait", wait.Round(time.Millisecond).String())
	return wait
}

// pause grows exponentially. A quarter of it is chance, so that a fleet of hosts does not come back at once.
func (s *session) pause(earlier int) time.Duration {
	wait := retryablehttp.DefaultBackoff(s.waitMin, s.waitMax, earlier, nil)
	return wait - time.Duration(rand.Int64N(int64(wait/4)+1))
}
