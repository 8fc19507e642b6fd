# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# Sourced by bench/*.sh: a folder for data, a folder on tmpfs, the Go helper, and a trap that puts everything back
# however the bench ends: children ended, files deleted, shmem_enabled as it was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

shmem_file=/sys/kernel/mm/transparent_hugepage/shmem_enabled
shmem_before=
child=

restore_shmem() {
  [ -z "$shmem_before" ] || echo "$shmem_before" >"$shmem_file"
  shmem_before=
}

cleanup() {
  trap '' INT TERM HUP
  if [ -n "$child" ]; then
    kill "$child" 2>/dev/null && wait "$child" 2>/dev/null || true
  fi
  restore_shmem
  rm -rf "${BENCH_FOLDER:-}" "${BENCH_TMPFS:-}"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The data lies on a disk: BENCH_DIR, else TMPDIR, else /tmp.
BENCH_FOLDER=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/preforkd-bench.XXXXXX")
BENCH_TMPFS=
if [ "$(stat -fc %T /dev/shm 2>/dev/null)" = tmpfs ] && [ -w /dev/shm ]; then
  BENCH_TMPFS=$(mktemp -d /dev/shm/bench.XXXXXX)
fi
BENCH_TOOL=$BENCH_FOLDER/benchtest
export BENCH_FOLDER BENCH_TMPFS BENCH_TOOL
CGO_ENABLED=0 "${GO:-go}" build -o "$BENCH_TOOL" ./bench/benchtest

# The drivers need Python 3.9 and nothing else.
python=${BENCH_PYTHON:-python3}
[ -n "${BENCH_PYTHON:-}" ] || [ ! -x .venv/bin/python ] || python=.venv/bin/python

# drive SCRIPT ARG…: in the background, since bash runs a trap only after the foreground command has ended.
drive() {
  "$python" "bench/lib/$1" "${@:2}" 9>&- &
  child=$!
  local rc=0
  wait "$child" || rc=$?
  child=
  return "$rc"
}

# shmem_now prints the kernel's setting: never, advise …; "unknown" where the kernel has none.
shmem_now() {
  sed -n 's/.*\[\(.*\)\].*/\1/p' "$shmem_file" 2>/dev/null | grep . || echo unknown
}

# each_shmem SCRIPT: drive with shmem_enabled as the kernel's default has it (never) and with advise; where the setting
# cannot be written, with what is there. The lock keeps others who measure on this machine from changing it meanwhile.
each_shmem() {
  local mode now
  for mode in never advise; do
    exec 9>"${BENCH_SHMEM_LOCK:-/tmp/shmem_enabled.lock}"
    flock 9
    now=$(shmem_now)
    if [ ! -w "$shmem_file" ]; then
      echo "shmem_enabled is $now and cannot be written here: only that is measured"
      drive "$1" --shmem "$now"
      return
    fi
    if [ "$now" != "$mode" ]; then
      shmem_before=$now
      echo "$mode" >"$shmem_file"
    fi
    drive "$1" --shmem "$mode"
    restore_shmem
    exec 9>&-
  done
}
