// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package handover gives new versions of datasets to processes that take them while they run (docs/in-place.md).
//
// It promises:
//   - New accepts a connected AF_UNIX socket of type SOCK_SEQPACKET and nothing else.
//   - Give returns nil once the process has said that it took the offer, and otherwise says why it did not. The end of its
//     context ends it, whatever the process does.
//   - Nothing waits for a process that does not read, floods, or sends something that takes long to close; at most a thread
//     of preforkd is busy with it. What it says is bounded, and printable where it comes back in an error.
//   - A channel costs a descriptor and a goroutine parked in the netpoller.
//
// It never decides who is offered what, keeps no file of an offer, and trusts no flag of the socket, which it shares with
// the process that sent it.
package handover
