// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package ready

// What a worker says by sd_notify(3): lines of KEY=VALUE in a datagram.

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	messageMax = 4096 // bytes in a datagram, systemd's limit too; a longer one is dropped
	statusMax  = 256  // bytes kept of a STATUS
)

// Message is what a worker said by sd_notify, one datagram or several merged.
type Message struct {
	Ready     bool    // READY=1
	Stopping  bool    // STOPPING=1
	Reloading bool    // RELOADING=1, and no READY=1 after it
	Watchdog  bool    // WATCHDOG=1
	Status    *string // STATUS=text, the last one: one line of printable UTF-8, at most 256 bytes, may be empty
	Requests  *int64  // X_PREFORKD_REQUESTS=n, the last one; never negative
	PID       int     // who sent the last of it, by the kernel's word; 0 when outside our pid namespace

	// Registrations are the processes that said X_PREFORKD_TAKES, the last one of each PID. Whoever gets the message owns
	// their sockets.
	Registrations []Registration
	// Declined says why the last X_PREFORKD_TAKES that is not among them was refused; what came with it is closed.
	Declined string
}

// parse reads a datagram. Unknown keys, other values and whatever is not KEY=VALUE are passed over. A registration is not one
// until Message.settle has given it its socket.
func parse(datagram []byte) Message {
	var m Message
	for line := range bytes.Lines(datagram) {
		key, value, ok := strings.Cut(string(bytes.TrimSuffix(line, []byte("\n"))), "=")
		if !ok {
			continue
		}
		switch key {
		case "READY":
			if value == "1" {
				m.Ready, m.Reloading = true, false
			}
		case "RELOADING":
			m.Reloading = m.Reloading || value == "1"
		case "STOPPING":
			m.Stopping = m.Stopping || value == "1"
		case "WATCHDOG":
			m.Watchdog = m.Watchdog || value == "1"
		case "STATUS":
			status := printable(value)
			m.Status = &status
		case "X_PREFORKD_REQUESTS":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
				m.Requests = &n
			}
		case "X_PREFORKD_TAKES":
			m.Registrations = []Registration{{Takes: names(value)}}
		}
	}
	return m
}

// merge adds what was said later.
func (m *Message) merge(later Message) {
	if later.empty() {
		return
	}
	m.Reloading = later.Reloading || m.Reloading && !later.Ready
	m.Ready = m.Ready || later.Ready
	m.Stopping = m.Stopping || later.Stopping
	m.Watchdog = m.Watchdog || later.Watchdog
	if later.Status != nil {
		m.Status = later.Status
	}
	if later.Requests != nil {
		m.Requests = later.Requests
	}
	for _, r := range later.Registrations {
		m.register(r)
	}
	if later.Declined != "" {
		m.Declined = later.Declined
	}
	m.PID = later.PID
}

// empty tells whether m says nothing we know.
func (m *Message) empty() bool {
	return !m.Ready && !m.Stopping && !m.Reloading && !m.Watchdog && m.Status == nil && m.Requests == nil &&
		len(m.Registrations) == 0 && m.Declined == ""
}

// printable makes a worker's text safe for a log and a terminal: escape sequences and broken UTF-8 become U+FFFD.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
	if len(s) <= statusMax {
		return s
	}
	end := statusMax
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
