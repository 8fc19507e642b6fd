// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"
	"net/http"
)

// Head asks for the size of the content in bytes without loading it, once and for a few seconds; -1 when the server
// does not say. Options.Unless is not looked at.
func Head(ctx context.Context, address string, o Options) (size int64, err error) {
	return head(ctx, address, o, usual())
}

func head(ctx context.Context, address string, o Options, l limits) (int64, error) {
	l.tries = 1
	s, err := newSession(address, o, l)
	if err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeout(ctx, l.look)
	defer cancel()
	size, err := s.size(limited)
	switch {
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		return 0, fmt.Errorf("gave no answer within %s", l.look)
	case err != nil:
		return 0, err
	case size == 0:
		return 0, errEmpty
	}
	return size, nil
}

func (s *session) size(ctx context.Context) (int64, error) {
	resp, err := s.do(ctx, http.MethodHead, http.Header{})
	if err != nil {
		return 0, err
	}
	resp.body.Close()
	if resp.StatusCode == http.StatusOK && resp.ContentLength >= 0 {
		return resp.ContentLength, nil
	}
	// Presigned addresses are signed for one method, and some servers do not know HEAD.
	resp, err = s.do(ctx, http.MethodGet, http.Header{"Range": {"bytes=0-0"}})
	if err != nil {
		return 0, err
	}
	defer resp.body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.ContentLength, nil
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		_, total, err := contentRange(resp.Header.Get("Content-Range"))
		return total, err
	}
	return 0, s.refusal(resp)
}
