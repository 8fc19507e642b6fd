#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/python-lint.sh VENV [--fix]: check the Python of the repository with the ruff and mypy of VENV (tools/python.txt).
# --fix formats it, and mends what ruff can mend. The package and its tests are held to clients/python/pyproject.toml;
# the examples, benches and test programs, which are short and have no types, to the rules in `plain`.
set -euo pipefail

bin=$(cd "$1/bin" && pwd) fix=${2-}
cd "$(dirname "$0")/.."
programs=(examples/python bench/lib test/testdata)
plain=(--isolated --no-cache --line-length 120 --target-version py39
  # Not examples/python: it has folders named as packages. preforkd is installed where a program imports it.
  --config 'src = ["bench/lib", "test/testdata"]' --config 'lint.isort.known-first-party = ["in_place", "pk5"]'
  --config 'lint.isort.known-third-party = ["preforkd"]')
# E402: variables that numpy reads are set before its import. E501: the formatter breaks code, and docstrings are prose.
rules=(--select E,F,W,I,B,UP,PLE --ignore E402,E501,B904)

ruff() { "$bin/ruff" "$@" || failed=1; }
failed=0
if [ "$fix" = --fix ]; then
  (cd clients/python && "$bin/ruff" format -q src tests && "$bin/ruff" check -q --fix --exit-zero src tests)
  "$bin/ruff" format -q "${plain[@]}" "${programs[@]}"
  "$bin/ruff" check -q --fix --exit-zero "${plain[@]}" "${rules[@]}" "${programs[@]}"
fi
pushd clients/python >/dev/null # the paths in pyproject.toml are relative
ruff format -q --check --output-format concise src tests
ruff check -q --output-format concise src tests
"$bin/mypy" --no-error-summary || failed=1
popd >/dev/null
ruff format -q --check --output-format concise "${plain[@]}" "${programs[@]}"
ruff check -q --output-format concise "${plain[@]}" "${rules[@]}" "${programs[@]}"
exit $failed
