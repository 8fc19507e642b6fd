# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays and tensors of every format are right, without a copy, and cannot be written by accident."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

import preforkd

from .conftest import maps

np = pytest.importorskip("numpy")

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Segments


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def fields(array: Any, content: bytes) -> dict[str, Any]:
    """What preforkd tells of an npy file."""
    descr = np.lib.format.dtype_to_descr(array.dtype)
    return {
        "format": "npy",
        "dtype": descr if isinstance(descr, str) else repr(descr),
        "shape": list(array.shape),
        "order": "F" if np.isfortran(array) else "C",
        "offset": len(content) - array.nbytes,
    }


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> tuple[bytes, dict[str, Any]]:
    """A file, and its members as preforkd tells them."""
    header: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, part) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    members = {
        name: {"dtype": t["dtype"], "shape": t["shape"], "order": "C", "offset": 8 + len(text) + t["data_offsets"][0],
               "size": t["data_offsets"][1] - t["data_offsets"][0]}
        for name, t in header.items()
    }  # fmt: skip
    return len(text).to_bytes(8, "little") + text + data, members


SHAPES = {
    "matrix": np.arange(12, dtype="<f4").reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12, dtype="<i8").reshape(3, 4)),
    "big-endian": np.arange(5, dtype=">f8"),
    "scalar": np.array(7, dtype="<u2"),
    "empty": np.empty((0, 4), dtype="<f4"),
    "structured": np.array([(1, 2.5, b"abc")], dtype=[("a", "<i4"), ("b", "<f8"), ("c", "S3")]),
    "nested": np.zeros(2, dtype=[("p", [("x", "<f4"), ("y", "<f4")]), ("m", "<i2", (2, 3))]),
    "padded": np.zeros(3, dtype=np.dtype([("a", "u1"), ("b", "<i8")], align=True)),
    "text": np.array(["a", "ü"], dtype="<U3"),
    "dates": np.array(["2026-01-01", "NaT"], dtype="<M8[ns]"),
    "bool": np.array([True, False]),
    "large": np.arange(1 << 20, dtype="<f4").reshape(-1, 64),
}


@pytest.mark.parametrize("mode", ["r", "c"])
@pytest.mark.parametrize("name", list(SHAPES))
def test_npy_under_preforkd_and_outside(segments: Segments, tmp_path: Path, name: str, mode: str) -> None:
    want = SHAPES[name]
    content = npy(want)
    segments.give(content, **fields(want, content))
    file = tmp_path / "emb.npy"
    file.write_bytes(content)
    arrays = [preforkd.array("emb", mode=mode)]
    segments.monkeypatch.delenv("PREFORKD_DATA")
    arrays.append(preforkd.array("other", mode=mode, default=file))
    for found in arrays:
        assert (found.dtype, found.shape) == (want.dtype, want.shape)
        assert np.array_equal(found, want) or name == "dates"
        assert found.tobytes() == want.tobytes()
        assert np.isfortran(found) == np.isfortran(want)
        assert found.flags.writeable == (mode == "c")
    assert np.array_equal(preforkd.load("emb").ravel().view("u1"), want.ravel().view("u1"))


def test_a_request_is_a_look_into_a_dict(segments: Segments) -> None:
    want = SHAPES["matrix"]
    content = npy(want)
    segments.give(content, **fields(want, content))
    first = preforkd.array("emb")
    assert preforkd.array("emb") is not first, "nobody can reshape the array of others"
    assert np.shares_memory(first, preforkd.array("emb"))
    assert len(maps("memfd:emb")) == 1


@pytest.mark.parametrize("shape", ["matrix", "large"])  # large: mapped at an address of our choice
def test_the_read_only_array_says_so_and_cannot_be_made_writable(segments: Segments, shape: str) -> None:
    want = SHAPES[shape]
    content = npy(want)
    segments.give(content, **fields(want, content))
    raw = preforkd.data("emb").buffer()
    for view in (np.frombuffer(raw, "u1"), preforkd.array("emb").reshape(-1), preforkd.array("emb").view("u1")):
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.flags.writeable = True
    array = preforkd.array("emb")
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    for mode in ("w", "r+", "w+", "x"):
        with pytest.raises(
            preforkd.Error, match=r"^cannot map dataset 'emb' .*read-only; mode='c' gives this worker a private"
        ):
            preforkd.array("emb", mode=mode)


def test_writes_to_a_copy_are_this_process_s_own(segments: Segments) -> None:
    want = SHAPES["large"]
    content = npy(want)
    segments.give(content, **fields(want, content))
    before = preforkd.memory().private or 0
    mine, shared = preforkd.array("emb", mode="c"), preforkd.array("emb")
    assert mine.sum(dtype="f8") == shared.sum(dtype="f8")
    mine[::64] = -1  # a row of each fourth page: 64 rows are 16 KiB
    assert shared[0, 0] == 0
    assert preforkd.array("emb", mode="c")[0, 0] == -1, "one copy for the process"
    grown = (preforkd.memory().private or 0) - before
    assert want.nbytes / 4 <= grown < want.nbytes / 2, "only the pages that were written are private"
    del mine
    assert len(maps("memfd:emb")) == 1
    assert preforkd.array("emb", mode="c")[0, 0] == 0, "a later one is as fresh as the data"


