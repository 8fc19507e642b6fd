#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/redis.sh: redis-server for the tests of the Celery example, installed where that needs no question (root on Debian or
# Ubuntu). Each test starts one of its own. Without it these tests skip, and say so.
set -euo pipefail

command -v redis-server >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing redis-server"
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # the service is not to be started
  apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server >/dev/null && exit 0
fi
echo "no redis-server here: the tests of Celery with redis will skip (install redis-server to run them)"
