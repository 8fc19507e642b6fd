#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# bench/stats.sh: what it costs to know the memory of a fleet, beside gopsutil, procfs, smem and plain smaps; what it
# costs the workers; and how fast preforkd answers. docs/performance.md says more.
source "$(dirname "$0")/lib/common.sh"

drive stats.py
