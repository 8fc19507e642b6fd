# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Variables and files that lie: an Error, never a crash, another exception or what lies outside the mapping."""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

import preforkd
from preforkd import _contract, _dataset, _recognise, _sockets

from .conftest import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Segments

CONTENT = b"a" * 4096
ENTRY = '"path": "/nowhere", "size": 1, "version": 1'


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "1" * 5000,
        "null",
        "3",
        f'{{"emb": {{"fd": 3, {ENTRY}}}, "users": {{"fd": "x", {ENTRY}}}}}',
    ],
)
def test_a_variable_of_garbage_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PREFORKD_DATA", text)
    with pytest.raises(preforkd.Error, match="^cannot (read|understand)"):
        preforkd.buffer("emb")


@pytest.mark.parametrize(
    "field",
    [
        *({"fd": fd} for fd in ("3", -1, True, float("nan"))),
        *({"path": path} for path in (1, None, "a\0b")),
        *({"shape": shape} for shape in ([-1], "12", [1.5], [1e400], [1 << 63])),
        *({name: n} for name in ("size", "offset") for n in (-5, 1 << 64)),
        *({"version": []}, {"format": []}, {"dtype": 5}, {"members": 5}),
        {"members": {"a": {"dtype": "F32", "shape": [-2, -2], "offset": 0, "size": 16}}},
    ],
    ids=str,
)
def test_fields_that_make_no_sense_are_an_error(segments: Segments, field: dict[str, Any]) -> None:
    segments.give(CONTENT)
    told = {**segments.told["emb"], **field}
    segments.monkeypatch.setenv("PREFORKD_DATA", json.dumps({"emb": told}))
    with pytest.raises(preforkd.Error, match="^cannot understand what PREFORKD_DATA says of 'emb'"):
        preforkd.buffer("emb")


def arrays(segments: Segments, **fields: Any) -> None:
    segments.give(CONTENT, **{"format": "npy", "dtype": "<f4", "shape": [4], **fields})


@pytest.mark.parametrize("dtype", ["O", "|O8", "[('a', 'O')]", "[('a', '<f4'), ('b', [('c', '|O')])]", "('O', (2,))"])
@pytest.mark.parametrize("mode", ["r", "c"])
def test_no_bytes_are_taken_for_addresses_of_objects(segments: Segments, dtype: str, mode: str) -> None:
    pytest.importorskip("numpy")
    arrays(segments, dtype=dtype)
    with pytest.raises(preforkd.Error, match=r"^cannot share an npy of Python objects"):
        preforkd.array("emb", mode=mode)


def test_the_bits_of_what_numpy_lacks_are_no_objects(segments: Segments) -> None:
    pytest.importorskip("numpy")
    members = {"a": {"dtype": "BF16", "shape": [2], "offset": 0, "size": 16}}
    segments.give(CONTENT, format="safetensors", members=members)
    with pytest.raises(preforkd.Error, match="numpy has no BF16"):
        preforkd.array("emb.a", dtype="O")
    assert preforkd.array("emb.a", dtype="u8").shape == (2,)


@pytest.mark.parametrize("dtype", ["[" * 9000, "(1,2", "()", "[__import__('os')]", "{'a': 1}", "f4," * 900, "f4\n", ""])
def test_a_dtype_that_is_none_is_an_error(segments: Segments, dtype: str) -> None:
    pytest.importorskip("numpy")
    arrays(segments, dtype=dtype)
    with pytest.raises(preforkd.Error, match=r"^cannot make an array of 'emb' \(npy\): .*; is the file damaged\?"):
        preforkd.array("emb")


SHAPES: list[dict[str, Any]] = [
    {"shape": [1025]},
    {"shape": [1 << 62]},
    {"shape": [1 << 61], "dtype": "<f8"},
    {"shape": [1 << 40, 1 << 40]},
    {"shape": [1], "offset": 4093},
    {"shape": [1], "offset": 1 << 62},
]


@pytest.mark.parametrize("fields", SHAPES, ids=str)
def test_an_array_does_not_reach_outside(segments: Segments, fields: dict[str, Any]) -> None:
    pytest.importorskip("numpy")
    arrays(segments, **fields)
    with pytest.raises(preforkd.Error, match="is the file damaged"):
        preforkd.array("emb")


