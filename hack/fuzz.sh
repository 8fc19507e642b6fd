#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/fuzz.sh TIME: run every fuzz target of the module for TIME (1m), one after the other, as go test wants it. Shrinking an
# input takes up to a minute by default, which would be all of the time. The tag leaves out what cannot be built with the
# fuzzer's counters.
set -euo pipefail

go=${GO:-go}
for package in $("$go" list ./...); do
  names=$("$go" test -tags fuzz -list '^Fuzz' "$package")
  for target in $(grep '^Fuzz' <<<"$names" || true); do
    echo "== $package $target"
    "$go" test -tags fuzz -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 20x "$package"
  done
done
