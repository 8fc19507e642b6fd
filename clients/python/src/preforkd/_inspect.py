# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Says of a file what workers would share of it and what each would have private, without unpickling anything."""

from __future__ import annotations

import io
import math
import mmap
import os
import pickletools
import stat
from itertools import islice
from typing import NamedTuple

from . import pk5
from ._contract import Error
from ._headers import File
from ._inband import size
from ._recognise import Header, look

_OPS = 200_000  # of a pickle that are looked at; the rest is taken to be like them
_LINES = 20
_NAME = 200  # characters that a name has at most
_PIECE = 1_000_000  # bytes in one object that are worth a line
# Bytes of the object that an opcode makes, without what its argument adds; in 64-bit CPython.
_COSTS = {
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"), 56),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "SHORT_BINSTRING", "BINSTRING"), 40),
    **dict.fromkeys(("BININT", "BININT2", "LONG1", "LONG4", "BINFLOAT", "FLOAT", "INT", "LONG"), 32),
    **dict.fromkeys(("EMPTY_LIST", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "BYTEARRAY8"), 64),
    **dict.fromkeys(("EMPTY_DICT", "DICT", "NEWOBJ", "NEWOBJ_EX", "BUILD", "REDUCE"), 96),
    **dict.fromkeys(("EMPTY_SET", "FROZENSET"), 216),
    **dict.fromkeys(("MEMOIZE", "BINPUT", "LONG_BINPUT"), 8),  # most of what is remembered is put into a container
}

_ADVICE = {
    "gzip": "preforkd unpacks it once while it loads; outside preforkd unpack it first",
    "zstd": "preforkd unpacks it once while it loads; outside preforkd unpack it first",
    "xz": "preforkd unpacks it once while it loads; outside preforkd unpack it first",
    "lz4": "preforkd unpacks it once while it loads; outside preforkd unpack it first",
    "bz2": "preforkd does not unpack bz2: pack it with zstd, or unpack it by --data 'NAME=cmd:bzip2 -dc FILE'",
    "sqlite": "SQLite wants its real path: --data NAME=direct:FILE; workers share the page cache",
    "hdf5": "HDF5 wants its real path: --data NAME=direct:FILE; or convert its arrays to npy, npz or safetensors",
    "csv": "each worker would parse its own private copy: python -m preforkd pack FILE OUT.arrow",
    "json": "each worker would parse its own private objects: put what is large into npy, npz or .arrow",
    "parquet": "each worker would decode its own private copy: python -m preforkd pack FILE OUT.arrow",
    "pickle": "each worker would build its own private objects: python -m preforkd pack FILE OUT.pk5 shares its arrays",
    "zip": "not an npz: workers share its bytes, and what they unpack is private",
    "raw": "workers share its bytes, if they map it; what they parse from it is private",
}

_NAMED = {
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".pkl": "pickle", ".pickle": "pickle",
}  # fmt: skip


class Estimate(NamedTuple):
    """What a pickle stream will build, from its opcodes."""

    private: int  # bytes of objects, about
    modules: list[str]  # needed to load it
    pieces: list[int]  # single bytes objects of 1 MB and more: arrays that stayed in the stream


