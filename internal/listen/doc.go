// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package listen owns the fleet's listening sockets: it parses --listen, binds, takes over what systemd or another
// parent handed down, and closes. A socket is bound as soon as preforkd starts, so that a taken port is known before
// anything is loaded, and listens when the first worker is about to start, so that nobody waits in a queue during the
// load.
//
// Descriptors are kept raw and blocking, as systemd hands them over: (*os.File).Fd and net.Listener would change the
// mode that all workers share. The package accepts nothing.
package listen
