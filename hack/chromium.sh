#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/chromium.sh: Chromium for the tests of the dashboard, installed where that needs no question (root on Debian or
# Ubuntu). Without it these tests skip, and say so.
set -euo pipefail

command -v chromium >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing chromium"
  export DEBIAN_FRONTEND=noninteractive
  # On Ubuntu this package is a stub that asks for a snap: what it gives must run.
  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null &&
    chromium --version >/dev/null 2>&1 && exit 0
fi
echo "no chromium here: the browser tests of the dashboard will skip (install chromium to run them)"
