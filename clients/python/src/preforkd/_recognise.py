# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Tells what content is and where its arrays lie, as preforkd does when it loads: for files read outside preforkd, for
`inspect`, and where PREFORKD_DATA had no room for all members.

No length in a header is believed before it was compared with what there is, nothing is unpickled, and nothing is copied
but headers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from . import pk5
from ._contract import Error, Member
from ._headers import npy, npz, safetensors

# What a file is packed with, by its first bytes; preforkd unpacks all but bz2.
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"BZh": "bz2",
}
_WHOLE = {b"SQLite format 3\x00": "sqlite", b"\x89HDF\r\n\x1a\n": "hdf5"}
_ARROW = b"ARROW1\0\0"
_CONTINUATION = b"\xff\xff\xff\xff"
_PEEK = 64 << 10


@dataclass(frozen=True)
class Header:
    """What content says of itself.

    format is one of preforkd's; kind is the same, or what raw content is: gzip, zstd, xz, lz4, bz2, sqlite, hdf5,
    parquet, pickle, zip, json, csv or raw. offset and the sizes are bytes in the content.
    """

    format: str = "raw"
    kind: str = "raw"
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    order: str = "C"
    offset: int = 0
    members: dict[str, Member] = field(default_factory=dict)


def recognise(content: memoryview) -> Header:
    """What content is, for one who wants to use it.

    Raises Error where it is damaged, packed or of Python objects.
    """
    header = look(content)
    if header.kind in _PACKED.values():
        how = "" if header.kind == "bz2" else ", or run under preforkd, which unpacks it once while it loads"
        raise Error(f"cannot use a file packed with {header.kind} as it is: unpack it{how}")
    return header


def look(content: memoryview) -> Header:
    """What content is. Raises Error where it is damaged or holds Python objects."""
    head = bytes(content[:_PEEK])
    for magic, kind in {**_PACKED, **_WHOLE}.items():
        if head.startswith(magic):
            return Header(kind=kind)
    if head.startswith(b"\x93NUMPY"):
        array = npy(content)
        return Header("npy", "npy", array.dtype, array.shape, array.order, array.offset)
    if head.startswith(b"PK\x03\x04"):
        members = npz(content)
        return Header(kind="zip") if members is None else Header("npz", "npz", members=members)
    if head.startswith(_ARROW):
        if len(content) < 18 or content[-6:] != _ARROW[:6]:
            raise Error("cannot read truncated arrow: it does not end with ARROW1")
        return Header("arrow", "arrow")
    if head.startswith(_CONTINUATION) and _begins_schema(head):
        return Header("arrow-stream", "arrow-stream")
    if head.startswith(pk5.MAGIC):
        pk5.table(content)
        return Header("pk5", "pk5")
    tensors = safetensors(content)
    if tensors is not None:
        return Header("safetensors", "safetensors", members=tensors)
    return Header(kind=_kind(content, head))


def _kind(content: memoryview, head: bytes) -> str:
    """What raw content probably is."""
    if len(content) >= 8 and head.startswith(b"PAR1") and bytes(content[-4:]) == b"PAR1":
        return "parquet"
    # Protocol 2 and later; from 4 on all but the shortest begin with a FRAME.
    if len(content) >= 4 and head[0] == 0x80 and content[-1] == ord("."):
        if head[1] in (2, 3) and head[2] in b"]}()cXBCUGJKMNq\x85\x86\x87\x88\x89":
            return "pickle"
        if head[1] in (4, 5) and head[2] == 0x95:
            return "pickle"
    cut = len(head) < len(content)
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        if not cut or e.start < len(head) - 3:
            return "raw"
        text = head[: e.start].decode("utf-8-sig")
    if any(c < " " and c not in "\t\n\r" for c in text):
        return "raw"
    if text.lstrip()[:1] in ("{", "["):
        return "json"
    return "csv" if _looks_like_csv(text, cut) else "raw"


def _looks_like_csv(text: str, cut: bool) -> bool:
    """At least three lines with the same number of the same delimiter."""
    lines = [line for line in text.split("\n") if line.strip()]
    if cut:
        lines = lines[:-1]
    counts = [[line.count(d) for line in lines if '"' not in line] for d in ",\t;|"]
    return any(len(c) >= 3 and c[0] > 0 and min(c) == max(c) for c in counts)


def _begins_schema(head: bytes) -> bool:
    """Whether the first message of what may be an Arrow stream is a Schema: numbers like -1 begin alike."""
    length = int.from_bytes(head[4:8], "little", signed=True)
    message = head[8 : 8 + max(length, 0)]

    def number(at: int, size: int) -> int:
        if not 0 <= at <= len(message) - size:
            raise IndexError
        return int.from_bytes(message[at : at + size], "little")

    try:  # FlatBuffers: the root table, its vtable, and of that the fields 0 (version: V4, V5), 1 (kind: Schema), 2
        root = number(0, 4)
        vtable = root - int.from_bytes(message[root : root + 4], "little", signed=True)
        fields = [number(vtable + 4 + 2 * i, 2) if number(vtable, 2) >= 6 + 2 * i else 0 for i in range(3)]
        return (
            length >= 8
            and root > 0
            and all(fields)
            and number(root + fields[0], 2) in (3, 4)
            and number(root + fields[1], 1) == 1
        )
    except IndexError:
        return False
