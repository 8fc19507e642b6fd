# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the headers of npy, npz and safetensors from content that may be damaged or made to do harm."""

from __future__ import annotations

import io
import math
import re
from typing import Any

from ._contract import Error, Member

MAX_NPY_HEADER = 65535  # what preforkd reads too
MAX_SAFETENSORS_HEADER = 100_000_000  # the library's own limit
_MAX_DIMS = 64
_ALIGN = 64  # what an array of an npz must be aligned to, to be used as it lies
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_SCALAR = re.compile(r"[<>|=]?([biufcmMSUVaO])(\d{0,9})(\[.{1,40}\])?")


def npy(content: memoryview) -> Member:
    """The array of an npy file; its offset counts from the begin of content. Raises Error."""
    if len(content) < 12:
        raise Error(f"cannot read truncated npy: it ends within its header, after {len(content)} bytes")
    major, minor = content[6], content[7]
    if major not in (1, 2, 3) or minor != 0:
        raise Error(f"cannot read npy version {major}.{minor}: save it again with numpy.save")
    start = 10 if major == 1 else 12
    length = int.from_bytes(content[8:start], "little")
    if length > MAX_NPY_HEADER:
        raise Error(f"cannot read an npy header of {length:,} bytes: it is damaged, or has too many fields")
    offset = start + length
    if offset > len(content):
        raise Error(f"cannot read truncated npy: it ends within its header, after {len(content)} bytes")
    try:
        fields = literal(bytes(content[start:offset]).decode("utf-8" if major == 3 else "latin-1"))
        if set(fields) != {"descr", "fortran_order", "shape"} or type(fields["fortran_order"]) is not bool:
            raise ValueError("it must have descr, fortran_order and shape, and nothing else")
        descr, shape = fields["descr"], _shape(fields["shape"])
        size = math.prod(shape) * item_size(descr)
    except (ValueError, TypeError, AttributeError) as e:
        raise Error(f"cannot read damaged npy: {str(e)[:200]}") from e
    if size > len(content) - offset:
        dtype = descr if isinstance(descr, str) else "records"
        raise Error(
            f"cannot read truncated npy: its header says {offset + size:,} bytes in all (shape {shape} of "
            f"{dtype[:80]}), but it has {len(content):,}"
        )
    order = "F" if fields["fortran_order"] else "C"
    return Member(descr if isinstance(descr, str) else repr(descr), shape, order, offset, size)


def literal(text: str) -> Any:
    """A Python literal. Deep nesting, at which Python's own parser may end the process, is refused before."""
    if max(text.count(c) for c in "([{") > 10_000:
        raise ValueError("too many brackets")
    depth = deepest = 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        deepest = max(deepest, depth)
    if deepest > 32:
        raise ValueError("nested deeper than 32")
    import ast

    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, RecursionError, MemoryError) as e:
        raise ValueError(f"no Python literal ({e})") from e


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or len(value) > _MAX_DIMS:
        raise ValueError("its shape is no tuple of at most 64 sizes")
    if any(type(n) is not int or not 0 <= n < 1 << 63 for n in value):
        raise ValueError("its shape is no tuple of sizes")
    return tuple(value)


def item_size(descr: Any) -> int:
    """Bytes of one element. Raises ValueError for what is no dtype, Error for Python objects."""
    if isinstance(descr, list):
        return sum(_field_size(f) for f in descr)
    if isinstance(descr, tuple) and len(descr) == 2:
        return item_size(descr[0]) * math.prod(_shape(_dims(descr[1])))
    match = _SCALAR.fullmatch(descr) if isinstance(descr, str) else None
    if match is None:
        raise ValueError("descr is not a dtype")
    kind, size, _ = match.groups()
    if kind == "O":
        raise Error(
            "cannot share an npy of Python objects (dtype O): save it as a numeric or fixed-width array, for example "
            "numpy.save(file, a.astype('S'))"
        )
    return int(size or 0) * (4 if kind == "U" else 1)


def _field_size(descr: Any) -> int:
    if not isinstance(descr, tuple) or len(descr) not in (2, 3):
        raise ValueError("a field must be (name, dtype) or (name, dtype, shape)")
    return item_size(descr[1]) * (math.prod(_shape(_dims(descr[2]))) if len(descr) == 3 else 1)


def _dims(shape: Any) -> Any:
    return (shape,) if type(shape) is int else shape


