# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Files are recognised as preforkd recognises them, and no length in a header is believed."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import pickle
import random
import sqlite3
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from preforkd import Error, pk5
from preforkd._headers import member_bytes
from preforkd._recognise import look, recognise

if TYPE_CHECKING:
    from pathlib import Path

numpy = pytest.importorskip("numpy")


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    numpy.save(file, array)
    return file.getvalue()


def zipped(**arrays: Any) -> bytes:
    file = io.BytesIO()
    packed = arrays.pop("packed", False)
    (numpy.savez_compressed if packed else numpy.savez)(file, **arrays)
    return file.getvalue()


def tensors(**fields: Any) -> bytes:
    head = json.dumps(
        {name: {"dtype": d, "shape": s, "data_offsets": o} for name, (d, s, o) in fields.items()}
    ).encode()
    return struct.pack("<Q", len(head)) + head


def test_npy_tells_what_numpy_needs_to_map_it() -> None:
    records = numpy.zeros(3, [("größe", "<f4"), ("n", "<i4", (2, 2))])
    for array in (
        numpy.arange(12.0).reshape(3, 4), numpy.asfortranarray(numpy.ones((5, 6), ">i2")), numpy.array(7),
        numpy.empty((0, 3), "c16"), records, numpy.array(["ab", "c"]), numpy.arange(5).astype("M8[ns]"),
    ):  # fmt: skip
        content = saved(array)
        header = recognise(memoryview(content))
        assert header.format == "npy"
        assert header.dtype is not None
        text = header.dtype
        dtype = numpy.dtype(eval(text) if text.startswith("[") else text)  # noqa: S307
        got = numpy.ndarray(header.shape, dtype, content, header.offset, order=header.order)
        assert got.dtype == array.dtype
        assert got.tobytes() == array.tobytes()
        assert got.flags.c_contiguous == array.flags.c_contiguous


def test_python_objects_are_refused_with_what_to_do_instead() -> None:
    with pytest.raises(Error, match=r"cannot share.*dtype O"):
        recognise(memoryview(saved(numpy.array([{}], object))))


def test_members_of_an_npz_are_found_or_said_to_need_a_copy() -> None:
    half, ids = numpy.arange(100, dtype="f2"), numpy.asfortranarray(numpy.arange(12).reshape(3, 4))
    stored = memoryview(zipped(half=half, ids=ids))
    header = recognise(stored)
    assert header.format == "npz"
    assert list(header.members) == ["half", "ids"]
    assert header.members["ids"].shape == (3, 4)
    assert header.members["ids"].order == "F"
    for name, array in (("half", half), ("ids", ids)):
        member = header.members[name]
        assert member.size == array.nbytes
        if member.offset >= 0:
            assert bytes(stored[member.offset :][: member.size]) == array.tobytes("A")
        assert (numpy.load(io.BytesIO(member_bytes(stored, name))) == array).all()
    packed = recognise(memoryview(zipped(packed=True, half=half)))
    assert packed.members["half"].offset == -1


def test_an_aligned_member_of_an_npz_is_mapped_as_it_lies() -> None:
    file, array = io.BytesIO(), numpy.arange(64, dtype="u1")
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("a.npy")
        info.extra = struct.pack("<HH", 0x9999, 64 - 30 - 5 - 4) + bytes(64 - 30 - 5 - 4)
        archive.writestr(info, saved(array))
    content = memoryview(file.getvalue())
    member = recognise(content).members["a"]
    assert member.offset > 0
    assert member.offset % 64 == 0
    assert bytes(content[member.offset :][:64]) == array.tobytes()


def test_safetensors_tells_its_tensors() -> None:
    content = tensors(a=("F32", [2, 2], [0, 16]), b=("BF16", [3], [16, 22])) + bytes(22)
    header = recognise(memoryview(content))
    assert header.format == "safetensors"
    begin = len(content) - 22
    assert header.members["b"].offset == begin + 16
    assert header.members["b"].dtype == "BF16"
    assert header.members["b"].shape == (3,)
    for damaged in (("F32", [2, 3], [0, 16]), ("F32", [-2], [0, 16]), ("F32", [4], [16, 0]), ("F32", [4], [0, "x"])):
        with pytest.raises(Error, match="damaged"):
            recognise(memoryview(tensors(a=damaged) + bytes(16)))
    with pytest.raises(Error, match="truncated"):
        recognise(memoryview(content[:-1]))


