// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// What all listeners of /events hear: each snapshot and each event is encoded once, whoever and however many they are.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	tellEvery = 250 * time.Millisecond // at most so often
	tellAtAll = 4                      // × tellEvery: at least so often, as measured figures change without a word
	keptTexts = 256                    // events: as many as the supervisor keeps
)

// frame is what there is to tell at one moment. Nothing in it changes, but next is closed when there is a newer one.
type frame struct {
	told   bool      // false: nothing has been looked at yet
	last   bool      // there will be no other
	at     time.Time // the tick's; zero for a frame that was made because the first listener came
	events []encoded // those that are kept, oldest first
	stats  []byte    // the message with the snapshot; empty without one
	next   chan struct{}
}

// encoded is one event as it is sent.
type encoded struct {
	seq   uint64
	bytes []byte
}

// after returns the events that are newer than the one with this number. A larger number than there is comes from a
// process that ran before this one: everything is new to whoever sends it.
func (f *frame) after(seq uint64) []encoded {
	if n := len(f.events); n == 0 || seq > f.events[n-1].seq {
		return f.events
	}
	for i, e := range f.events {
		if e.seq > seq {
			return f.events[i:]
		}
	}
	return nil
}

// lastSeq is the number of the newest event, 0 before the first.
func (f *frame) lastSeq() uint64 {
	if n := len(f.events); n > 0 {
		return f.events[n-1].seq
	}
	return 0
}

// hub makes frames while somebody listens, and only then. Listeners take the newest frame when they are ready for
// one, so a slow one misses snapshots, never events unless it is 256 of them late, and holds nobody up.
type hub struct {
	source   Source
	log      *slog.Logger
	patience time.Duration // how long a listener may take for one frame
	came     chan struct{} // has room for one: the first listener is there
	ending   chan struct{} // closed by end
	once     sync.Once

	mu        sync.Mutex
	listeners int
	newest    *frame

	events    []encoded // of run alone
	complaint string
}

func newHub(source Source, log *slog.Logger) *hub {
	return &hub{
		source: source, log: log, patience: writeTimeout, came: make(chan struct{}, 1), ending: make(chan struct{}),
		newest: &frame{next: make(chan struct{})},
	}
}

// end has run tell its last frame and return.
func (h *hub) end() { h.once.Do(func() { close(h.ending) }) }

func (h *hub) join() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners++; h.listeners > 1 {
		return
	}
	select {
	case h.came <- struct{}{}:
	default:
	}
}

// leave takes the newest frame along when nobody is left: the next listener gets a fresh one.
func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners--; h.listeners == 0 && !h.newest.last {
		h.newest = &frame{next: make(chan struct{})}
	}
}

func (h *hub) latest() *frame {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest
}

func (h *hub) deserted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listeners == 0
}

// run returns after end was called.
func (h *hub) run() {
	for {
		select {
		case <-h.ending:
			h.tell(&frame{last: true})
			return
		case <-h.came:
			h.feed()
		}
	}
}

// feed makes frames until nobody listens any more.
func (h *hub) feed() {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	var now time.Time
	updated := h.source.Updated()
	h.tell(&frame{})
	for quiet := 0; ; {
		select {
		case <-h.ending:
			return
		case <-h.came: // the last one left and another came between two ticks
		case now = <-ticker.C:
			if h.deserted() {
				return
			}
			if quiet++; quiet < tellAtAll && !closed(updated) {
				continue
			}
		}
		quiet, updated = 0, h.source.Updated()
		h.tell(&frame{at: now})
	}
}

// tell fills f and makes it the newest.
func (h *hub) tell(f *frame) {
	f.told, f.next = true, make(chan struct{})
	if snapshot := h.source.Snapshot(); snapshot != nil { // before the events: those that it shows are among them
		f.stats = h.message("stats", 0, snapshot)
	}
	f.events = h.refresh()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == 0 && !f.last {
		return
	}
	close(h.newest.next)
	h.newest = f
}

// refresh encodes the events that are new. Slices that it returned before stay as they are.
func (h *hub) refresh() []encoded {
	var seq uint64
	if n := len(h.events); n > 0 {
		seq = h.events[n-1].seq
	}
	fresh := h.source.Events(seq)
	if len(fresh) == 0 {
		return h.events
	}
	all := append(make([]encoded, 0, len(h.events)+len(fresh)), h.events...)
	for _, e := range fresh {
		all = append(all, encoded{e.Seq, h.message("event", e.Seq, e)})
	}
	h.events = all[max(0, len(all)-keptTexts):]
	return h.events
}

// message encodes value as a server-sent event, on one line as JSON has no line break in it; id 0 is none. Nothing
// when it is no JSON.
func (h *hub) message(kind string, id uint64, value any) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", kind)
	if id > 0 {
		fmt.Fprintf(&b, "id: %d\n", id)
	}
	b.WriteString("data: ")
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		if err.Error() != h.complaint {
			h.complaint = err.Error()
			h.log.Error("cannot encode what /events tells", "kind", kind, "error", err)
		}
		return nil
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// closed tells whether c is.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
