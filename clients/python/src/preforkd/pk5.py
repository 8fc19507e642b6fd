# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""pk5: a pickle of protocol 5 with its buffers beside it, so that its arrays are views of shared memory.

    pk5.dump(obj, file)      once, wherever the data is made
    pk5.load(content)        in each worker: the arrays are views of content, not copies

Layout (little endian): magic, u32 version 1, u32 count, u64 size of all, then count times u64 offset, u64 length, u64
flags (1: the buffer was read-only); entry 0 is the pickle; offsets are multiples of 64. The pickle is an ordinary one:
loading it runs what it says, so load only what you wrote yourself.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import BinaryIO, NamedTuple, Union

from ._contract import Error

MAGIC = b"\x93PK5\r\n\x1a\n"
VERSION = 1
ALIGN = 64
READ_ONLY = 1
_HEAD = struct.Struct("<8sIIQ")
_ENTRY = struct.Struct("<QQQ")

# Or an mmap.mmap, a numpy.ndarray …: Python has no type for all buffers before 3.12.
Buffer = Union[bytes, bytearray, memoryview]


class Entry(NamedTuple):
    """Where one part of the container lies, in bytes."""

    offset: int
    length: int
    flags: int


def dump(obj: object, file: BinaryIO, *, convert: bool = False) -> None:
    """Write obj to file, of which only write() is used: a pipe will do. obj must not change meanwhile.

    convert=True also shares what pickle alone would keep private: datetimes, strided arrays, strings of DataFrames. The
    pickle stream is held in memory until it is written; the buffers are not copied.
    """
    stream, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    if convert:
        from ._convert import Converter

        Converter(stream, buffers.append).dump(obj)
    else:
        pickle.Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(obj)
    write(file, stream.getbuffer(), buffers)


def write(file: BinaryIO, stream: Buffer, buffers: list[pickle.PickleBuffer]) -> None:
    """Write the container of a pickle stream of protocol 5 and its buffers."""
    parts = [(memoryview(stream), 0)]
    for raw in (b.raw() for b in buffers):  # one dimension of bytes, in C or Fortran order as the object has it
        parts.append((raw, READ_ONLY if raw.readonly else 0))
    at, entries = _HEAD.size + _ENTRY.size * len(parts), []
    for view, flags in parts:
        at += -at % ALIGN
        entries.append(Entry(at, view.nbytes, flags))
        at += view.nbytes
    file.write(_HEAD.pack(MAGIC, VERSION, len(parts), at))
    file.write(b"".join(_ENTRY.pack(*e) for e in entries))
    written = _HEAD.size + _ENTRY.size * len(parts)
    for entry, (view, _) in zip(entries, parts):
        file.write(bytes(entry.offset - written))
        file.write(view)
        written = entry.offset + entry.length


def load(content: Buffer) -> object:
    """Make the object of a container, for example of an mmap; its arrays are views of content and keep it alive.

    They can be written to only where content can (a private mapping). Raises Error where the container is damaged,
    before anything is unpickled, and whatever unpickling raises.
    """
    view = memoryview(content)
    if view.ndim != 1 or view.format != "B":
        view = view.cast("B")
    parts = [view[e.offset : e.offset + e.length] for e in table(view)]
    return pickle.loads(parts[0], buffers=parts[1:])


def table(content: Buffer) -> list[Entry]:
    """Check the container and return its entries, of which the first is the pickle. Raises Error."""
    size = len(content)
    if size < _HEAD.size:
        raise Error(f"cannot read truncated pk5: it ends within its header, after {size} bytes")
    magic, version, count, total = _HEAD.unpack_from(content)
    if magic != MAGIC:
        raise Error("cannot read pk5: this is none (python -m preforkd inspect FILE tells what it is)")
    if version != VERSION:
        raise Error(f"cannot read pk5 version {version}: write it again with this package")
    if total != size:
        what = "truncated" if size < total else "damaged"
        raise Error(f"cannot read {what} pk5: its header says {total:,} bytes in all, but it has {size:,}")
    end = _HEAD.size + count * _ENTRY.size
    if count == 0 or end > size:
        raise Error(f"cannot read damaged pk5: {count:,} entries do not fit its {size:,} bytes")
    entries = [Entry(*e) for e in _ENTRY.iter_unpack(memoryview(content)[_HEAD.size : end])]
    for i, (offset, length, flags) in enumerate(entries):
        if flags & ~READ_ONLY or offset % ALIGN or offset < end or offset > size or length > size - offset:
            raise Error(
                f"cannot read damaged pk5: entry {i:,} ({length:,} bytes at {offset:,}, flags {flags:#x}) is impossible"
            )
        end = offset + length
    at, length, _ = entries[0]
    if length < 3 or content[at : at + 2] != b"\x80\x05" or content[at + length - 1 : at + length] != b".":
        raise Error("cannot read damaged pk5: entry 0 is not a whole pickle of protocol 5")
    return entries