@pytest.mark.parametrize("fields", SHAPES, ids=str)
def test_a_tensor_does_not_reach_outside(segments: Segments, fields: dict[str, Any]) -> None:
    pytest.importorskip("torch", reason="needs torch (Debian: python3-torch)")
    arrays(segments, **fields)
    with pytest.raises(preforkd.Error, match="ends behind its end; is the file damaged"):
        preforkd.tensor("emb")


def test_a_default_that_is_no_file_is_an_error_and_hangs_nobody(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = threading.Event()

    def feed() -> None:  # what would wait for a writer gets one in the end
        if not done.wait(5):
            os.close(os.open(pipe, os.O_WRONLY))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        for path in (pipe, "/dev/zero"):
            with pytest.raises(preforkd.Error, match=f"^cannot use {path}, the default of dataset 'emb': it is a pipe"):
                preforkd.buffer("emb", default=path)
        assert not done.is_set()
    finally:
        done.set()
        feeder.join(PATIENCE)
    with pytest.raises(preforkd.Error, match="^cannot open"):
        preforkd.buffer("emb", default="a\0b")


def test_a_packed_npz_is_read_from_what_was_opened(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    file = tmp_path / "a.npz"
    np.savez_compressed(file, a=np.arange(1000))
    emb = preforkd.data("emb", default=file)
    np.savez_compressed(tmp_path / "b.npz", a=np.zeros(3))
    (tmp_path / "b.npz").rename(file)
    assert (emb.array("a") == np.arange(1000)).all()
    assert not emb.array("a").flags.writeable


def test_a_direct_file_is_looked_at_before_any_thread_uses_it(
    segments: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np = pytest.importorskip("numpy")
    file = tmp_path / "db.npy"
    np.save(file, np.arange(5))
    fd = os.open(file, os.O_RDONLY)
    segments.give(file.read_bytes(), "db", fd=fd, path=str(file), direct=True)
    inside, other = threading.Event(), threading.Event()
    real = _recognise.recognise

    def slow(content: memoryview) -> Any:
        inside.set()
        other.wait(0.5)
        return real(content)

    monkeypatch.setattr(_recognise, "recognise", slow)
    found: list[Any] = []

    def get() -> None:
        try:
            found.append(preforkd.load("db"))
        except preforkd.Error as e:
            found.append(e)
        other.set()

    threads = [threading.Thread(target=get) for _ in range(2)]
    threads[0].start()
    assert inside.wait(PATIENCE)
    threads[1].start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [getattr(a, "shape", a) for a in found] == [(5,), (5,)]
    os.close(fd)


def test_a_direct_file_that_is_damaged_stays_an_error(segments: Segments, tmp_path: Path) -> None:
    file = tmp_path / "db.npy"
    file.write_bytes(b"\x93NUMPY\x01\x00")
    fd = os.open(file, os.O_RDONLY)
    segments.give(file.read_bytes(), "db", fd=fd, path=str(file), direct=True)
    for _ in range(2):
        with pytest.raises(preforkd.Error, match="truncated npy"):
            preforkd.load("db")
    os.close(fd)


def test_a_number_that_is_another_file_of_the_same_inode_is_not_closed(
    segments: Segments, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments.give(CONTENT)
    d = preforkd.data("emb")
    real = os.fstat

    def elsewhere(fd: int) -> os.stat_result:
        return os.stat_result([n + (i == 2) for i, n in enumerate(real(fd))])  # st_dev

    assert d.fd is not None
    monkeypatch.setattr(os, "fstat", elsewhere)
    assert not _dataset._is(d.fd, d._ino)


def test_an_npz_whose_directory_lies_is_an_error() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY")
    content = bytearray(file.getvalue())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (100).to_bytes(4, "little")  # its size, beside that in the file
    with pytest.raises(preforkd.Error, match="^cannot read"):
        _recognise.look(memoryview(bytes(content)))


@pytest.mark.parametrize("count", ["2000000000", "-5", "x", "9" * 5000])
def test_a_number_of_listeners_that_is_nonsense_is_no_list_of_them(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("LISTEN_FDS", count)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    assert len(_sockets._names()) <= 1 << 16
    with pytest.raises(preforkd.NotFound, match="^cannot find listener 'http'"):
        preforkd.socket("http")


def test_inodes_are_read_from_what_preforkd_tells(segments: Segments) -> None:
    told = segments.give(CONTENT)
    assert _contract.entries()["emb"].ino == told["ino"] == os.fstat(told["fd"]).st_ino
