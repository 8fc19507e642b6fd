// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"fmt"
	"strings"
)

// Error is why datasets could not be loaded. Names has at least one entry; more when the datasets together are too
// large. The program's exit code for it is 3, unless Err is the context's own error.
type Error struct {
	Names []string
	Err   error
}

func (e *Error) Error() string {
	quoted := make([]string, len(e.Names))
	for i, name := range e.Names {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	noun := "dataset"
	if len(e.Names) > 1 {
		noun = "datasets"
	}
	return fmt.Sprintf("cannot load %s %s: %v", noun, strings.Join(quoted, ", "), e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// fail names the dataset and its source in err.
func (s Spec) fail(err error) *Error {
	return &Error{Names: []string{s.Name}, Err: fmt.Errorf("%s: %w", s.label(), err)}
}
