// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package recycle

// This file holds what people read: the words of a verdict, with the limit and the figure.

import (
	"fmt"
	"strconv"
	"time"
)

// Reason is why a worker is to be replaced.
type Reason int

// The reasons.
const (
	MaxAge Reason = iota + 1
	MaxRequests
	MaxPrivate
	Watchdog
)

// String returns the reason as in /stats.
func (r Reason) String() string {
	switch r {
	case MaxAge:
		return "max-age"
	case MaxRequests:
		return "max-requests"
	case MaxPrivate:
		return "max-private"
	case Watchdog:
		return "watchdog"
	}
	return fmt.Sprintf("unknown(%d)", int(r))
}

// Verdict is that a worker is to be replaced. Text is for the log, as half a sentence after "because"; with the reason
// Watchdog the worker hangs and cannot be expected to stop when asked.
type Verdict struct {
	Reason Reason
	Text   string
}

// Refusal is that no worker can stay below MaxPrivate: this one was over its own Limit when it had just become ready.
// Bytes. The caller switches the limit off for all workers until it is set anew.
type Refusal struct{ Private, Limit int64 }

// Text says so for the log. worker is the slot, set what the user gave as --max-private, in bytes.
func (r Refusal) Text(worker int, set int64) string {
	own := ""
	if r.Limit != set {
		own = ", whose own limit is " + size(r.Limit, r.Private) + ","
	}
	return fmt.Sprintf("cannot keep workers below --max-private %s: worker %d%s has %s of its own when it has just become "+
		"ready; raise the limit above that; it is ignored until the next reload", size(set, r.Private), worker, own,
		size(r.Private, r.Limit))
}

func (t *Tracker) text(r Reason, now Time) string {
	switch r {
	case MaxAge:
		return fmt.Sprintf("it is %v old, its limit is %v", (now - t.started).Round(time.Second), t.maxAge.Round(time.Second))
	case MaxRequests:
		return fmt.Sprintf("it has answered %d requests, its limit is %d", t.requests, t.maxRequests)
	case MaxPrivate:
		return fmt.Sprintf("its private memory was %s in %d samples in a row, over its limit of %s",
			size(t.private, t.maxPrivate), t.over, size(t.maxPrivate, t.private))
	case Watchdog:
		if !t.spoke {
			return fmt.Sprintf("it has never sent WATCHDOG=1 in the %s since it became ready, the limit is %s",
				seconds(now-t.ready), seconds(t.watchdog))
		}
		return fmt.Sprintf("it has not sent WATCHDOG=1 for %s, the limit is %s", seconds(now-t.alive), seconds(t.watchdog))
	}
	return r.String()
}

// size writes bytes as people do, and exactly where that could not be told from the other figure of the sentence.
func size(n, other int64) string {
	text := rounded(n)
	if n != other && text == rounded(other) {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	return text
}

func rounded(n int64) string {
	value, unit := float64(n), 0
	for value >= 1024 && unit < 6 {
		value, unit = value/1024, unit+1
	}
	digits := 0
	if unit > 0 && value < 10 {
		digits = 1
	}
	return strconv.FormatFloat(value, 'f', digits, 64) + " " + [...]string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}[unit]
}

// seconds writes a time to a tenth of a second, without a zero behind the point.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + " s"
}
