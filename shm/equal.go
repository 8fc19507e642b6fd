// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

// Comparing contents: whether a new version of a dataset is a new one.

import (
	"context"
	"errors"
	"fmt"
)

var errDiffer = errors.New("they differ")

// Equal says whether two segments hold the same bytes. It stops at the first difference and uses a few threads. ctx
// is looked at every 8 MiB.
func Equal(ctx context.Context, a, b *Segment) (bool, error) {
	if a.id.size != b.id.size {
		return false, nil
	}
	err := spread(ctx, threads(), 0, a.id.size, nil, func() worker { return &comparer{a: a.file, b: b.file} })
	if err != nil && !errors.Is(err, errDiffer) {
		return false, fmt.Errorf("cannot compare segments %q and %q: %w", a.name, b.name, err)
	}
	return err == nil, nil
}