def inspect(path: str) -> str:
    """Some lines about the file. Raises OSError, and Error where it is damaged or cannot be shared."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Error("cannot inspect what is no regular file")
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        if length == 0:
            raise Error("cannot share an empty file")
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    header = look(content)
    kind = header.kind
    if kind == "raw":  # text is told by its name
        kind = _NAMED.get(os.path.splitext(path)[1].lower(), kind)
        if kind == "pickle":
            raise Error("cannot read damaged pickle: it does not begin or does not end like one")
    lines = [f"{path}: {kind}, {size(length)}", *_about(content, header)]
    if kind in _ADVICE:
        lines.append(_ADVICE[kind].replace("FILE", path))
    return "\n  ".join(lines)


def _about(content: memoryview, header: Header) -> list[str]:
    if header.kind == "npy":
        assert header.shape is not None  # noqa: S101
        return [f"{header.dtype} {header.shape}, order {header.order}: shared", "private per worker: nothing"]
    if header.kind in ("npz", "safetensors"):
        return _members(header)
    if header.kind == "pk5":
        return _bundle(content)
    if header.kind == "pickle":
        return _pickle(estimate(content))
    if header.kind in ("arrow", "arrow-stream"):
        return _table(content, header.kind == "arrow-stream")
    return []


def _members(header: Header) -> list[str]:
    lines = [
        f"{name}: {m.dtype} {m.shape}, {size(m.size)}" + (", compressed or not aligned" if m.offset < 0 else "")
        for name, m in islice(header.members.items(), _LINES)
    ]
    if len(header.members) > _LINES:
        lines.append(f"… {len(header.members) - _LINES:,} more arrays")
    copied = sum(m.size for m in header.members.values() if m.offset < 0)
    if copied:
        lines.append(f"shared under preforkd, which unpacks it once; outside preforkd {size(copied)} are copied")
    return [*lines, "private per worker: nothing"]


def _bundle(content: memoryview) -> list[str]:
    entries = pk5.table(content)
    first, shared = entries[0], sum(e.length for e in entries[1:])
    found = estimate(content[first.offset : first.offset + first.length])
    return [f"shared: {size(shared)} in {len(entries) - 1:,} buffers", *_pickle(found)]


def _pickle(found: Estimate) -> list[str]:
    lines = [
        f"private: a piece of {size(n)} in the pickle (an array: of dates, not contiguous, or in a plain pickle any)"
        for n in found.pieces
    ]
    lines = lines[:_LINES]
    lines.append(f"private per worker: about {size(found.private)}, as its opcodes say")
    if found.modules:
        lines.append(f"needs to load: {', '.join(found.modules)}")
    return lines


def estimate(stream: memoryview) -> Estimate:
    """Read a pickle's opcodes. Nothing that they ask for is done."""
    private, modules, pieces = 0, set[str](), list[int]()
    memo, made = list[str](), ""
    strings, position = ["", ""], 0
    file = io.BufferedReader(File(stream), 1 << 16)
    try:
        for opcode, arg, at in islice(pickletools.genops(file), _OPS):
            position = at or 0
            length = len(arg) if isinstance(arg, (str, bytes, bytearray)) else 0
            private += _COSTS.get(opcode.name, 0) + length
            if opcode.name == "MEMOIZE":  # the string that was just made, or something else
                memo.append(made)
            made = arg if isinstance(arg, str) and length < _NAME else ""
            if opcode.name in ("BINGET", "LONG_BINGET") and isinstance(arg, int) and arg < len(memo):
                made = memo[arg]
            if made:
                strings = [strings[1], made]
            elif length >= _PIECE and not isinstance(arg, str):
                pieces.append(length)
            if opcode.name == "STACK_GLOBAL":
                modules.add(strings[0].partition(".")[0])
            elif opcode.name == "GLOBAL":
                modules.add(str(arg).partition(" ")[0].partition(".")[0])
    except (ValueError, OverflowError) as e:
        raise Error(f"cannot read damaged pickle: {str(e)[:200]}") from e
    if position + 1 < len(stream):  # there are more opcodes than are looked at
        large = sum(pieces)
        private = large + math.ceil((private - large) * (len(stream) - large) / max(position - large, 1))
    known = sorted(m for m in modules if m.isidentifier() and m not in ("builtins", "copyreg", "copy_reg"))
    return Estimate(private, known, pieces)


def _table(content: memoryview, stream: bool) -> list[str]:
    """The columns, and whether they are views, by pyarrow where it is installed."""
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        return ["shared, if its record batches are not compressed (with pyarrow installed, inspect would tell)"]
    try:
        before = pyarrow.total_allocated_bytes()
        reader = pyarrow.ipc.open_stream(content) if stream else pyarrow.ipc.open_file(content)
        table = reader.read_all()
        private = pyarrow.total_allocated_bytes() - before
    except (pyarrow.ArrowException, OSError) as e:
        raise Error(f"cannot read damaged arrow: {str(e)[:200]}") from e
    lines = [f"column {field.name}: {field.type}" for field in islice(table.schema, _LINES)]
    if len(table.schema) > _LINES:
        lines.append(f"… {len(table.schema) - _LINES:,} more columns")
    lines.append(f"{table.num_rows:,} rows; private per worker: {size(private)}")
    if private > table.nbytes / 2:
        lines.append(
            "its record batches are compressed: write it again with compression=None, or by python -m preforkd pack"
        )
    return lines
