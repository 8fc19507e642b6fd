#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/node.sh: Node.js for the tests that start a Node server, installed where that needs no question (root on Debian
# or Ubuntu). Without it these tests skip, and `make test` says so.
set -euo pipefail

command -v node >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing nodejs"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs >/dev/null && exit 0
fi
echo "no node here: tests whose server is missing will skip instead of failing (install nodejs to run them all)"
