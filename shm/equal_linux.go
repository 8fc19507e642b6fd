// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package shm

import (
	"bytes"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// comparer maps the same part of two sealed files. They cannot shrink, so that reading them is no risk.
type comparer struct {
	a, b         *os.File
	viewA, viewB window
}

func (c *comparer) do(from, to int64) error {
	a, err := c.viewA.show(c.a, from, to-from, unix.PROT_READ)
	if err != nil {
		return err
	}
	b, err := c.viewB.show(c.b, from, to-from, unix.PROT_READ)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return errDiffer
	}
	return nil
}

func (c *comparer) close() error { return errors.Join(c.viewA.close(), c.viewB.close()) }
