// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package shm

// Elsewhere the package compiles, so that programs which only name its types build, and every function fails.

import (
	"io"
	"os"
)

func create(string) (*os.File, error)           { return nil, ErrUnsupported }
func fill(*os.File, io.Reader) (int64, error)   { return 0, ErrUnsupported }
func seal(*os.File) error                       { return ErrUnsupported }
func reopen(*os.File) (*os.File, error)         { return nil, ErrUnsupported }
func verify(int) (identity, error)              { return identity{}, ErrUnsupported }
func identify(*os.File) (identity, error)       { return identity{}, ErrUnsupported }
func allocated(*os.File) (int64, error)         { return 0, ErrUnsupported }
func mapShared(*os.File, int64) ([]byte, error) { return nil, ErrUnsupported }
func unmap([]byte) error                        { return ErrUnsupported }

type collapser struct{}

func (*collapser) upTo(*os.File, int64) {}
