# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""inspect says what of a file would be shared, advises where nothing would, and never runs what is in a pickle."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from typing import TYPE_CHECKING

import pytest

import preforkd
from preforkd import Error
from preforkd._inspect import estimate, inspect

if TYPE_CHECKING:
    from pathlib import Path

numpy = pytest.importorskip("numpy")


def test_arrays_are_shared(tmp_path: Path) -> None:
    numpy.save(tmp_path / "a.npy", numpy.zeros((10, 4), "f4"))
    numpy.savez(tmp_path / "a.npz", x=numpy.zeros(10), y=numpy.ones((2, 3), "i2"))
    text = inspect(str(tmp_path / "a.npy"))
    assert "npy, 288 B" in text
    assert "<f4 (10, 4), order C: shared" in text
    text = inspect(str(tmp_path / "a.npz"))
    assert "x: <f8 (10,), 80 B" in text
    assert "y: <i2 (2, 3), 12 B" in text
    assert "private per worker: nothing" in text


def test_a_bundle_tells_what_stays_in_its_pickle(tmp_path: Path) -> None:
    made = {"a": numpy.zeros(1_000_000), "ts": numpy.arange(500_000).astype("M8[s]"), "text": "x" * 50_000}
    preforkd.pack(made, tmp_path / "x.pk5")
    text = inspect(str(tmp_path / "x.pk5"))
    assert "shared: 8.0 MB in 1 buffers" in text
    assert "a piece of 4.0 MB in the pickle" in text
    assert "private per worker: about 4.1 MB" in text
    assert "needs to load: numpy" in text


def test_a_pickle_is_never_unpickled(tmp_path: Path) -> None:
    code = b"__import__('os')._exit(9)"
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02cbuiltins\nexec\n(X" + struct.pack("<I", len(code)) + code + b"tR.")
    text = inspect(str(tmp_path / "x.pkl"))
    assert "pickle" in text
    assert f"pack {tmp_path}/x.pkl OUT.pk5" in text


def test_of_a_pickle_it_tells_the_arrays_that_packing_would_share(tmp_path: Path) -> None:
    made = {"a": numpy.zeros(1_000_000), "f": numpy.ones((10, 10_000), order="F"), "words": [str(i) for i in range(99)]}
    for protocol in (2, 3, 4, 5):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(made, protocol=protocol))
        text = inspect(str(tmp_path / "x.pkl"))
        assert "packing shares up to 8.8 MB of arrays; what classes copy as they are loaded is not seen here" in text
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(["word"] * 99, protocol=5))
    assert "packing shares nothing: no array of numpy is in it" in inspect(str(tmp_path / "x.pkl"))


