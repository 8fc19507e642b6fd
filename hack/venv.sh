#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/venv.sh DIR REQUIREMENTS: make the virtual environment DIR if it is not there, and install REQUIREMENTS into it.
# PYTHON names the interpreter (python3).
set -euo pipefail

python=${PYTHON:-python3} dir=$1 requirements=$2

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "cannot use $("$python" --version): Python 3.11 or newer is needed (make PYTHON=python3.13 …)" >&2; exit 1; }

# Debian and Ubuntu ship python3 without ensurepip, and venv then fails half way, with an interpreter but no pip. Their
# package is for their own python3 only.
if ! "$dir/bin/python" -m pip --version >/dev/null 2>&1; then
  rm -rf "$dir"
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      echo "installing python3-venv"
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    else
      echo "cannot make $dir: $python has no ensurepip (Debian, Ubuntu: apt-get install python3-venv)" >&2
      exit 1
    fi
  fi
  "$python" -m venv "$dir"
fi

"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
