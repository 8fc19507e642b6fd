# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is packed, its private parts are told by name, and nothing that an object does stops that."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import io
import mmap
import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import preforkd
from preforkd import Error, _inband

numpy = pytest.importorskip("numpy")
N = 20_000


def words(what: str = "word", n: int = N) -> list[str]:
    return [f"{what} {i:08d}" for i in range(n)]


def found(obj: object, least: float = 50_000) -> dict[str, _inband.Part]:
    """The parts of an object of which nothing is shared."""
    parts, shared = _inband.parts(obj, [], least)
    assert shared == 0
    return {p.name: p for p in parts}


def rounded(obj: object) -> int:
    """What the allocator takes for it."""
    return (sys.getsizeof(obj) + 15) & ~15


def near(n: float, wanted: float) -> bool:
    return abs(n - wanted) <= wanted * 0.05


class Slots:
    __slots__ = ("numbers", "words")

    def __init__(self) -> None:
        self.words, self.numbers = words(), list(range(1000, 1000 + N))


class Named(NamedTuple):
    words: list[str]
    n: int


def test_containers_of_python_are_told_by_name_and_size() -> None:
    text = N * 64  # that of words()
    assert near(found({"a": {"b": [{"c": {"d": {"e": words()}}}]}})["['a']['b'][0]['c']['d']['e']"].bytes, text + N * 8)
    assert near(found({("t", 1): words(), datetime.date: 0})["[('t', 1)]"].bytes, text + N * 8)
    assert near(found(Slots())[".words"].bytes, text + N * 8)
    assert near(found(Slots())[".numbers"].bytes, N * 40)
    assert near(found(Named(words(), 1))[".words"].bytes, text + N * 8)
    assert near(found(collections.deque(words()))["the deque"].bytes, text + N * 8)
    assert near(found(set(words()))["the set"].bytes, text + 2**21)
    assert near(found([decimal.Decimal(i) for i in range(N)])["the list"].bytes, N * (rounded(decimal.Decimal(1)) + 8))
    assert near(found(array.array("d", range(N * 4)))["the array"].bytes, N * 32)
    table = dict.fromkeys(words(), 1.5)
    assert near(found(table)["the dict"].bytes, text + sys.getsizeof(table))


def test_items_too_small_to_be_told_are_told_with_what_they_belong_to() -> None:
    parts = found({"models": [{"weights": numpy.zeros(1000)} for _ in range(60)], "rest": 1}, least=20_000)
    assert list(parts) == ["['models']"]
    assert near(parts["['models']"].bytes, 60 * 8000 + 60 * 400)
    assert parts["['models']"].kind == "list of 60"


class Derived(numpy.ndarray):  # type: ignore[misc]
    pass


def test_arrays_of_every_kind_are_told_with_what_would_share_them() -> None:
    mixed = numpy.zeros(N, dtype=[("n", "i4"), ("word", "O")])
    mixed["word"] = words()
    made = {
        "strings": numpy.array(words(), dtype=object),
        "mixed": mixed,
        "masked": numpy.ma.array(numpy.arange(N * 4.0), mask=numpy.arange(N * 4) % 3 == 0),
        "subclass": numpy.arange(N * 4.0).view(Derived),
        "objects": numpy.array([*range(N), None], dtype=object),
    }
    parts = found(made)
    assert near(parts["['strings']"].bytes, N * 72)
    assert parts["['strings']"].advice == "astype('U') would be shared"
    assert near(parts["['mixed']"].bytes, N * (4 + 72))
    assert near(parts["['masked']"].bytes, N * 4 * 9)
    assert ".mask would be shared" in parts["['masked']"].advice
    assert near(parts["['subclass']"].bytes, N * 32)
    assert parts["['subclass']"].advice == "numpy.asarray(it) would be shared"
    assert "cannot be shared" in parts["['objects']"].advice


class Stubborn:
    """Whose every look at it fails."""

    def __init__(self) -> None:
        object.__setattr__(self, "words", words("stubborn"))

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __len__(self) -> int:
        raise RuntimeError

    def __iter__(self) -> Any:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError

    def __sizeof__(self) -> int:
        raise RuntimeError


def test_an_object_that_cannot_be_looked_at_is_told_whole_and_the_others_by_name() -> None:
    parts = found({"stubborn": Stubborn(), "words": words()})
    assert near(parts["['words']"].bytes, N * 72)
    assert near(parts["['stubborn']"].bytes, N * (rounded("stubborn 00000000") + 8))
    odd = numpy.empty(N + 1, dtype=object)
    odd[0], odd[1:] = 1, words()
    odd.view()[:1].fill(Stubborn())
    assert near(found({"it": odd})["['it']"].bytes, N * (72 + 8 + rounded("stubborn 00000000")))


