#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# bench/load.sh: preforkd's loading of plain files beside the kernel's copy limit, cp to tmpfs and numpy; and of files
# that are not cached.
# docs/performance.md says more.
source "$(dirname "$0")/lib/common.sh"

each_shmem load.py
