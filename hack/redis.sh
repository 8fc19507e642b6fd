#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/redis.sh DIR: redis-server for the tests of the Celery example, put into DIR where the system has none and that needs no
# question (root on Debian or Ubuntu). Their package redis-tools has the program under another name, and no service that would
# be started. Without it these tests skip, and say so.
set -euo pipefail

command -v redis-server >/dev/null && exit 0
[ -x "$1/redis-server" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing redis-tools"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-tools >/dev/null &&
    ln -s "$(command -v redis-check-rdb)" "$1/redis-server" && "$1/redis-server" --version >/dev/null && exit 0
fi
echo "no redis-server here: the tests of Celery with redis will skip (install redis-server to run them)"
