# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Says of a file what workers would share of it and what each would have private, without unpickling anything."""

from __future__ import annotations

import io
import math
import mmap
import os
import pickletools
import re
import stat
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from . import pk5
from ._contract import Error
from ._headers import File
from ._inband import size
from ._recognise import Header, look

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPS = 200_000  # of a pickle that are looked at; the rest is taken to be like them
_LINES = 20
_NAME = 200  # characters that a name has at most
_DIMENSIONS = 64  # of an array: NPY_MAXDIMS
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

# Classes that are known to copy their arrays as they are loaded.
_COPIERS = ("sklearn.tree._tree.Tree",)

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
    "pickle": "each worker would build its own private objects; try: python -m preforkd pack FILE OUT.pk5",
    "joblib": "each worker would build its own private objects; try: python -m preforkd pack FILE OUT.pk5",
    "packed joblib": "each worker would unpack a private copy, and cannot map it: python -m preforkd pack FILE OUT.pk5",
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
    arrays: int  # bytes of arrays of numpy, those beside the stream included
    copied: int  # of these what a class is known to copy as it is loaded
    cut: bool  # there are more opcodes than were looked at; arrays and copied are of those alone
    joblib: bool


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
    if path.lower().endswith(".joblib") and kind in ("raw", "gzip", "xz", "lz4", "bz2"):
        kind = "packed joblib"
    if kind == "raw":  # text is told by its name
        kind = _NAMED.get(os.path.splitext(path)[1].lower(), kind)
        if kind == "pickle":
            raise Error("cannot read damaged pickle: it does not begin or does not end like one")
    found = estimate(content) if kind == "pickle" else None
    if found is not None and found.joblib:
        kind = "joblib"
    about = _about(content, header) if found is None else [*_pickle(found), _packing(found)]
    lines = [f"{path}: {kind}, {size(length)}", *about]
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
    found = estimate(content[first.offset : first.offset + first.length], [e.length for e in entries[1:]])
    found = found._replace(private=found.private + found.copied)
    told = f"shared: {size(max(shared - found.copied, 0))} in {len(entries) - 1:,} buffers"
    if found.copied:
        told += f"; {size(found.copied)} of them each worker copies ({', '.join(_COPIERS)})"
    if len(entries) > 1:
        told += "; what classes copy as they are loaded is not seen here; pack measures it"
    return [told, *_pickle(found)]


def _packing(found: Estimate) -> str:
    """What packing would do to a pickle."""
    if found.cut:
        return f"in its first {_OPS:,} opcodes are {size(found.arrays)} of arrays that packing shares; pack sees all"
    if not found.arrays:
        return "packing shares nothing: no array of numpy is in it"
    rest = found.arrays - found.copied
    copies = f"{', '.join(_COPIERS)} copies its arrays as it is loaded"
    if rest < found.arrays / 100:
        return f"packing shares nothing of the {size(found.arrays)} of arrays in it: {copies}"
    told = f"packing shares up to {size(rest)} of arrays; "
    if found.copied:
        told += f"{size(found.copied)} stay private: {copies}; "
    return told + "what classes copy as they are loaded is not seen here; pack measures it"


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


def estimate(stream: memoryview, buffers: Sequence[int] = ()) -> Estimate:
    """Read a pickle's opcodes. Nothing that they ask for is done. buffers: the lengths of those that lie beside it."""
    reader = _Opcodes(io.BufferedReader(File(stream), 1 << 16), list(reversed(buffers)))
    try:
        reader.run()
    except (ValueError, OverflowError, IndexError, TypeError, OSError, RecursionError, MemoryError) as e:
        raise Error(f"cannot read damaged pickle: {str(e)[:200] or type(e).__name__}") from e
    private, position, large = reader.private, reader.position, sum(reader.pieces) + reader.skipped
    cut = position + 1 < len(stream)
    if cut:
        private = large + math.ceil((private - large) * (len(stream) - large) / max(position - large, 1))
    known = sorted(m for m in reader.modules if m.isidentifier() and m not in ("builtins", "copyreg", "copy_reg"))
    return Estimate(private, known, reader.pieces, reader.arrays, reader.copied, cut, reader.skipped > 0)


class _Blob(NamedTuple):
    """So many bytes in the stream, or beside it."""

    length: int


class _Made(NamedTuple):
    """What calling a class or a function would make."""

    of: str  # "module.name" of it, as far as it is known
    args: object


class _Array(NamedTuple):
    """The bytes of an array of numpy."""

    length: int


