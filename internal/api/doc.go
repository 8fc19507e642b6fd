// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package api serves what a fleet knows about itself: /stats as JSON, /metrics for Prometheus, /healthz and /readyz; and it
// takes orders: /reload, /restart, /scale and /stop, each answered with its progress and its end. One route table feeds
// two kinds of listener: a stats address, where everything is read-only, and the control socket, which only its owner and
// root may use and where the orders are. The client of that socket is here too.
//
// It promises that an answer is one snapshot, never a mix of two; that a GET reads no file and never asks the
// supervisor's loop; that a slow or hostile client holds a bounded amount of memory for a bounded time; that clients who
// wait for an order are in nobody's way; and that a web page cannot reach a loopback listener under a name of its own (DNS
// rebinding).
//
// It changes the fleet by nothing but a Control, never ends an operation because the client that ordered it has left, and
// never shows a value that could not be read as 0: it is null in the JSON and an absent series in the metrics.
package api
