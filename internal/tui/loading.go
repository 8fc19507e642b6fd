// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package tui

// Bars at the bottom of a terminal while datasets are loaded, with the log above them.

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/preforkd/preforkd/supervisor"
)

// Bars show how far datasets are loaded. They are hidden until Show and stand still after Close. All methods may be called
// from any goroutine; a terminal that takes nothing holds up those that write to it.
type Bars struct {
	w     io.Writer
	width int

	over atomic.Bool // closed, and nothing is held back

	mu       sync.Mutex
	progress *mpb.Progress // while they are shown
	begun    map[string]*bar
	order    []*bar
	logs     []*above
}

// bar is one dataset of which something was read.
type bar struct {
	name       string
	speed, eta decor.Decorator
	amount     atomic.Pointer[string]
	current    int64
	total      int64 // 0: not known
	done       bool
	drawn      *mpb.Bar // nil while it is hidden
}

// Loading returns bars for w. width is in columns; 0: w is a terminal, which is asked.
func Loading(w io.Writer, width int) *Bars {
	return &Bars{w: w, width: width, begun: map[string]*bar{}}
}

// Update takes the present state of the datasets.
func (b *Bars) Update(rows []supervisor.Data) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over.Load() {
		return
	}
	for i := range rows {
		d := &rows[i]
		if d.Loaded == 0 && d.Read == 0 {
			continue // its time begins with its first byte
		}
		one := b.begun[d.Name]
		if one == nil {
			one = &bar{
				name: Line(d.Name), speed: decor.AverageSpeed(decor.SizeB1024(0), "% .1f"), eta: decor.AverageETA(decor.ET_STYLE_GO),
			}
			b.begun[d.Name] = one
			b.order = append(b.order, one)
		}
		one.set(d)
		b.draw(one)
	}
}

// Show begins to draw.
func (b *Bars) Show() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over.Load() || b.progress != nil {
		return
	}
	b.progress = mpb.New(mpb.WithOutput(b.w), mpb.WithWidth(b.width), mpb.WithAutoRefresh())
	for _, one := range b.order {
		b.draw(one)
	}
}

// Close draws them for a last time and leaves them where they are.
func (b *Bars) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.progress != nil {
		for _, one := range b.order {
			if one.drawn != nil {
				one.drawn.Abort(false) // nothing happens to those that are done
			}
		}
		b.progress.Shutdown() // which writes what is waiting
		b.progress = nil
	}
	for _, log := range b.logs {
		_, _ = io.WriteString(b.w, log.held)
	}
	b.logs = nil
	b.over.Store(true)
}

// set takes the figures of a row: of its content where one knows how much that will be, else of its source.
func (one *bar) set(d *supervisor.Data) {
	if one.done {
		return
	}
	var amount string
	switch {
	case loaded(d):
		one.done = true
		one.current = d.Loaded
		amount = Bytes(&d.Loaded)
	case d.Size == nil && d.SourceSize != nil:
		one.current, one.total = d.Read, *d.SourceSize
		amount = progress(d.Read, d.SourceSize)
		if d.Codec != "" {
			amount += " " + Line(d.Codec) + " → " + Bytes(&d.Loaded)
		}
	default:
		one.current = d.Loaded
		if d.Size != nil {
			one.total = *d.Size
		}
		amount = progress(d.Loaded, d.Size)
		if d.Codec != "" {
			amount = Line(d.Codec) + " → " + amount
		}
	}
	one.amount.Store(&amount)
}

// loaded tells whether nothing is left to do for a dataset, though others are still loading.
func loaded(d *supervisor.Data) bool {
	return d.LoadedAt != nil ||
		d.Size != nil && d.Loaded >= *d.Size && (d.SourceSize == nil || d.Read >= *d.SourceSize)
}

// draw brings a bar on the terminal to its present figures.
func (b *Bars) draw(one *bar) {
	if b.progress == nil {
		return
	}
	if one.drawn == nil {
		drawn, err := b.progress.Add(0, filler(), one.before(), one.behind())
		if err != nil {
			return // the terminal is gone
		}
		one.drawn = drawn
	}
	if one.done {
		one.drawn.SetTotal(max(one.current, 1), true)
		return
	}
	one.drawn.SetTotal(one.total, false)
	one.drawn.SetCurrent(one.current)
}

func (one *bar) before() mpb.BarOption {
	return mpb.PrependDecorators(decor.Name(one.name, decor.WCSyncWidthR))
}

func (one *bar) behind() mpb.BarOption {
	amount := func(decor.Statistics) string { return *one.amount.Load() }
	rate := func(s decor.Statistics) string {
		text, _ := one.speed.Decor(s)
		return text
	}
	left := func(s decor.Statistics) string {
		switch {
		case s.Completed:
			return "  done"
		case s.Aborted:
			return "  not loaded"
		case s.Total == 0:
			return ""
		}
		text, _ := one.eta.Decor(s)
		return "  " + text + " left"
	}
	return mpb.AppendDecorators(decor.Any(amount, decor.WCSyncWidth), decor.Any(rate, decor.WCSyncSpace), decor.Any(left, decor.WCSyncWidthR))
}

// filler is a bar where the total is known and a spinner where not.
func filler() mpb.BarFiller {
	full, spinner := mpb.BarStyle().Build(), mpb.SpinnerStyle("-", `\`, "|", "/").PositionLeft().Build()
	return mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
		if s.Total == 0 {
			return spinner.Fill(w, s)
		}
		return full.Fill(w, s)
	})
}
