// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package supervisor runs a fleet of workers over one sealed copy of their data: it loads the datasets, starts the workers
// with the listening sockets and the segments, keeps them alive, replaces them without losing a connection (Reload, Restart,
// limits), stops them, and tells what they and the data cost.
//
// # One owner
//
// Run is one goroutine on one locked OS thread. It alone holds the fleet's state (internal/fleet decides), starts all
// processes and hands out the segments. Everything else either sends it news or reads the immutable view that it
// publishes after each step: Snapshot, Ready and Healthy never wait for it.
//
// The goroutines are: the loop (Run's own); the loader, until the data is there; one for each process that waits for
// its end (parked in the netpoller, no thread) and one that copies its standard error; one for each notify socket; one
// that probes a starting worker; one sampler; short ones that read what may take its time: a configuration, /proc of a
// worker that is to go, last words. Run returns when the loader and the sampler have ended and no process of a
// worker's group is left; the others end by themselves right after. (A process that left its group, by setsid, and holds a
// worker's standard error keeps its copier alive.)
//
// # As a library
//
// The program calls Stage first of all in main: workers pass through it between fork and exec. The package reads no
// environment variables or flags, catches no signals, and becomes a subreaper only if Config.ReapOrphans says so. It
// writes to Config.Log and Config.WorkerLog alone (without WorkerLog, what commands of cmd: sources say goes to standard
// error, as the workers' does).
package supervisor