def frames() -> dict[str, Any]:
    pandas = pytest.importorskip("pandas")
    dates = pandas.date_range("2000", periods=N, freq="s")
    strings = pandas.Series(words(), dtype=object)
    rows = pandas.MultiIndex.from_arrays([pandas.Index(words("row"), dtype=object), range(N)], names=["row", None])

    class Frame(pandas.DataFrame):  # type: ignore[name-defined, misc]
        pass

    doubled = pandas.DataFrame({"a": strings, "b": dates})
    doubled.columns = ["same", "same"]
    return {
        "rows": (pandas.DataFrame({"x": range(N)}, index=rows), "index level row", N * 72),
        "codes": (pandas.DataFrame({"x": range(N)}, index=rows), "index codes of level 1", N * 2),
        "columns": (pandas.DataFrame({("a", 1): strings, ("b", 2): dates}), "column ('a', 1)", N * 72),
        "alone": (rows, "level row", N * 72),
        "wide": (pandas.DataFrame([range(N)], columns=strings), "names of columns", N * 72),
        "period": (pandas.period_range("2000-01", periods=N, freq="h"), "the PeriodIndex", N * 8),
        "interval": (pandas.DataFrame({"i": pandas.interval_range(0, N)}), "column i", N * 16),
        "category": (pandas.DataFrame({"c": pandas.Categorical(strings)}), "column c", N * 74),
        "zone": (pandas.DataFrame({"t": dates.tz_localize("Europe/Berlin")}), "column t", N * 8),
        "whole": (pandas.DataFrame({"n": pandas.array(range(N), "Int64")}), "column n", N * 9),
        "truth": (pandas.DataFrame({"n": pandas.array([True, None] * N, "boolean")}), "column n", N * 4),
        "python": (pandas.DataFrame({"s": pandas.array(words(), "string[python]")}), "column s", N * 72),
        "sparse": (pandas.DataFrame({"s": pandas.arrays.SparseArray(numpy.arange(N * 1.0))}), "column s", N * 12),
        "took": (pandas.DataFrame({"t": dates - dates[0]}), "column t", N * 8),
        "lists": (pandas.DataFrame({"l": [[i / 3] for i in range(N)]}), "column l", N * (8 + 64 + 32)),
        "arrays": (pandas.DataFrame({"a": pandas.Series([numpy.zeros(9)] * N)}), "column a", N * 8),
        "same": (doubled, "column same", N * 8),
        "subclass": (Frame({"a": strings}), "column a", N * 72),
        "series": (pandas.Series(range(N), index=strings), "index", N * 72),
        "index": (pandas.Index(strings), "the Index", N * 72),
        "groups": (pandas.DataFrame({"k": strings}).groupby("k"), ".obj column k", N * 72),
        "extension": (pandas.array(words(), "string[python]"), "the StringArray", N * 72),
    }


def test_frames_and_what_is_in_them_are_told_by_name() -> None:
    for what, (obj, name, wanted) in frames().items():
        parts = found(obj, least=30_000)
        assert name in parts, (what, parts)
        assert near(parts[name].bytes, wanted), (what, parts)
    pandas = pytest.importorskip("pandas")
    assert found(pandas.DataFrame()) == {}
    assert found(pandas.DataFrame({"a": [], "b": pandas.Series([], dtype=object)})) == {}


def test_columns_of_arrow_are_told_by_name() -> None:
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    kinds = {
        "list": (arrow.array([[i, i] for i in range(N)]), N * 20),
        "struct": (arrow.array([{"a": i, "b": i} for i in range(N)]), N * 16),
        "decimal": (arrow.array([decimal.Decimal(i) for i in range(N)]), N * 16),
        "dictionary": (arrow.array(words()).dictionary_encode(), N * 21),
    }
    frame = pandas.DataFrame({name: pandas.arrays.ArrowExtensionArray(a) for name, (a, _) in kinds.items()})
    parts, table = found(frame), found(arrow.table({name: a for name, (a, _) in kinds.items()}))
    for name, (_, wanted) in kinds.items():
        assert near(parts[f"column {name}"].bytes, wanted), parts
        assert near(table[f"column {name}"].bytes, wanted), table


