#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/dist.sh DIR: build the wheel and the sdist of the Python client into DIR. PYTHON names the interpreter (python3).
set -euo pipefail

out=$(realpath -m "$1")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

PYTHON=${PYTHON:-python3} hack/venv.sh "$work/venv" <(printf '%s\n' build==1.6.1 hatchling==1.33.0)
# A copy, in which the license is a file: a link that leads out of the tree would be empty in the sdist.
cp -rL clients/python "$work/source"
find "$work/source" -name __pycache__ -prune -exec rm -rf {} +
# The same bytes for the same commit, on every machine.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)}
export SOURCE_DATE_EPOCH
mkdir -p "$out"
"$work/venv/bin/python" -m build --no-isolation --outdir "$out" "$work/source"
