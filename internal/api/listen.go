// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// Listening, apart from serving: a taken port is known before anything has been started.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// off as an address means no listener.
const off = "off"

// Listener is a bound address that nothing is served on yet. It belongs to the caller until Start takes it.
type Listener struct {
	net.Listener
	control bool   // the control socket: its peers are checked
	host    string // the host as it was given, for the check of the Host header; empty for a unix socket
	secrets secrets
}

// CheckAddress tells what is wrong with the text of a stats address: HOST:PORT, :PORT, unix:PATH or off.
func CheckAddress(address string) error {
	_, _, err := parse(address)
	return err
}

// Listen binds a stats address without TLS and passwords. For "off" it returns nil and no error. errors.Is(err,
// syscall.EADDRINUSE) tells that the address is taken.
func Listen(address string) (*Listener, error) {
	network, place, err := parse(address)
	if err != nil || network == off {
		return nil, err
	}
	if network == "unix" {
		if err := removeStale(place); err != nil {
			return nil, cannotListen(address, err)
		}
	}
	listener, err := net.Listen(network, place)
	if err != nil {
		return nil, cannotListen(address, err)
	}
	host := ""
	if network != "unix" {
		host, _, _ = net.SplitHostPort(place) // parse did it once
	}
	return &Listener{Listener: listener, host: host}, nil
}

// ListenControl binds the control socket at path: mode 0600 from its first moment, and only its owner and root are
// answered. Closing it removes the path.
func ListenControl(path string) (*Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		// The kernel gives the path the mode of the socket's own inode (and the umask): there is no moment in which
		// somebody else may connect, as there is with a chmod after bind.
		var failed error
		if err := conn.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) }); err != nil {
			return err
		}
		return failed
	}}
	listener, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot make the control socket %s: %w", path, cause(err))
	}
	socket := listener.(*net.UnixListener)
	socket.SetUnlinkOnClose(false) // it would remove whatever is at the path by then
	file, err := os.Lstat(path)
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("cannot make the control socket %s: %w", path, cause(err))
	}
	return &Listener{Listener: &owned{socket, path, file}, control: true}, nil
}

// owned is a unix listener that removes its path when it is closed, if that is still its own.
type owned struct {
	*net.UnixListener
	path string
	file fs.FileInfo
}

func (l *owned) Close() error {
	if file, err := os.Lstat(l.path); err == nil && os.SameFile(file, l.file) {
		os.Remove(l.path)
	}
	return l.UnixListener.Close()
}

// Address is where the listener can be reached, in the form that Listen takes, with the real port.
func (l *Listener) Address() string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}

// parse splits an address into net.Listen's arguments; network is off when nothing is wanted.
func parse(address string) (network, place string, err error) {
	if address == off {
		return off, "", nil
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if path == "" || len(path) > 107 {
			return "", "", fmt.Errorf("cannot use stats address %q: a unix socket's path has 1 to 107 bytes", address)
		}
		return "unix", path, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", "", fmt.Errorf("cannot use stats address %q: write HOST:PORT, unix:PATH or off", address)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		return "tcp4", address, nil // by "tcp" 0.0.0.0 would be [::], which others may reach who cannot reach 0.0.0.0
	}
	return "tcp", address, nil
}

// removeStale removes a unix socket that nobody listens on, left by a process that was killed.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // missing, or bind says it better
	}
	if info.Mode().Type() != fs.ModeSocket {
		return syscall.EADDRINUSE
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		conn.Close() // it was opened only to see whether somebody listens
		return syscall.EADDRINUSE
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return nil
}

func cannotListen(address string, err error) error {
	return fmt.Errorf("cannot serve stats on %s: %w", address, cause(err))
}

// cause is the kernel's or the resolver's word without net's wrapping, which repeats the address.
func cause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
