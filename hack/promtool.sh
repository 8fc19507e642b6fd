#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# hack/promtool.sh DIR: Prometheus' promtool for the tests of deploy/, put into DIR where the system has none and that needs no
# question (root on Debian or Ubuntu). It is taken out of the package, which would start a server. Without it these tests skip, and
# say so.
set -euo pipefail

command -v promtool >/dev/null && exit 0
[ -x "$1/promtool" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "fetching promtool"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # apt fetches as a user of its own, which must be able to write here.
  chown _apt "$work" 2>/dev/null || true
  apt-get update -qq && (cd "$work" && apt-get download -qq prometheus >/dev/null) && dpkg -x "$work"/prometheus_*.deb "$work/files" &&
    "$work/files/usr/bin/promtool" --version >/dev/null && install -D -m 755 "$work/files/usr/bin/promtool" "$1/promtool" && exit 0
fi
echo "no promtool here: the tests of the alert rules and of Grafana's queries will skip (install Debian's prometheus to run them)"
