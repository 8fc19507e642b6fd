// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

//go:build fuzz

package memstat

// With the fuzzer's counters the engine's functions need more stack than functions may that must not split it: the linker
// refuses them. hack/fuzz.sh builds without them by the tag fuzz.

func engineMain(string) { panic("cannot run the exact tests: this was built for fuzzing") }