def test_npz_outside_preforkd(tmp_path: Path) -> None:
    file = tmp_path / "models.npz"
    for save in (np.savez, np.savez_compressed):
        save(file, **{"weights": SHAPES["matrix"], "layer.0.bias": SHAPES["big-endian"], "none": SHAPES["empty"]})
        for found in (preforkd.array("models.weights", default=file), preforkd.data("models", file).array("weights")):
            assert np.array_equal(found, SHAPES["matrix"])
            assert not found.flags.writeable
        assert np.array_equal(preforkd.array("models.layer.0.bias", default=file), SHAPES["big-endian"])
        mine = preforkd.array("models.weights", mode="c", default=file)
        mine[0] = 9
        assert list(preforkd.load("models", default=file)) == ["weights", "layer.0.bias", "none"]
        file = tmp_path / "compressed.npz"


def test_members(segments: Segments) -> None:
    parts = {name: SHAPES[name] for name in ("matrix", "fortran", "structured", "scalar", "empty")}
    content, members = bytearray(), {}
    for name, part in parts.items():
        content += bytes(-len(content) % 4096)
        file = npy(part)
        told = fields(part, file)
        members["layer." + name] = {**told, "offset": len(content) + told["offset"], "size": part.nbytes}
        content += file
    segments.give(bytes(content), "models", format="npz", members=members)
    for name, part in parts.items():
        found = preforkd.array("models.layer." + name)
        assert (found.dtype, found.tobytes()) == (part.dtype, part.tobytes())
    found = preforkd.load("models")
    assert list(found) == list(members)
    assert len(maps("memfd:models")) == 1
    with pytest.raises(
        preforkd.NotFound, match=r"^cannot find member 'layer' of dataset 'models': it has layer.matrix, layer"
    ):
        preforkd.array("models.layer")
    with pytest.raises(
        preforkd.Error, match=r"^cannot make one array of 'models' \(npz\): name one of models.layer.matrix, "
    ):
        preforkd.array("models")
    with pytest.raises(preforkd.Error, match="^cannot give dtype or shape to 'models.layer.matrix'"):
        preforkd.array("models.layer.matrix", dtype="f8")


@pytest.mark.parametrize("told", [True, False])
def test_safetensors(segments: Segments, told: bool) -> None:
    want = np.arange(6, dtype="<f2").reshape(2, 3)
    content, members = safetensors(
        {
            "emb.weight": ("F16", [2, 3], want.tobytes()),
            "half": ("BF16", [2], b"\x80\x3f\x00\x40"),
            "none": ("I64", [0], b""),
        }
    )
    segments.give(content, format="safetensors", **({"members": members} if told else {"members_omitted": True}))
    found = preforkd.array("emb.emb.weight")
    assert found.dtype == np.float16
    assert np.array_equal(found, want)
    assert preforkd.array("emb.none").shape == (0,)
    with pytest.raises(preforkd.Error, match=r"numpy has no BF16; use tensor\(\), or dtype='uint16' for the bits"):
        preforkd.array("emb.half")
    assert preforkd.array("emb.half", dtype="uint16").tolist() == [0x3F80, 0x4000]


def test_raw_bytes_need_a_type(segments: Segments) -> None:
    want = np.arange(24, dtype="<i4")
    segments.give(want.tobytes())
    assert np.array_equal(preforkd.array("emb", dtype="i4"), want)
    assert preforkd.array("emb", dtype=np.int32, shape=(-1, 6)).shape == (4, 6)
    assert preforkd.array("emb", dtype=[("a", "<i4"), ("b", "<i4")]).shape == (12,)
    mine = preforkd.array("emb", dtype="i4", mode="c")
    mine += 1
    assert preforkd.load("emb") == want.tobytes()
    for bad in ({"dtype": "V5"}, {"dtype": "O"}, {"dtype": "no"}, {"dtype": "i4", "shape": (5, 5)}):
        with pytest.raises(preforkd.Error, match=r"^cannot make an array of dtype .* of dataset 'emb': "):
            preforkd.array("emb", **bad)  # type: ignore[arg-type]
    with pytest.raises(preforkd.Error, match=r"^cannot make an array of 'emb' \(raw\): .* give dtype="):
        preforkd.array("emb")
    with pytest.raises(preforkd.NotFound, match="raw has no members"):
        preforkd.array("emb.weights")


def test_a_direct_file_says_itself_what_it_is(segments: Segments, tmp_path: Path) -> None:
    file = tmp_path / "emb.npy"
    np.save(file, SHAPES["matrix"])
    with file.open("rb") as opened:
        segments.give(file.read_bytes(), fd=opened.fileno(), path=str(file), direct=True)
        assert np.array_equal(preforkd.array("emb"), SHAPES["matrix"])


def test_packed_files_outside_preforkd_are_refused(tmp_path: Path) -> None:
    import gzip

    file = tmp_path / "emb.npy.gz"
    file.write_bytes(gzip.compress(npy(SHAPES["matrix"])))
    with pytest.raises(preforkd.Error, match=r"^cannot use .*emb.npy.gz as dataset 'emb': .*gzip"):
        preforkd.array("emb", default=file)


def test_a_description_that_does_not_fit_is_an_error(segments: Segments) -> None:
    content = npy(SHAPES["matrix"])
    segments.give(content, **{**fields(SHAPES["matrix"], content), "shape": [1 << 40, 1 << 40]})
    with pytest.raises(preforkd.Error, match="^cannot make an array of 'emb'"):
        preforkd.array("emb")


def test_arrow_is_no_array(segments: Segments) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"id": [1, 2, 3], "word": ["a", "b", None]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content = sink.getvalue().to_pybytes()
    segments.give(content, "users", format="arrow")
    assert preforkd.load("users").equals(table)
    with pytest.raises(preforkd.Error, match=r"^cannot make an array of 'users' \(arrow\): use load"):
        preforkd.array("users")
    with pytest.raises(preforkd.Error, match="use load"):
        preforkd.array("users", dtype="u1")
