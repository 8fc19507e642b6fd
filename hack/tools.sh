#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/tools.sh: curl and pgrep, which the commands of the documents use, installed where that needs no question (root on Debian
# or Ubuntu).
set -euo pipefail

command -v curl >/dev/null && command -v pgrep >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing curl and procps"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends curl procps >/dev/null && exit 0
fi
echo "no curl or no pgrep here: tests of the documents' commands will skip or fail (install curl and procps)"
