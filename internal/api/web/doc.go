// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package web holds the dashboard: one page and its assets, embedded in the program. The page lives on /events and
// /history of the same address; this package knows nothing of the fleet. It never names another host: all that the
// browser runs or shows comes from here, and the Content-Security-Policy keeps it so.
package web
