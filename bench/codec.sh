#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# bench/codec.sh: preforkd's loading of packed files beside zstd, pigz, gzip, lz4 and xz. docs/performance.md says more.
source "$(dirname "$0")/lib/common.sh"

drive codec.py
