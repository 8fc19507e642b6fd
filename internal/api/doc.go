// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package api serves what a fleet knows about itself: /stats as JSON, /metrics for Prometheus, /events as it
// happens, /history of the last hour, /healthz and /readyz, and the dashboard; and it takes orders: /reload,
// /restart, /scale and /stop, each answered with its progress and its end. One route table feeds two kinds of
// listener: a stats address, where everything is read-only and which TLS and passwords may guard, and the control
// socket, which only its owner and root may use and where the orders are. The client of that socket is here too.
//
// It promises that an answer is one snapshot, never a mix of two; that a GET reads no file of the fleet and never
// asks the supervisor's loop; that a slow or hostile client holds a bounded amount of memory for a bounded time;
// that clients who wait for an order, or listen to events, are in nobody's way; that nothing is encoded for events
// while nobody listens; and that a web page cannot reach a loopback listener under a name of its own (DNS
// rebinding), nor another site's page anything but the dashboard's own files.
//
// It changes the fleet by nothing but a Control, never ends an operation because the client that ordered it has
// left, and never shows a value that could not be read as 0: it is null in the JSON and an absent series in the
// metrics. It never looks at the clock: time comes from tickers and snapshots.
package api