def test_arrow_files_and_streams() -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"a": [1, 2, 3]})
    for make, form in ((arrow.ipc.new_file, "arrow"), (arrow.ipc.new_stream, "arrow-stream")):
        sink = arrow.BufferOutputStream()
        with make(sink, table.schema) as writer:
            writer.write_table(table)
        content = memoryview(sink.getvalue())
        assert recognise(content).format == form
        if form == "arrow":
            with pytest.raises(Error, match="truncated arrow"):
                recognise(content[:-1])
    minus = struct.pack("<iii", -1, 64, 16) + bytes(200)
    assert recognise(memoryview(minus)).format == "raw"


def test_what_is_packed_says_so() -> None:
    for content, kind in (
        (gzip.compress(b"x"), "gzip"), (b"\x28\xb5\x2f\xfd0000", "zstd"), (b"\xfd7zXZ\x00000", "xz"),
        (b"\x04\x22\x4d\x18000", "lz4"), (b"BZh9000", "bz2"),
    ):  # fmt: skip
        assert look(memoryview(content)).kind == kind
        with pytest.raises(Error, match=f"packed with {kind}.*unpack it"):
            recognise(memoryview(content))


def test_raw_content_is_guessed(tmp_path: Path) -> None:
    base = sqlite3.connect(tmp_path / "x.sqlite")
    base.execute("create table t (a)")
    base.commit()
    base.close()
    for content, kind in (
        ((tmp_path / "x.sqlite").read_bytes(), "sqlite"), (b"\x89HDF\r\n\x1a\n00", "hdf5"),
        (b"a,b\n1,2\n3,4\n", "csv"), (b'{"a": 1}', "json"), (b"PAR100000PAR1", "parquet"),
        (pickle.dumps([1, 2, 3, "four"]), "pickle"), (b"hello", "raw"), (b"", "raw"), (bytes(100), "raw"),
    ):  # fmt: skip
        assert look(memoryview(content)).kind == kind
        assert look(memoryview(content)).format == "raw"
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "x")
    assert look(memoryview(other.getvalue())).kind == "zip"


def samples() -> dict[str, bytes]:
    bundle = io.BytesIO()
    pk5.dump([numpy.arange(5)], bundle)
    return {
        "npy": saved(numpy.arange(50, dtype="<i4")),
        "npz": zipped(a=numpy.arange(5), b=numpy.arange(3)),
        "packed npz": zipped(packed=True, a=numpy.arange(500)),
        "safetensors": tensors(a=("F32", [2, 2], [0, 16])) + bytes(16),
        "pk5": bundle.getvalue(),
    }


def test_whatever_is_cut_is_refused_or_raw() -> None:
    for name, content in samples().items():
        for n in range(len(content)):
            with contextlib.suppress(Error):
                assert look(memoryview(content)[:n]).format == "raw", (name, n)


def test_whatever_is_changed_ends_in_an_error_or_within_the_content() -> None:
    rng = random.Random(9)  # noqa: S311
    for content in samples().values():
        for _ in range(1500):
            changed = bytearray(content)
            for _ in range(rng.randint(1, 3)):
                changed[rng.randrange(len(changed))] = rng.choice((0, 1, 255, 128, rng.randrange(256)))
            try:
                header = look(memoryview(changed))
            except Error:
                continue
            for member in header.members.values():
                assert member.offset == -1 or member.offset + member.size <= len(changed)


@pytest.mark.parametrize(
    "text",
    ["(" * 60000, "{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999999999,)}", "{'descr': 1}",
     "{'descr': '<f8', 'fortran_order': False, 'shape': (1 << 40,)}", "[]", "__import__('os')._exit(9)", "-" * 60000],
)  # fmt: skip
def test_a_hostile_npy_header_is_refused(text: str) -> None:
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
    with pytest.raises(Error, match="npy"):
        look(memoryview(content))
