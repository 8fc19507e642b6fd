// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/shm"
)

// Progress is how far a load has come, in bytes.
type Progress struct {
	Loaded, Size int64      // of content; Size is -1 while it is not known
	Read, Total  int64      // of the source; Total is -1 while it is not known
	Codec        codec.Kind // what the source is packed with, as far as is known
}

// Loader loads datasets. Its fields are set once, before the first Load.
type Loader struct {
	// Start runs a command by /bin/sh -c with its standard output piped to the Producer. The context ends with the load.
	Start func(ctx context.Context, command string) (Producer, error)
	// Stdin is read for the source "-" and never closed.
	Stdin *os.File
	// Free tells the memory that can still be taken, read anew at each call. Without it nothing is checked.
	Free func() (host.Headroom, error)
	// Have is what serves now, by name: what turns out to be the same is not kept twice.
	Have map[string]*Loaded
	Log  *slog.Logger // hints and retries; nil: none
	// OnLoaded, if set, is called for each dataset when it is complete, from several goroutines at once. Another one's
	// failure may still undo the load.
	OnLoaded func(*Loaded)
	// OnProgress, if set, is called at the beginning and the end of each load and whenever bytes have come. It is called from several
	// goroutines at once, never so for one name, and holds up the load while it runs.
	OnProgress func(name string, p Progress)
}

// making is how a segment is made, beside its bytes.
type making struct {
	huge shm.HugeMode
	lock bool
}

func (o Options) making() making {
	m := making{lock: o.Lock != nil && *o.Lock}
	if o.HugePages == hugeOff {
		m.huge = shm.HugeOff
	}
	return m
}

// Load loads all specs, in parallel, and returns them in their order. The first error ends the others; it is an
// [*Error].
//
// Everything that can be known beforehand is checked before a byte is loaded or a command started. Files take turns, since
// each is loaded by several threads; streams (standard input, pipes, commands, URLs) mostly wait, so they all run at once.
func (l *Loader) Load(ctx context.Context, specs []Spec) ([]*Loaded, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs, err := l.prepare(ctx, cancel, specs)
	if err != nil {
		return nil, err
	}
	var (
		wg      sync.WaitGroup
		once    sync.Once
		first   error
		results = make([]*Loaded, len(jobs))
		turns   = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
	)
	for i, j := range jobs {
		wg.Go(func() {
			defer j.close()
			var err error
			if results[i], err = l.load(ctx, j, turns); err != nil {
				once.Do(func() {
					first = err
					cancel(err)
				})
			}
		})
	}
	wg.Wait()
	if first == nil {
		l.remark(results)
		return results, nil
	}
	for _, r := range results {
		if r != nil {
			_ = r.Close()
		}
	}
	return nil, first
}

// load loads one dataset and names it in its error.
func (l *Loader) load(ctx context.Context, j *job, turns chan struct{}) (*Loaded, error) {
	if j.file() != nil {
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		case <-ctx.Done():
		}
	}
	began := time.Now()
	loaded, err := l.fulfil(ctx, j)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, j.interrupted(ctx)
	case err != nil:
		return nil, j.refuse(ctx, err)
	}
	loaded.At = time.Now()
	loaded.Took = loaded.At.Sub(began)
	if l.OnLoaded != nil {
		l.OnLoaded(loaded)
	}
	return loaded, nil
}

// fulfil does what is to be done about one dataset. Its errors do not name it.
func (l *Loader) fulfil(ctx context.Context, j *job) (*Loaded, error) {
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case j.unchanged:
		return l.same(j, l.Have[j.Name]), nil
	case j.direct != nil:
		return j.visit(ctx)
	}
	return l.fill(ctx, j)
}

// same is a load that came to what is there already.
func (l *Loader) same(j *job, have *Loaded) *Loaded {
	return &Loaded{
		Spec: j.Spec, Meta: have.Meta, Codec: have.Codec, Unchanged: true, SHA256: have.SHA256, Ext: have.Ext,
		Validator: have.Validator, SourceSize: have.SourceSize, size: have.size, made: have.made, note: have.note,
	}
}

// remark logs what is worth knowing of what was loaded, once: not again for a new version of the same kind.
func (l *Loader) remark(all []*Loaded) {
	if l.Log == nil {
		return
	}
	told := map[string]bool{}
	for _, d := range all {
		have := l.Have[d.Name]
		if have == nil {
			have = &Loaded{}
		}
		if d.Hint != have.Hint && d.Hint != "" {
			l.Log.Warn("workers will not share all of a dataset", "dataset", d.Name, "hint", d.Hint)
		}
		if slow := codec.Slow(d.Codec); slow != "" && d.Codec != have.Codec {
			l.Log.Info("a dataset takes long to unpack", "dataset", d.Name, "hint", slow)
		}
		if d.note != have.note && d.note != "" && !told[d.note] {
			told[d.note] = true // it is about the machine: one line for all
			level := slog.LevelInfo
			if d.Options.HugePages == hugeOn {
				level = slog.LevelWarn
			}
			l.Log.Log(context.Background(), level, "not all of a dataset is in huge pages", "dataset", d.Name, "reason", d.note)
		}
	}
}
