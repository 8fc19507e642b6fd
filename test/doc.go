// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the end-to-end suites: the real binary, started as users start it, with real servers as its workers,
// looked at through /proc and its own stats. `make e2e` runs them; so does `go test` here.
//
//   - share: eight workers over one gigabyte, the saving, and what a kill -9 leaves
//   - chaos: a ready worker killed every 250 ms, 200 times (20 with -short)
//   - servers: gunicorn, uvicorn, http.server and Node under --listen, unmodified
//   - load: progress, standard input, parallel loads, what a worker finds of an array
//   - limits: a dataset larger than the cgroup allows
//   - systemd, pid1, user: sockets that were passed in, orphans, workers of another user
//
// The binary is built here unless PREFORKD_TEST_BIN names one. Python's servers come from the virtual environment that
// PREFORKD_TEST_VENV names, or ../.venv. What a machine cannot do is skipped with the reason; with PREFORKD_TEST_ALL=1 a
// missing tool is a failure. Every suite fails when anything of it is left behind.
package e2e
