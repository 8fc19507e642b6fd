#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/bench.sh PATTERN: run the Go benchmarks that match, only in packages that have any (the others need not be
# built), then every bench/NAME.sh of which bench/NAME matches. A pattern that begins with bench/ means scripts only:
# bench/ all of them, bench/load one.
set -euo pipefail

go=${GO:-go}
if [[ $1 != bench/* ]]; then
  mapfile -t files < <(grep -rlE '^func Benchmark' --include='*_test.go' cmd internal shm supervisor || true)
  if [ ${#files[@]} -gt 0 ]; then
    mapfile -t packages < <(printf './%s\n' "${files[@]%/*}" | sort -u)
    "$go" test -run '^$' -bench "$1" -benchmem "${packages[@]}"
  fi
fi
failed=0 found=$([[ $1 == bench/* ]] || echo yes)
for script in bench/*.sh; do
  [[ ${script%.sh} =~ $1 ]] || continue
  found=yes
  echo "== $script"
  "$script" || failed=1
done
[ -n "$found" ] || { echo "no bench matches $1: there are $(echo bench/*.sh)" >&2; exit 1; }
exit "$failed"