def test_joblibs_files_are_read_past_their_arrays(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    made = {"a": numpy.zeros((1000, 1000)), "o": numpy.array(["x", 1, None] * 9, dtype=object), "b": numpy.ones(10**5)}
    path = str(tmp_path / "x.joblib")
    joblib.dump([made, "the end", numpy.zeros(4, [("n", "i4"), ("t", "U3")])], path)
    text = inspect(path)
    assert "x.joblib: joblib, 8.8 MB" in text
    assert "private per worker: about 8.8 MB" in text
    assert "packing shares up to 8.8 MB of arrays" in text
    assert "needs to load: joblib, numpy" in text
    joblib.dump(made, path, compress=3)
    assert "packed joblib" in inspect(path)
    assert f"pack {path} OUT.pk5" in inspect(path)


def test_a_forest_is_known_to_copy_its_arrays(tmp_path: Path) -> None:
    def array(n: int) -> bytes:
        return pickle.dumps(numpy.zeros(n), protocol=4)[11:-1].replace(
            b"\x94", b""
        )  # not remembered: to be put together

    tree = (
        b"csklearn.tree._tree\nTree\n(K\x01tR}(\x8c\x05nodes" + array(10**6) + b"\x8c\x06values" + array(10**5) + b"ub"
    )
    for name, other in (("forest", b""), ("model", array(2 * 10**6))):
        (tmp_path / name).write_bytes(b"\x80\x04\x95" + bytes(8) + b"](" + other + tree + b"e.")
    text = inspect(str(tmp_path / "forest"))
    assert "packing shares nothing of the 8.8 MB of arrays in it: sklearn.tree._tree.Tree copies its arrays" in text
    text = inspect(str(tmp_path / "model"))
    assert "packing shares up to 16.0 MB of arrays; 8.8 MB stay private: sklearn.tree._tree.Tree copies" in text


def test_the_real_ones_of_scikit_learn(tmp_path: Path) -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    joblib = pytest.importorskip("joblib")
    rows = numpy.random.default_rng(0).random((1000, 4))
    made = ensemble.RandomForestRegressor(5, random_state=0).fit(rows, rows[:, 0])
    for name, write in (("x.joblib", joblib.dump), ("x.pkl", lambda obj, to: to.write_bytes(pickle.dumps(obj)))):
        write(made, tmp_path / name)
        text = inspect(str(tmp_path / name))
        assert "packing shares nothing of the " in text
        assert "sklearn.tree._tree.Tree copies" in text
    preforkd.pack(made, tmp_path / "x.pk5")
    assert "of them each worker copies (sklearn.tree._tree.Tree)" in inspect(str(tmp_path / "x.pk5"))


def test_an_estimate_is_near_what_python_takes() -> None:
    strings = [f"word {i:08d}" for i in range(50_000)]
    found = estimate(memoryview(pickle.dumps(strings, protocol=5)))
    assert abs(found.private - 50_000 * (64 + 8)) < 50_000 * 20
    many = estimate(memoryview(pickle.dumps(list(range(1000, 400_000)), protocol=5)))  # more opcodes than are read
    assert abs(many.private - 400_000 * 40) < 400_000 * 20


def test_what_cannot_be_shared_is_advised_about(tmp_path: Path) -> None:
    for name, content, advice in (
        ("a.csv", b"a,b\n1,2\n3,4\n", "pack FILE OUT.arrow"),
        ("a.json", json.dumps({"a": [1, 2]}).encode(), "npy, npz"),
        ("a.npy.gz", gzip.compress(b"x"), "preforkd unpacks it once"),
        ("a.bz2", b"BZh91AY", "does not unpack bz2"),
        ("a.sqlite", b"SQLite format 3\x00", "direct:FILE"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "direct:FILE"),
        ("a.parquet", b"PAR1....PAR1", "pack FILE OUT.arrow"),
        ("a.bin", bytes(100), "workers share its bytes"),
    ):
        (tmp_path / name).write_bytes(content)
        assert advice.replace("FILE", str(tmp_path / name)) in inspect(str(tmp_path / name)), name


def test_arrow_tells_columns_and_compression(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    feather = pytest.importorskip("pyarrow.feather")
    table = arrow.table({"a": numpy.arange(100_000), "b": ["text"] * 100_000})
    feather.write_feather(table, str(tmp_path / "plain.arrow"), compression="uncompressed")
    feather.write_feather(table, str(tmp_path / "packed.arrow"), compression="lz4")
    text = inspect(str(tmp_path / "plain.arrow"))
    assert "column a: int64" in text
    assert "100,000 rows; private per worker: 0 B" in text
    assert "compressed" in inspect(str(tmp_path / "packed.arrow"))
    content = bytearray((tmp_path / "plain.arrow").read_bytes())
    content[-200:-10] = bytes(190)
    (tmp_path / "damaged.arrow").write_bytes(content)
    with pytest.raises(Error, match="damaged arrow"):
        inspect(str(tmp_path / "damaged.arrow"))


def test_an_empty_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(Error, match="empty"):
        inspect(str(tmp_path / "empty"))
    (tmp_path / "x.pkl").write_bytes(b"\x80\x05\x95" + bytes(100) + b".")
    with pytest.raises(Error, match="cannot read damaged pickle"):
        inspect(str(tmp_path / "x.pkl"))
    wrapper = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}"
    negative = b"(\x8c\x05shapeJ\xff\xff\xff\xff\x85\x8c\x05dtypecnumpy\ndtype\n\x8c\x02f8\x85Rub"
    for stream in (b"u", b"b", b"\x94", b"t", b"R", b"(K\x01K\x02u", b"\x93", wrapper + b"b", wrapper + negative):
        (tmp_path / "x.pkl").write_bytes(b"\x80\x04\x95" + bytes(8) + stream + b".")
        with pytest.raises(Error, match="cannot read damaged pickle"):
            inspect(str(tmp_path / "x.pkl"))


def test_what_it_did_not_look_at_it_does_not_tell_as_nothing(tmp_path: Path) -> None:
    made = {"words": [f"word {i}" for i in range(150_000)], "emb": numpy.zeros(100_000)}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(made))
    text = inspect(str(tmp_path / "x.pkl"))
    assert "packing shares nothing" not in text
    assert "in its first 200,000 opcodes are 0 B of arrays that packing shares; pack sees all" in text


# numpy's array as joblib writes it, with this for its dtype and its shape.
WRAPPER = (
    b"\x80\x04\x95" + bytes(8) + b"\x8c\x1ajoblib.numpy_pickle_compat\x8c\x11NumpyArrayWrapper\x93)\x81}("
    b"\x8c\x05dtype\x8c\x05numpy\x8c\x05dtype\x93%s\x85R\x8c\x05shape%sub."
)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        (b")" + b"2\x86" * 60, b"K\x01\x85"),  # a tuple of 2^60 tuples
        (b"\x8c\x02f8", b"(" + b"K\x02" * 100_000 + b"t"),
        (b"\x8c\x02f8", b"\x8a\xff" + b"\x7f" * 255 + b"\x85"),
        (b"\x8c\x02f8", b"K\x01"),
        (b"\x8c\x0bf8888888888", b"K\x01\x85"),
    ],
)
def test_an_array_of_joblib_that_can_be_none(tmp_path: Path, dtype: bytes, shape: bytes) -> None:
    (tmp_path / "x.joblib").write_bytes(WRAPPER % (dtype, shape))
    with pytest.raises(Error, match="^cannot read damaged pickle: an array of joblib without a dtype and a shape"):
        inspect(str(tmp_path / "x.joblib"))


def test_a_pickle_that_tells_of_more_memory_than_there_is(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(
        b"\x80\x04\x95" + bytes(8) + b"\x8e" + struct.pack("<Q", 1 << 46) + b"x" * 100 + b"."
    )
    with pytest.raises(Error, match="^cannot read damaged pickle: (?!it does not begin)"):
        inspect(str(tmp_path / "x.pkl"))
