// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package listen owns the fleet's listening sockets: it parses --listen, binds, takes over what systemd or another
// parent handed down, and closes. A socket is bound as soon as preforkd starts, so that a taken port is known before
// anything is loaded, and listens when the first worker is about to start, so that nobody waits in a queue during the
// load.
//
// All workers share a socket, or each slot has its own, which stays open here from one worker to the next, so that no
// connection is lost in between (Reuseport). Then the package keeps new connections away from slots that have no
// ready worker; who is ready it is told.
//
// Descriptors are kept raw and blocking, as systemd hands them over: (*os.File).Fd and net.Listener would change the
// mode that all who have a socket share. The package accepts nothing, starts no goroutine and keeps no time.
package listen