def npz(content: memoryview) -> dict[str, Member] | None:
    """The arrays of an npz, None for another zip.

    The offset of one that is compressed, or not aligned to be used as it lies, is -1: member_bytes gives its npy.
    Raises Error.
    """
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(File(content)) as archive:
            infos = archive.infolist()
            if not infos or not all(info.filename.endswith(".npy") for info in infos):
                return None
            members: dict[str, Member] = {}
            for info in infos:
                name = info.filename[:-4]
                if name in members:
                    raise Error(f"cannot read an npz that holds {name[:100]!r} twice")
                with archive.open(info) as file:
                    start = file.read(12 + MAX_NPY_HEADER)
                if not start.startswith(b"\x93NUMPY"):
                    return None
                members[name] = _npz_member(content, info, start)
            return members
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, IndexError, RuntimeError, EOFError) as e:
        raise Error(f"cannot read a zip that is truncated or damaged: {str(e)[:200]}") from e


def _npz_member(content: memoryview, info: Any, start: bytes) -> Member:
    # The size is the directory's word; the header's array must fit it, not only the part that was read.
    array = npy(_Longer(start, info.file_size))  # type: ignore[arg-type]
    if info.compress_type == 0:
        local = info.header_offset
        begin = local + 30 + sum(int.from_bytes(content[local + i : local + i + 2], "little") for i in (26, 28))
        if begin + info.file_size > len(content):
            raise Error(f"cannot read truncated npz: member {info.filename[:100]!r} lies outside it")
        if (begin + array.offset) % _ALIGN == 0:
            return Member(array.dtype, array.shape, array.order, begin + array.offset, array.size)
    return Member(array.dtype, array.shape, array.order, -1, array.size)


def member_bytes(content: memoryview, name: str) -> bytes:
    """The npy file of a member of an npz that npz() has read, as a copy. Raises Error."""
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(File(content)) as archive:
            return archive.read(name + ".npy")
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, KeyError) as e:
        raise Error(f"cannot unpack {name[:100]!r} of an npz: {e}") from e


class _Longer:
    """The first bytes of something longer, as npy() reads them."""

    def __init__(self, start: bytes, size: int) -> None:
        self._start, self._size = start, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: Any) -> Any:
        return self._start[key]


class File(io.RawIOBase):
    """Content as a file to read from, without a copy of it."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._at = content, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self._at, len(self._content))[whence]
        if at < 0:
            raise OSError(22, "Invalid argument")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._content[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def safetensors(content: memoryview) -> dict[str, Member] | None:
    """The tensors of a safetensors file in its own dtypes, None for what is none. Raises Error."""
    if len(content) < 10 or content[8] != ord("{"):
        return None
    length = int.from_bytes(content[:8], "little")
    named = b"data_offsets" in bytes(content[8 : 8 + 65536])
    if not 2 <= length <= MAX_SAFETENSORS_HEADER or not (named or length == len(content) - 8):
        return None
    if length > len(content) - 8:
        raise Error(f"cannot read truncated safetensors: its header has {length:,} bytes, the file {len(content):,}")
    import json

    try:
        fields = json.loads(bytes(content[8 : 8 + length]))
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    fields.pop("__metadata__", None)
    if not named and fields:
        return None
    members: dict[str, Member] = {}
    begin, room = 8 + length, len(content) - 8 - length
    for name, tensor in fields.items():
        try:
            shape, (first, last), dtype = _shape(tensor["shape"]), tensor["data_offsets"], tensor["dtype"]
            if type(first) is not int or type(last) is not int or not isinstance(dtype, str) or not 0 <= first <= last:
                raise ValueError("its data_offsets or dtype make no sense")
            bits = _BITS.get(dtype)
            if bits is not None and math.prod(shape) * bits != (last - first) * 8:
                raise ValueError(f"shape {shape} of {dtype} does not take its {last - first:,} bytes")
        except (KeyError, TypeError, ValueError) as e:
            raise Error(f"cannot read damaged safetensors: tensor {name[:100]!r}: {str(e)[:200]}") from e
        if last > room:
            raise Error(
                f"cannot read truncated safetensors: tensor {name[:100]!r} ends {last - room:,} bytes behind it"
            )
        members[name] = Member(dtype, shape, "C", begin + first, last - first)
    return members
