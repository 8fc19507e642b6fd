// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file is the load of a direct source: nothing is copied, but it may be read ahead, checked and locked.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/format"
)

func (j *job) visit(ctx context.Context) (_ *Loaded, err error) {
	d := j.direct
	loaded := &Loaded{
		Spec: j.Spec, Meta: format.Meta{Format: format.Raw}, DirectPath: d.path, Ext: j.ext("", codec.None, false),
		Identity:   d.identity,
		SourceSize: d.size, size: d.size, made: j.making, direct: d,
	}
	j.tell(0)
	if err := j.preread(ctx); err != nil {
		return nil, err
	}
	loaded.SHA256 = j.Options.SHA256
	if j.lock {
		if loaded.locks, err = d.lock(ctx); err != nil {
			return nil, err
		}
	}
	now, err := lookDirect(d.path)
	if err == nil && now.identity != d.identity {
		err = errors.New("was changed while it was looked at")
	}
	if err != nil {
		return nil, errors.Join(err, loaded.Close())
	}
	d.measure()
	j.loaded = d.size
	j.tell(d.size)
	return loaded, nil
}

// preread reads all of it when that is asked for, or its digest is.
func (j *job) preread(ctx context.Context) error {
	d := j.direct
	var sum hash.Hash
	if j.Options.SHA256 != "" {
		if d.dir {
			return errors.New("is a directory: sha256 is for files")
		}
		sum = sha256.New()
	}
	if !j.Options.Preread && sum == nil {
		return nil
	}
	if d.partial {
		return errTooMany
	}
	err := d.read(ctx, func(block []byte) {
		if sum != nil {
			sum.Write(block)
		}
		j.loaded += int64(len(block))
		j.tell(j.loaded)
	})
	if err != nil || sum == nil {
		return err
	}
	return j.Options.checkSum(hex.EncodeToString(sum.Sum(nil)))
}