class _Opcodes:
    """Follows what opcodes do to the stack, as far as it takes to find arrays: nothing is imported, called or made."""

    def __init__(self, file: io.BufferedReader, buffers: list[int]) -> None:
        self.private, self.position, self.skipped, self.arrays, self.copied = 0, 0, 0, 0, 0
        self.modules, self.pieces = set[str](), list[int]()
        self._file, self._buffers, self._left = file, buffers, _OPS

    def run(self) -> None:
        """Read one pickle to its end, or to the last opcode that is looked at."""
        stack, memo, mark = list[Any](), dict[Any, Any](), object()
        for opcode, arg, at in pickletools.genops(self._file):
            self.position, self._left = at or 0, self._left - 1
            if self._left < 0:
                return
            name, length = opcode.name, len(arg) if isinstance(arg, (str, bytes, bytearray)) else 0
            self.private += _COSTS.get(name, 0) + length
            if length >= _PIECE and not isinstance(arg, str):
                self.pieces.append(length)
            if name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
                memo[len(memo) if arg is None else arg] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo.get(arg))
            elif name == "MARK":
                stack.append(mark)
            else:
                taken = self._taken(opcode, stack, mark)
                stack += [self._result(name, arg, taken)] * len(opcode.stack_after)

    def _taken(self, opcode: pickletools.OpcodeInfo, stack: list[Any], mark: object) -> list[Any]:
        """What an opcode takes from the stack; of a slice above a mark the items."""
        before = len(opcode.stack_before)
        items = list[Any]()
        if pickletools.markobject in opcode.stack_before:
            while stack[-1] is not mark:
                items.append(stack.pop())
            stack.pop()
            before = opcode.stack_before.index(pickletools.markobject)
        first = [stack.pop() for _ in range(before)]
        return first[::-1] + items[::-1]

    def _result(self, name: str, arg: Any, taken: list[Any]) -> Any:
        if isinstance(arg, (bytes, bytearray)):
            return _Blob(len(arg))
        if name == "NEXT_BUFFER":
            return _Blob(self._buffers.pop()) if self._buffers else None
        if name in ("STACK_GLOBAL", "GLOBAL"):
            words = taken or str(arg).split(" ", 1)
            full = ".".join(word if isinstance(word, str) else "?" for word in words)
            self.modules.add(full.partition(".")[0])
            return full
        if name in ("SETITEM", "SETITEMS") and isinstance(taken[0], dict):
            taken[0].update((k, v) for k, v in zip(taken[1::2], taken[2::2]) if isinstance(k, str))
        if name == "EMPTY_DICT":
            return {}
        if "TUPLE" in name:
            return tuple(taken)
        if name in ("REDUCE", "NEWOBJ"):
            return self._called(*taken)
        if name == "BUILD":
            return self._built(*taken)
        if taken:  # a list that has got items, say
            return taken[0]
        return _Blob(len(arg)) if isinstance(arg, str) and len(arg) >= _NAME else arg

    def _called(self, of: Any, args: Any) -> Any:
        first = args[0] if isinstance(args, tuple) and args else None
        if of == "_codecs.encode" and isinstance(first, (str, _Blob)):  # bytes, before protocol 3
            return _Blob(len(first)) if isinstance(first, str) else first
        if isinstance(of, str) and of.endswith("._frombuffer") and isinstance(first, _Blob):
            return self._array(first.length)
        return _Made(of if isinstance(of, str) else "", args)

    def _built(self, obj: Any, state: Any) -> Any:
        """What has been given its state."""
        of = obj.of if isinstance(obj, _Made) else ""
        if of.endswith(".multiarray._reconstruct") and isinstance(state, tuple) and isinstance(state[-1], _Blob):
            return self._array(state[-1].length)
        if of.endswith(".NumpyArrayWrapper") and isinstance(state, dict):
            return self._behind(state)
        if of in _COPIERS and isinstance(state, dict):
            self.copied += sum(value.length for value in state.values() if isinstance(value, _Array))
        return obj

    def _array(self, length: int) -> _Array:
        self.arrays += length
        return _Array(length)

    def _behind(self, wrapper: dict[str, Any]) -> _Array | None:
        """The array that joblib has written as it is, behind the object that tells of it."""
        dtype, shape = wrapper.get("dtype"), wrapper.get("shape")
        name = dtype.args[0] if isinstance(dtype, _Made) and isinstance(dtype.args, tuple) and dtype.args else ""
        kind = re.fullmatch(r"[<>|=]?([a-zA-Z])(\d{0,9})", name) if isinstance(name, str) else None
        sizes = shape if isinstance(shape, tuple) and len(shape) <= _DIMENSIONS else (-1,)
        if kind is None or not all(isinstance(n, int) and 0 <= n < 1 << 63 for n in sizes):
            raise ValueError("an array of joblib without a dtype and a shape")
        if kind[1] == "O":  # a pickle of its own
            self.run()
            return None
        length = math.prod(sizes) * (int(kind[2] or 1) * (4 if kind[1] == "U" else 1))
        if wrapper.get("numpy_array_alignment_bytes") is not None:
            self._file.seek(self._file.read(1)[0], io.SEEK_CUR)
        self._file.seek(length, io.SEEK_CUR)
        self.private, self.skipped = self.private + length, self.skipped + length
        return self._array(length)


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
