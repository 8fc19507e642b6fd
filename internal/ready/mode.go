// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// When a worker counts as ready: the values of --ready.

import (
	"fmt"
	"strings"
	"time"
)

// Kind is one way to tell that a worker is ready.
type Kind int

// The kinds of this version.
const (
	// Auto: seen waiting on a listening socket; without any, READY=1 or alive for a second, whichever comes first.
	Auto Kind = iota
	// Notify: the worker says READY=1 on its notify socket.
	Notify
	// Alive: the worker has lived for Mode.Alive.
	Alive
	// HTTP: ready as by Auto, and then a GET of Mode.Path from the first listener is answered with 2xx or 3xx.
	HTTP
	// TCP: ready as by Auto, and then the first listener takes a connection.
	TCP
)

// Mode is the value of --ready.
//
// All workers of a fleet share its listeners, so with HTTP and TCP the answer may come from another worker. Therefore
// the worker's own processes must first be seen waiting on a listener or serving a connection from one; the answer
// then tells that a request gets through (HTTP), or that the address can be reached (TCP). Where the processes cannot be
// read, the answer alone counts.
type Mode struct {
	Kind  Kind
	Alive time.Duration // with Kind Alive only; positive
	Path  string        // with Kind HTTP only; printable ASCII that begins with "/"
}

const forms = "auto, notify, http:PATH such as http:/health, tcp or alive:DURATION such as alive:1s"

// NeedsListener tells whether m makes sense only for a fleet that listens: HTTP and TCP ask its first listener.
func (m Mode) NeedsListener() bool { return m.Kind == HTTP || m.Kind == TCP }

// ParseMode reads "auto", "notify", "http:PATH", "tcp" or "alive:DURATION".
func ParseMode(s string) (Mode, error) {
	switch s {
	case "auto":
		return Mode{Kind: Auto}, nil
	case "notify":
		return Mode{Kind: Notify}, nil
	case "tcp":
		return Mode{Kind: TCP}, nil
	}
	if path, ok := strings.CutPrefix(s, "http:"); ok {
		if !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return Mode{}, fmt.Errorf("cannot use readiness %q: %q is not a path that begins with / and has only printable "+
				"ASCII and no space (percent-encode the rest); use %s", s, path, forms)
		}
		return Mode{Kind: HTTP, Path: path}, nil
	}
	text, ok := strings.CutPrefix(s, "alive:")
	if !ok {
		return Mode{}, fmt.Errorf("cannot use readiness %q: use %s", s, forms)
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return Mode{}, fmt.Errorf("cannot use readiness %q: %q is not a positive duration; use %s", s, text, forms)
	}
	return Mode{Kind: Alive, Alive: d}, nil
}

// String returns the form that ParseMode reads.
func (m Mode) String() string {
	switch m.Kind {
	case Auto:
		return "auto"
	case Notify:
		return "notify"
	case Alive:
		return "alive:" + m.Alive.String()
	case HTTP:
		return "http:" + m.Path
	case TCP:
		return "tcp"
	}
	return fmt.Sprintf("Kind(%d)", int(m.Kind))
}
