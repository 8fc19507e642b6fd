#!/bin/bash
# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# testdata/pack.sh: make testdata/packed anew, the beginnings of the fuzz targets, with the real programs. Each file is
# one or more parts of a few hundred bytes.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p packed

content() { seq -f '%.3f words and words' 1 0.37 12; }
big() { seq 1 3000; }

content | gzip -n >packed/one.gz
{ content | gzip -n -1; : | gzip -n; content | pigz -n -11; head -c 512 /dev/zero; } >packed/members.gz
head -c 300 /dev/urandom | gzip -n >packed/stored.gz
{ printf '\x1f\x8b\x08\x1c\0\0\0\0\0\x03\x03\0abcname\0comment\0'; content | gzip -n | tail -c +11; } >packed/header.gz
content >packed/content.tmp
zstd -q -c packed/content.tmp >packed/sized.zst
rm packed/content.tmp
content | zstd -q -c >packed/unsized.zst
{ big | zstd -q -c -19; : | zstd -q -c; content | pzstd -q -c; } >packed/frames.zst
content | zstd -q -c --no-check --long=31 --ultra -22 >packed/window.zst
content | xz -c >packed/one.xz
{ big | xz -c -T2 --block-size=4096 --check=crc32; head -c 8 /dev/zero; content | xz -c --check=sha256; } >packed/streams.xz
content | lz4 -q -c -BD -B4 >packed/linked.lz4
big | lz4 -q -c -BX -B4 --no-frame-crc >packed/blocks.lz4
content >packed/content.tmp
lz4 -q -c --content-size packed/content.tmp >packed/sized.lz4
rm packed/content.tmp
{ content | lz4 -q -c -l; content | lz4 -q -c -l; } >packed/legacy.lz4
