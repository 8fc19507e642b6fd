// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Package worklog turns what workers write into whole lines that say who wrote them.
//
// # Promises
//
// Every byte of a stream comes out, in its order, in lines: text up to a newline. An empty line is a line; CR and NUL are text. A line
// of up to 1 MiB comes out whole; a longer one in pieces of at most that, each but the last marked as not the line's end. What
// a stream ends with when no newline follows comes out when it is closed, with the same mark. So the text of all lines, a
// newline after each that has no mark, is the stream, byte for byte.
//
// All lines go to one writer, in calls that hold whole lines only, one call at a time. The lines of one worker's two streams
// follow each other as they were read.
//
// A stream holds at most the 1 MiB that may become a line. When the writer does not take what comes, Write waits, and so
// does, by its pipe, the worker; Log.Capture never waits.
//
// # What it never does
//
// It reads no pipe, starts no goroutine but that of Drain, and does not look at what workers write.
package worklog
