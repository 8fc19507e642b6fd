// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file is what happens to a dataset before its bytes are loaded.

import (
	"context"
	"errors"
)

// job is one dataset on its way.
type job struct {
	Spec
	src     source
	head    head
	sniffed bool
	account account
}

// prepare opens every source and checks all that can be known without loading. It closes what it opened if it fails.
func (l *Loader) prepare(ctx context.Context, specs []Spec) (jobs []*job, err error) {
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
			for _, j := range jobs {
				j.close()
			}
			jobs = nil
		}
	}()
	shared := &budget{free: l.Free}
	var (
		accounts []*account
		known    []string
		sizes    []int64
	)
	for _, s := range specs {
		src, err := l.open(ctx, s)
		if err != nil {
			return jobs, s.fail(err)
		}
		j := &job{Spec: s, src: src, account: account{budget: shared}}
		jobs = append(jobs, j)
		size := src.Size()
		if size < 0 {
			continue
		}
		if j.head, err = sniff(src); err == nil {
			err = j.head.checkSize(size)
		}
		if err != nil {
			return jobs, s.fail(err)
		}
		j.sniffed = true
		accounts, known, sizes = append(accounts, &j.account), append(known, s.Name), append(sizes, size)
	}
	if short := shared.promiseAll(accounts, known, sizes); short != nil {
		return jobs, short
	}
	return jobs, nil
}

func (j *job) close() {
	j.account.close()
	_ = j.src.Close()
}

// sniff recognises the content of a stream; that of a file is known already.
func (j *job) sniff() (err error) {
	if j.sniffed {
		return nil
	}
	j.head, err = sniff(j.src)
	if errors.Is(err, errTruncated) {
		if why := j.src.Finish(int64(len(j.head.bytes))); why != nil {
			return why // the command failed: that its output is cut off is only the consequence
		}
	}
	return err
}
