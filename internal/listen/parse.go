// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// Spec is one --listen flag.
type Spec struct {
	Name    string // "": the Set finds one
	Network string // "tcp", "unix" or "fd"
	Address string // host:port, path or descriptor number
}

var (
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
	nameEquals  = regexp.MustCompile(`^([^=/:\[\]]*)=(.*)$`)
)

// Parse reads [NAME=]ADDR: ":8000", "127.0.0.1:8000", "[::1]:8000", "unix:/run/app.sock" or "fd://3".
func Parse(text string) (Spec, error) {
	const forms = `write [NAME=]HOST:PORT, [NAME=]unix:/PATH or [NAME=]fd://N`
	var s Spec
	addr := text
	if m := nameEquals.FindStringSubmatch(text); m != nil {
		s.Name, addr = m[1], m[2]
		if !namePattern.MatchString(s.Name) {
			return s, fmt.Errorf("cannot use --listen name %q: a name begins with a-z and goes on with a-z, 0-9, _ and -", s.Name)
		}
	}
	switch {
	case strings.HasPrefix(addr, "unix:"):
		s.Network, s.Address = "unix", strings.TrimPrefix(addr, "unix:")
		if s.Address == "" || s.Address == "@" {
			return s, fmt.Errorf("cannot use --listen %q: the path is missing; %s", text, forms)
		}
		if len(s.Address) > maxUnixPath {
			return s, fmt.Errorf("cannot use --listen %q: the path has %d bytes, a unix socket's may have %d; use a shorter one",
				text, len(s.Address), maxUnixPath)
		}
	case strings.HasPrefix(addr, "fd://"):
		s.Network, s.Address = "fd", strings.TrimPrefix(addr, "fd://")
		if _, err := strconv.ParseUint(s.Address, 10, 31); err != nil {
			return s, fmt.Errorf("cannot use --listen %q: %q is not a descriptor number; %s", text, s.Address, forms)
		}
	default:
		s.Network, s.Address = "tcp", addr
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return s, fmt.Errorf("cannot use --listen %q: %s", text, forms)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return s, fmt.Errorf("cannot use --listen %q: port %q is not a number from 0 to 65535", text, port)
		}
	}
	return s, nil
}

// maxUnixPath is the room in sockaddr_un.sun_path, less the final NUL.
const maxUnixPath = 107

// CheckNames refuses a name that stands twice.
func CheckNames(specs []Spec) error {
	used := make(map[string]bool)
	for _, s := range specs {
		if s.Name != "" && used[s.Name] {
			return fmt.Errorf("cannot use --listen name %q twice: give each its own NAME=", s.Name)
		}
		used[s.Name] = true
	}
	return nil
}
