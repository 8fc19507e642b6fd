#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/torch.sh VENV [--install]: run the tests of the Python client that need torch, with Debian's: that of PyPI brings gigabytes
# of CUDA. VENV/torch becomes a small environment over the system's packages. --install fetches python3-torch (200 MB or so with
# what it needs) where that needs no question (root on Debian or Ubuntu). Without it these tests do not run, and this says so.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd) venv=$(cd "$1" && pwd) python=/usr/bin/python3
dir=$venv/torch
here() { "$python" -c 'import numpy, torch' 2>/dev/null; }

if ! here && [ "${2-}" = --install ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing python3-torch"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-torch python3-numpy >/dev/null || true
fi
if ! here; then
  echo "no torch here: the tests of tensor() do not run (Debian, Ubuntu: install python3-torch)"
  exit 0
fi
if ! "$dir/bin/python" -m pytest --version >/dev/null 2>&1; then
  # Debian has ensurepip in another package; the pip of VENV does it too.
  rm -rf "$dir"
  "$python" -m venv --system-site-packages --without-pip "$dir"
  "$venv/bin/python" -m pip --python "$dir/bin/python" install --quiet --disable-pip-version-check \
    "$(grep '^pytest==' "$root/test/requirements.txt")"
fi
cd "$root/clients/python"
exec "$dir/bin/python" -m pytest -q -p no:cacheprovider tests/test_tensor.py tests/test_hostile.py
