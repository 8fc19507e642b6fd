// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package shm_test

import (
	"fmt"
	"strings"

	"github.com/preforkd/preforkd/shm"
)

func Example() {
	w, err := shm.Create("greeting", shm.Options{})
	if err != nil {
		panic(err)
	}
	defer w.Close() // does nothing once it is sealed
	if _, err := w.ReadFrom(strings.NewReader("one copy for all")); err != nil {
		panic(err)
	}
	segment, err := w.Seal()
	if err != nil {
		panic(err)
	}
	defer segment.Close()

	view, err := segment.Map()
	if err != nil {
		panic(err)
	}
	defer view.Close()
	fmt.Printf("%s (%d bytes)\n", view.Bytes(), segment.Size())
	// Output: one copy for all (16 bytes)
}
