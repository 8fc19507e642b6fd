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
)

// Mode is the value of --ready.
type Mode struct {
	Kind  Kind
	Alive time.Duration // with Kind Alive only; positive
}

const forms = "auto, notify or alive:DURATION such as alive:1s"

// ParseMode reads "auto", "notify" or "alive:DURATION".
func ParseMode(s string) (Mode, error) {
	switch {
	case s == "auto":
		return Mode{Kind: Auto}, nil
	case s == "notify":
		return Mode{Kind: Notify}, nil
	case s == "tcp" || strings.HasPrefix(s, "http:"):
		return Mode{}, fmt.Errorf("cannot use readiness %q: not supported by this version; use %s", s, forms)
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
	}
	return fmt.Sprintf("Kind(%d)", int(m.Kind))
}
