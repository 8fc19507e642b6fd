// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

// How the workers share the listeners: the values of --accept.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Accept is how connections come to the workers.
type Accept int

const (
	// Shared is one socket from which all workers accept.
	Shared Accept = iota
	// Reuseport is a TCP socket for each slot and each --listen, handed from incarnation to incarnation; for each
	// connection the kernel chooses one at random (SO_REUSEPORT). Unix sockets and those that were handed down stay
	// shared.
	Reuseport
)

// String returns the form that ParseAccept reads.
func (a Accept) String() string {
	if a == Reuseport {
		return "reuseport"
	}
	return "shared"
}

// ParseAccept reads "shared" or "reuseport".
func ParseAccept(text string) (Accept, error) {
	for _, a := range []Accept{Shared, Reuseport} {
		if text == a.String() {
			return a, nil
		}
	}
	return Shared, fmt.Errorf("cannot accept by %q: use shared or reuseport", text)
}

// Options are what all --listen have in common; the zero value is one socket for all workers.
type Options struct {
	Accept Accept
	Slots  int // with Reuseport, at least 1
	// UnixMode is the permissions of the files of unix sockets, set before anybody can connect; 0: by the umask.
	UnixMode fs.FileMode
}

// MigrateRequests tells whether the kernel hands the connections that wait at a socket of a reuseport group to the
// others when it is closed (net.ipv4.tcp_migrate_req, since Linux 5.14). Where not, it resets them.
func MigrateRequests() (bool, error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_migrate_req")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot tell whether waiting connections are migrated: %v", err)
	}
	return strings.TrimSpace(string(text)) != "0", nil
}
