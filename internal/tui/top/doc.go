// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package top shows a running instance live on a terminal: what sharing saves, its datasets, a table of its workers.
//
// It promises a screen of whole lines at every size, a terminal that is as it was afterwards however it ends, a dash for what
// is not known, and that nothing that comes from workers can control the terminal. It asks the instance for what it shows and
// for what a user orders, and nothing else: it reads no /proc and looks at no clock but its own ticks. It never waits for an
// answer while a key waits.
//
// It writes its few styles itself: importing lipgloss (and bubbles, which does) looks at standard output, reads terminfo and,
// on a terminal inside tmux, runs `tmux info`: before main, in each process of the program, in the exec stage of every worker
// too (lipgloss v2.0.6, writer.go).
package top
