// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the end-to-end suites: the real binary, started as users start it, with real servers as its workers,
// looked at through /proc and its own stats. `make e2e` runs them; so does `go test` here.
//
//   - share: eight workers over one gigabyte, the saving, and what a kill -9 leaves
//   - reload: rolling reloads and 50 graceful restarts under full load, with real servers; broken: a release or data that
//     does not start is refused and the old one serves on
//   - chaos, kills: a ready worker killed every 250 ms, 200 times (20 with -short); one every 200 ms, or all every 2 s, under load
//   - leak, oom: private memory over its limit, the OOM killer's victim
//   - sockets: reuseport, scaling, unix sockets; signals: HUP, USR1, USR2; verbs: as a user types them, names, run dirs
//   - servers: gunicorn, uvicorn, http.server and Node under --listen, unmodified
//   - load: progress, standard input, parallel loads, what a worker finds of an array
//   - formats, refused, sources, documented, direct, progress, plan: data from anywhere, in every format, and what is said of it
//   - versions, watch, inplace, interrupted, faults, pages: new versions under load, taken in place, and what goes wrong meanwhile
//   - dashboard: figures, reloads and crashes in a real browser; every state of a fleet, every window, the keyboard, axe
//   - top: the screen on a real pseudo-terminal, its keys, sizes, colours and ends; what a report says of a real fleet
//   - python_servers, python_celery, python_jobs: the examples, through start, reloads and new data under load; python_live,
//     python_children: new versions in place, and every kind of child; python_wheel: the client in every Python of the machine
//   - pages_python, python_messages, python_guide, python_way_in: what the documents for Python say is true; dataframe: pack
//   - busy: workers that read late what they have accepted
//   - limits: a dataset larger than the cgroup allows
//   - systemd, pid1, user: sockets that were passed in, orphans, workers of another user
//
// The binary is built here unless PREFORKD_TEST_BIN names one. Python's servers come from the virtual environment that
// PREFORKD_TEST_VENV names, or ../.venv. What a machine cannot do is skipped with the reason; with PREFORKD_TEST_ALL=1 a
// missing tool is a failure. PREFORKD_E2E_LONG=1 makes loads last 60 s instead of 15. Every suite fails when anything of it
// is left behind.
package e2e
