#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# bench/reload.sh: the time from a new file to the last worker that answers from it, under load.
# docs/performance.md says more.
source "$(dirname "$0")/lib/common.sh"

drive reload.py
