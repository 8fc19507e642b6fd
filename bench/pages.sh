#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# bench/pages.sh: what 4 KiB and huge pages cost a worker: attaching, random reads, page tables.
# docs/performance.md says more.
source "$(dirname "$0")/lib/common.sh"

each_shmem pages.py
