// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package rundir

// What a caller may act on: the three kinds of error, to be asked for with errors.Is.

import (
	"errors"
	"fmt"
)

var (
	// ErrTaken says that a live instance has the name or the directory that was asked for.
	ErrTaken = errors.New("instance is running already")
	// ErrUnavailable says that there can be no run dir here: warn and run without.
	ErrUnavailable = errors.New("no run directory")
	// ErrNoInstance says that no live instance has the name or the directory that a verb asked for (exit code 5).
	ErrNoInstance = errors.New("no such instance")
)

// failure is an error of one of the kinds above whose text stands alone.
type failure struct {
	kind error
	text string
}

func (f *failure) Error() string        { return f.text }
func (f *failure) Is(target error) bool { return target == f.kind }

func failf(kind error, format string, args ...any) error {
	return &failure{kind: kind, text: fmt.Sprintf(format, args...)}
}