def test_the_advice_names_arrow_where_arrow_shares_it(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("needs /proc")
    made = pandas.DataFrame({
        "price": [decimal.Decimal(i) / 100 for i in range(N)],
        "day": [datetime.date(2000, 1, 1) + datetime.timedelta(i % 9000) for i in range(N)],
        "blob": pandas.Series([b"%020d" % i for i in range(N)], dtype=object),
        "list": [[i, i / 2] for i in range(N)],
        "dict": [{"a": i} for i in range(N)],
        "vector": pandas.Series([numpy.zeros(5) + i for i in range(N)], dtype=object),
    })  # fmt: skip
    report = preforkd.pack(made, tmp_path / "x.pk5")
    advice = {p.name: p.advice for p in report.parts}
    for name, kind in (
        ("price", "Decimal): shared in .arrow, as decimal128"),
        ("day", "date): shared in .arrow, as date32"),
        ("blob", "bytes): shared in .arrow, as binary"),
        ("list", "list): shared in .arrow, as list"),
        ("dict", "dict): shared in .arrow, as struct"),
        ("vector", "ndarray): shared in .arrow, as list"),
    ):
        assert kind in advice[f"column {name}"], str(report)
    told = preforkd.pack(made, tmp_path / "x.arrow")
    assert told.private is not None
    assert told.private < 300_000 < (report.private or 0), str(told)
    assert told.shared is not None
    assert told.shared > 0.95 * told.size

    made["mixed"] = [i if i % 2 else {"a": i} for i in range(N)]
    report = preforkd.pack(made, tmp_path / "x.pk5")
    advice = {p.name: p.advice for p in report.parts}
    assert advice["column mixed"] == "Python objects (dict) cannot be shared"
    with pytest.raises(Error, match="cannot write this DataFrame as Arrow.*mixed"):
        preforkd.pack(made, tmp_path / "y.arrow")


def test_what_arrow_cannot_hold_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    doubled = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    sparse = pandas.DataFrame({"s": pandas.arrays.SparseArray([0.0, 1.0])})
    for made in (doubled, sparse):
        with pytest.raises(Error, match="cannot write this DataFrame as Arrow.*write .pk5"):
            preforkd.pack(made, tmp_path / "x.arrow")
    assert os.listdir(tmp_path) == []


def test_the_first_line_says_what_is_shared_and_what_is_not(tmp_path: Path) -> None:
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("needs /proc")
    report = preforkd.pack(dict.fromkeys(words(), 1), tmp_path / "x.pk5")
    assert report.shared == 0
    assert "; nothing shared by all workers, " in str(report).partition("\n")[0]
    report = preforkd.pack({"a": numpy.zeros(10**6), "words": words()}, tmp_path / "x.pk5")
    assert "x.pk5: pk5, 8.3 MB; 8.0 MB shared by all workers, 1." in str(report).partition("\n")[0]


def test_converting_shares_the_strings_of_a_multiindex_and_of_categories(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    rows = pandas.MultiIndex.from_arrays([pandas.Index(words("row"), dtype=object), range(N)], names=["row", "n"])
    kinds = pandas.Categorical.from_codes(range(N), pandas.Index(words(), dtype=object))
    made = pandas.DataFrame({"kind": kinds}, index=rows)
    report = preforkd.pack(made, tmp_path / "x.pk5", convert=True)
    assert report.done == (f"index (object, {N:,} values): shared as Arrow strings, None as nan",)
    if report.private is not None:
        assert report.private < 300_000, str(report)
    got: Any = preforkd.load("x", default=tmp_path / "x.pk5")
    assert got.index.tolist() == made.index.tolist()
    assert got.index.names == ["row", "n"]
    assert got["kind"].tolist() == made["kind"].tolist()


class Linked(set):  # type: ignore[type-arg]
    """Its __reduce__ is in C: the walk looks into its state."""

    def __init__(self, around: list[Any]) -> None:
        super().__init__()
        self.around = around


def test_a_state_that_leads_back_to_itself_has_an_end() -> None:
    around: list[Any] = words()
    around.append(around)
    sets = [Linked(around) for _ in range(500)]
    told = sum(p.bytes for p in found(sets).values())
    assert near(told, N * 64 + sys.getsizeof(around) + 500 * (sys.getsizeof(sets[0]) + sys.getsizeof(vars(sets[0]))))


def test_of_dates_no_state_is_kept() -> None:
    dates = {"dates": [datetime.datetime(2000, 1, 1) + datetime.timedelta(seconds=i) for i in range(100_000)]}
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        parts = found(dates)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert near(parts["['dates']"].bytes, 100_000 * (48 + 8))
    assert peak < 20_000_000, "the ids of what was seen, and no more"


def test_columns_of_many_tables_are_all_seen() -> None:
    arrow = pytest.importorskip("pyarrow")
    tables = [arrow.table({"a": arrow.array(range(i, 10_000 + i), arrow.int64())}) for i in range(50)]
    assert near(sum(p.bytes for p in found(tables).values()), 50 * 80_000)


def test_where_maps_tell_another_device_the_inode_must_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(bytes(8192))
    with open(tmp_path / "f", "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        at = _inband.ranges(file.fileno())
        lines = io.StringIO(Path("/proc/self/maps").read_text())  # open itself would ask fstat
        assert [last - first for first, last in at] == [8192]
        status = os.fstat(file.fileno())

        class Status:  # as on btrfs
            st_dev, st_ino = status.st_dev + 1, status.st_ino

        with monkeypatch.context() as patched:
            patched.setattr(_inband.os, "fstat", lambda fd: Status)
            patched.setattr(_inband, "open", lambda *_, **__: lines, raising=False)
            there = _inband.ranges(file.fileno())
        assert there == at
    mapped.close()
