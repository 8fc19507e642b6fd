#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/fuzz.sh TIME: run every fuzz target of the module for TIME (1m), one after the other, as go test wants it. Shrinking an
# input takes up to a minute by default, which would be all of the time.
set -euo pipefail

go=${GO:-go}
for package in $("$go" list ./...); do
  names=$("$go" test -list '^Fuzz' "$package")
  for target in $(grep '^Fuzz' <<<"$names" || true); do
    echo "== $package $target"
    "$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 20x "$package"
  done
done
