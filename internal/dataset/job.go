// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file is what happens to a dataset before its bytes are loaded.

import (
	"context"
	"errors"
	"fmt"
	"sync"

	humanize "github.com/dustin/go-humanize"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/dataset/remote"
)

// job is one dataset on its way.
type job struct {
	Spec
	making
	facts
	account account

	src       source
	stream    *stream // of src, once it is read from the beginning to the end
	direct    *direct
	unchanged bool // the server says so
	rewritten bool // the content is not what came

	progress func(Progress)
	read     int64 // bytes of the source so far
	loaded   int64 // bytes of content so far
}

// prepare opens every source and checks all that can be known without loading. It closes what it opened if it fails; the first
// failure is given to fail, which ends what the others wait for.
func (l *Loader) prepare(ctx context.Context, fail context.CancelCauseFunc, specs []Spec) (jobs []*job, err error) {
	var names []string
	for _, s := range specs {
		if err := checkName(s.Name); err != nil {
			return nil, &Error{Names: []string{s.Name}, Err: err}
		}
		names = append(names, s.Name)
	}
	if err := CheckNames(specs); err != nil {
		return nil, &Error{Names: names, Err: err}
	}
	defer func() {
		if err != nil {
			fail(err)
			for _, j := range jobs {
				j.close()
			}
			jobs = nil
		}
	}()
	shared := newBudget(l.Free)
	for _, s := range specs {
		j := &job{Spec: s, making: s.Options.making(), facts: facts{size: -1}, account: account{budget: shared}}
		if l.OnProgress != nil {
			j.progress = func(p Progress) { l.OnProgress(s.Name, p) }
		}
		jobs = append(jobs, j)
	}
	for _, j := range jobs {
		if j.remote() {
			continue
		}
		if err := l.begin(ctx, j); err != nil {
			return jobs, j.refuse(ctx, err)
		}
	}
	if err := l.ask(ctx, fail, jobs); err != nil {
		return jobs, err
	}
	return jobs, shared.promise(jobs)
}

// begin opens the source of a job that is no URL and looks at it.
func (l *Loader) begin(ctx context.Context, j *job) (err error) {
	if j.Direct() {
		if j.direct, err = openDirect(j.path()); err == nil && j.lock {
			j.account.noSegment, j.size = true, j.direct.beyond(l.Have[j.Name])
		}
		return err
	}
	src, err := l.open(ctx, j.Spec)
	if err != nil {
		return err
	}
	j.src = src
	if f := j.file(); f != nil {
		look := ctx
		if ctx.Err() != nil { // nothing shall be loaded, but all be known that is known without
			look = context.WithoutCancel(ctx)
		}
		defer j.account.unpacked()
		j.facts, err = j.Options.survey(look, f, f.Size(), func(f facts) error { return j.account.unpack(f.unpacking, f.size) })
	}
	return err
}

// unpack asks for the memory that unpacking takes; a file has been asked how much it needs of that.
func (j *job) unpack(memory int64) error {
	if j.file() != nil {
		memory = min(memory, j.unpacking)
	}
	return j.account.unpack(memory, 0)
}

// refuse names the dataset in why it cannot be loaded, and its source where that matters.
func (j *job) refuse(ctx context.Context, err error) *Error {
	var short *shortage
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return j.interrupted(ctx)
	case errors.As(err, &short):
		return &Error{Names: []string{j.Name}, Err: short}
	}
	return j.fail(err)
}

func (j *job) interrupted(ctx context.Context) *Error {
	return j.fail(fmt.Errorf("interrupted after %s: %w", humanize.IBytes(uint64(j.loaded)), context.Cause(ctx)))
}

// ask asks all servers at the same time, since each may take a while, and waits for the beginnings of what they send.
func (l *Loader) ask(ctx context.Context, fail context.CancelCauseFunc, jobs []*job) error {
	if ctx.Err() != nil {
		return nil // nothing will be loaded: there is no need to know
	}
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for _, j := range jobs {
		if !j.remote() {
			continue
		}
		wg.Go(func() {
			err := l.beginRemote(ctx, j)
			if errors.Is(err, remote.ErrUnchanged) {
				j.unchanged, err = true, nil
			}
			if err != nil {
				once.Do(func() {
					if ctx.Err() != nil {
						err = context.Cause(ctx)
					}
					first = j.refuse(context.Background(), err)
					fail(first)
				})
			}
		})
	}
	wg.Wait()
	return first
}

func (l *Loader) beginRemote(ctx context.Context, j *job) (err error) {
	src, err := l.open(ctx, j.Spec)
	if err != nil {
		return err
	}
	j.src = src
	j.stream = newStream(ctx, j.src, j.Options)
	if err = j.stream.begin(j.Options, j.unpack); err != nil {
		return j.stream.why(err)
	}
	j.kind, j.meta = j.stream.kind, j.stream.meta
	if j.size = j.meta.Need; j.kind == codec.None {
		j.size = max(j.size, j.src.Size())
	}
	if j.size <= 0 {
		j.size = -1
	}
	return nil
}

// promise has every dataset's size promised, as far as it is known.
func (b *budget) promise(jobs []*job) error {
	var (
		accounts []*account
		names    []string
		sizes    []int64
		unpack   []int64
	)
	for _, j := range jobs {
		if j.size >= 0 {
			accounts, names, sizes = append(accounts, &j.account), append(names, j.Name), append(sizes, j.size)
			unpack = append(unpack, beside(j.unpacking))
		}
	}
	if short := b.promiseAll(accounts, names, sizes, unpack); short != nil {
		return short
	}
	return nil
}

// file is the source when it is a regular file, else nil.
func (j *job) file() *file {
	f, _ := j.src.(*file)
	return f
}

// tell tells how far the load has come, each time: the source may fall silent for minutes at the next read, and what has come
// until then is to be seen.
func (j *job) tell(read int64) {
	j.read = read
	if j.progress == nil {
		return
	}
	p := Progress{Loaded: j.loaded, Size: -1, Read: read, Total: j.total(), Codec: j.kind}
	if j.sure {
		p.Size = j.size
	}
	j.progress(p)
}

// total is the bytes of the source, -1 while they are not known. An array says in its header how many are to come.
func (j *job) total() int64 {
	switch {
	case j.direct != nil:
		return j.direct.size
	case j.src.Size() >= 0:
		return j.src.Size()
	case j.kind == codec.None && j.meta.Need > 0:
		return j.meta.Need
	}
	return -1
}

func (j *job) close() {
	if j.stream != nil {
		j.stream.close()
	}
	j.account.close()
	if j.src != nil {
		_ = j.src.Close()
	}
}
