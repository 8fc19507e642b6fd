#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/bench.sh PATTERN: run the Go benchmarks that match, only in packages that have any (the others need not be
# built), then every bench/*.sh.
set -euo pipefail

go=${GO:-go}
mapfile -t files < <(grep -rlE '^func Benchmark' --include='*_test.go' cmd internal shm supervisor bench || true)
if [ ${#files[@]} -gt 0 ]; then
  mapfile -t packages < <(printf './%s\n' "${files[@]%/*}" | sort -u)
  "$go" test -run '^$' -bench "$1" -benchmem "${packages[@]}"
fi
for script in bench/*.sh; do
  [ -e "$script" ] || continue
  echo "== $script"
  bash "$script"
done
