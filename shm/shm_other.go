// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package shm

// Elsewhere the package compiles, so that programs which only name its types build, and every function fails.

import (
	"context"
	"io"
	"os"
)

func create(string) (*os.File, error)           { return nil, ErrUnsupported }
func seal(*os.File) error                       { return ErrUnsupported }
func reopen(*os.File) (*os.File, error)         { return nil, ErrUnsupported }
func verify(int) (identity, error)              { return identity{}, ErrUnsupported }
func identify(*os.File) (identity, error)       { return identity{}, ErrUnsupported }
func allocated(*os.File) (int64, error)         { return 0, ErrUnsupported }
func mapShared(*os.File, int64) ([]byte, error) { return nil, ErrUnsupported }
func unmap([]byte) error                        { return ErrUnsupported }

func lock(context.Context, *os.File, int64) (*Lock, error) { return nil, ErrUnsupported }

type body struct {
	file *os.File
	size int64
	huge pager
}

func newBody(*os.File, Options) *body   { return nil }
func (*body) write([]byte) (int, error) { return 0, ErrUnsupported }

func (*body) readFrom(io.Reader) (int64, error) { return 0, ErrUnsupported }

func (*body) finish() error                                                   { return ErrUnsupported }
func (*body) unmap() error                                                    { return nil }
func (*body) fill(context.Context, *os.File, int64, int64, FillOptions) error { return ErrUnsupported }

type pager struct{}

func (*pager) total() int64      { return 0 }
func (*pager) note(int64) string { return "" }

type window struct{}

func (*window) close() error { return nil }

type comparer struct{ a, b *os.File }

func (*comparer) do(int64, int64) error { return ErrUnsupported }
func (*comparer) close() error          { return nil }
