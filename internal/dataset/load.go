// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	humanize "github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/internal/host"
	"github.com/preforkd/preforkd/shm"
)

// Loaded is one version of a dataset in memory. Whoever got it closes Segment.
type Loaded struct {
	Spec
	Meta
	Segment *shm.Segment
	SHA256  string // of the whole content, in hex
	Ext     string // suffix for file names, such as ".npy", or ""
	// Identity of the file it was read from; zero for what was no regular file.
	Identity Identity
	At       time.Time     // when it was complete
	Took     time.Duration // from the first read to the seal
}

// Loader loads datasets. Its fields are set once, before the first Load.
type Loader struct {
	// Start runs a command by /bin/sh -c with its standard output piped to the Producer. The context ends with the load.
	Start func(ctx context.Context, command string) (Producer, error)
	// Stdin is read for the source "-" and never closed.
	Stdin *os.File
	// Free tells the memory that can still be taken, read anew at each call. Without it nothing is checked.
	Free func() (host.Headroom, error)
	// OnLoaded, if set, is called for each dataset when it is complete, from several goroutines at once. Another one's
	// failure may still undo the load.
	OnLoaded func(*Loaded)
	// OnProgress, if set, is called every few MiB with the bytes loaded so far and in all, -1 when that is not known. It
	// is called from several goroutines at once and holds up the load while it runs.
	OnProgress func(name string, loaded, total int64)
}

// Load loads all specs, in parallel, and returns them in their order. The first error ends the others; it is an
// [*Error].
//
// Everything that can be known beforehand is checked before a byte is loaded or a command started. Files take turns, as
// many at once as there are CPUs; streams (standard input, pipes, commands) mostly wait, so they all run at once.
func (l *Loader) Load(ctx context.Context, specs []Spec) ([]*Loaded, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs, err := l.prepare(ctx, specs)
	if err != nil {
		return nil, err
	}
	var (
		wg      sync.WaitGroup
		once    sync.Once
		first   error
		results = make([]*Loaded, len(jobs))
		turns   = make(chan struct{}, runtime.GOMAXPROCS(0))
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
		return results, nil
	}
	for _, r := range results {
		if r != nil {
			_ = r.Segment.Close()
		}
	}
	return nil, first
}

// load loads one dataset and names it in its error.
func (l *Loader) load(ctx context.Context, j *job, turns chan struct{}) (*Loaded, error) {
	if j.src.Size() >= 0 {
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		case <-ctx.Done():
		}
	}
	began := time.Now()
	loaded, err := l.fill(ctx, j)
	var short *shortage
	switch {
	case ctx.Err() != nil && err != nil:
		done := humanize.IBytes(uint64(j.account.done))
		return nil, j.fail(fmt.Errorf("interrupted after %s: %w", done, context.Cause(ctx)))
	case errors.As(err, &short):
		return nil, &Error{Names: []string{j.Name}, Err: short}
	case err != nil:
		return nil, j.fail(err)
	}
	loaded.At = time.Now()
	loaded.Took = loaded.At.Sub(began)
	if l.OnLoaded != nil {
		l.OnLoaded(loaded)
	}
	return loaded, nil
}

// fill makes a segment of a source. Its errors do not name the dataset.
func (l *Loader) fill(ctx context.Context, j *job) (*Loaded, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := j.sniff(); err != nil {
		return nil, err
	}
	total := j.src.Size()
	if total < 0 && j.head.size > 0 {
		total = j.head.size
		if err := j.account.admit(total); err != nil {
			return nil, err
		}
	}
	progress := func(done int64) {
		if l.OnProgress != nil {
			l.OnProgress(j.Name, done, total)
		}
	}
	progress(0)
	w, err := shm.Create(j.Name)
	if err != nil {
		return nil, err
	}
	defer w.Close() //nolint:errcheck // it is sealed, or the error is another one
	n, digest, err := pump(ctx, &admitted{w, &j.account}, io.MultiReader(bytes.NewReader(j.head.bytes), j.src), progress)
	if err == nil {
		err = j.src.Finish(n)
	}
	if err == nil {
		err = j.head.checkSize(n)
	}
	if err != nil {
		return nil, err
	}
	segment, err := w.Seal()
	if err != nil {
		return nil, err
	}
	loaded := &Loaded{
		Spec: j.Spec, Meta: j.head.Meta, Segment: segment,
		SHA256: hex.EncodeToString(digest), Ext: j.ext(j.head.Format, j.src.Size() < 0),
	}
	if f, ok := j.src.(*file); ok && !j.stream() {
		loaded.Identity, _ = identity(f.before)
	}
	return loaded, nil
}

// admitted writes what the budget admits.
type admitted struct {
	w *shm.Writer
	*account
}

func (a *admitted) Write(p []byte) (int, error) {
	if err := a.admit(int64(len(p))); err != nil {
		return 0, err
	}
	n, err := a.w.Write(p)
	a.wrote(int64(n))
	return n, err
}

// Log writes the line that tells of a load.
func (d *Loaded) Log(log *slog.Logger, version int) {
	size := humanize.IBytes(uint64(d.Segment.Size()))
	attrs := []any{"name", d.Name, "version", version, "source", d.Display(), "format", d.Format}
	if d.Format == FormatNpy {
		attrs = append(attrs, "dtype", d.DType, "shape", shapeText(d.Shape))
	}
	rate := float64(d.Segment.Size()) / 1e9 / max(d.Took.Seconds(), 1e-9)
	log.Info("loaded dataset", append(attrs,
		"size", size, "rate", fmt.Sprintf("%.2f GB/s", rate), "sha256", d.SHA256[:12])...)
}
