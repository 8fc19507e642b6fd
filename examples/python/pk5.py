# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Writes and reads pk5: a pickle of protocol 5 with its buffers beside it, so that its arrays are views of shared memory.

    dump(obj, open("model.pk5", "wb"))                       once, wherever the data is made
    load(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))          in each worker, without a copy of the arrays

Numeric arrays, and what is made of them, stay outside the pickle and are shared; strings, dates and dicts are in it, and
become each worker's own. Layout (little endian): magic, u32 version 1, u32 count, u64 size of all, then count times u64
offset, u64 length, u64 flags (1: the buffer was read-only); entry 0 is the pickle; offsets are multiples of 64.
"""

import pickle
import struct

MAGIC = b"\x93PK5\r\n\x1a\n"


def dump(obj, file):
    buffers = []
    stream = pickle.dumps(obj, protocol=5, buffer_callback=buffers.append)
    parts = [(memoryview(stream), 0)]
    for raw in (b.raw() for b in buffers):  # one dimension of bytes, in C or Fortran order as the object has it
        parts.append((raw, int(raw.readonly)))
    at, entries = 24 + 24 * len(parts), []
    for view, flags in parts:
        at += -at % 64
        entries.append((at, view.nbytes, flags))
        at += view.nbytes
    file.write(struct.pack("<8sIIQ", MAGIC, 1, len(parts), at))
    for entry in entries:
        file.write(struct.pack("<QQQ", *entry))
    for (offset, _, _), (view, _) in zip(entries, parts):
        file.write(bytes(offset - file.tell()))
        file.write(view)


def load(content):
    """content: a buffer of the whole container, such as an mmap; the arrays are views of it."""
    content = memoryview(content).toreadonly()
    magic, version, count, total = struct.unpack_from("<8sIIQ", content)
    assert (magic, version, total) == (MAGIC, 1, len(content))
    parts = [content[o : o + n] for o, n, _ in struct.iter_unpack("<QQQ", content[24 : 24 + 24 * count])]
    return pickle.loads(parts[0], buffers=parts[1:])
