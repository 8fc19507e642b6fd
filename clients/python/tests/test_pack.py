# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""pack writes what workers share, and says by name and size what each will have private."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import preforkd
from preforkd import Error, _inband

if TYPE_CHECKING:
    from pathlib import Path

numpy = pytest.importorskip("numpy")
MB = 1_000_000


def within(value: float, wanted: float, share: float = 0.05, slack: int = 500_000) -> bool:
    return abs(value - wanted) <= max(wanted * share, slack)


def part(report: Any, name: str) -> _inband.Part:
    found = [p for p in report.parts if p.name == name]
    assert len(found) == 1, str(report)
    return found[0]


@pytest.fixture
def measured() -> None:
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("needs /proc")


@pytest.mark.usefixtures("measured")
def test_arrays_of_numbers_leave_nothing_private(tmp_path: Path) -> None:
    report = preforkd.pack({"a": numpy.zeros(MB), "b": numpy.ones((500, 500), "f4")}, tmp_path / "x.pk5")
    assert report.format == "pk5"
    assert report.size == os.path.getsize(tmp_path / "x.pk5") > 9 * MB
    assert report.private is not None
    assert report.private < 300_000
    assert "next to nothing" in str(report)
    assert preforkd.load("x", default=tmp_path / "x.pk5")["b"].sum() == 250_000  # type: ignore[index]


@pytest.mark.usefixtures("measured")
def test_what_stays_private_is_told_by_name_and_size(tmp_path: Path) -> None:
    words = {f"word {i:08d}": i for i in range(100_000)}
    made = {
        "ts": numpy.arange(2 * MB).astype("M8[s]"),
        "strided": numpy.arange(4 * MB, dtype="f4")[::2],
        "words": words,
        "blob": os.urandom(5 * MB),
        "shared": numpy.zeros(MB),
    }
    report = preforkd.pack(made, tmp_path / "x.pk5")
    assert within(part(report, "['ts']").bytes, 16 * MB)
    assert part(report, "['ts']").kind == "datetime64[s] array"
    assert "convert" in part(report, "['ts']").advice
    assert within(part(report, "['strided']").bytes, 8 * MB)
    assert within(part(report, "['blob']").bytes, 5 * MB)
    assert part(report, "['words']").kind == "dict of 100,000"
    assert "['shared']" not in str(report)
    # str, int and the dict's own table
    assert 100_000 * (62 + 32 + 40) < part(report, "['words']").bytes < 100_000 * (64 + 32 + 120)
    assert report.private is not None
    assert within(sum(p.bytes for p in report.parts), report.private)
    assert "column" not in str(report)
    assert "['ts'] (datetime64[s] array): 16.0 MB per worker" in str(report)


@pytest.mark.usefixtures("measured")
def test_convert_shares_what_can_be_and_says_so(tmp_path: Path) -> None:
    made = {"ts": numpy.arange(MB).astype("M8[s]"), "strided": numpy.arange(2 * MB, dtype="f4")[::2], "text": "x" * MB}
    report = preforkd.pack(made, tmp_path / "x.pk5", convert=True)
    assert set(report.done) == {
        "array (1000000,) (datetime64[s]): shared as int64",
        "array (1000000,) (float32): made contiguous",
    }
    assert [p.name for p in report.parts if p.bytes > 100_000] == ["['text']"]
    assert report.private is not None
    assert within(report.private, MB)
    got: Any = preforkd.load("x", default=tmp_path / "x.pk5")
    assert (got["ts"] == made["ts"]).all()
    assert (got["strided"] == made["strided"]).all()


def frame(rows: int) -> Any:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    made = pandas.DataFrame({
        "f": numpy.arange(rows) / 3,
        "n": numpy.arange(rows),
        "kind": pandas.Categorical.from_codes(numpy.arange(rows) % 3, ["a", "b", "c"]),
        "maybe": pandas.Categorical.from_codes(numpy.arange(rows) % 3 - 1, ["a", "b"], ordered=True),
        "ts": pandas.Timestamp("2020-01-01") + pandas.to_timedelta(numpy.arange(rows), unit="s"),
        "utc": (pandas.Timestamp("2020-01-01", tz="UTC") + pandas.to_timedelta(numpy.arange(rows), unit="s")),
        "took": pandas.to_timedelta(numpy.arange(rows), unit="ms"),
        "month": pandas.period_range("2000-01", periods=1, freq="M").repeat(rows),
        "whole": pandas.array(numpy.arange(rows), "Int64"),
        "arrow": pandas.Series([f"arrow {i}" for i in range(rows)], dtype="string[pyarrow]"),
        "word": pandas.Series([None if i % 100 == 0 else f"word {i:08d}" for i in range(rows)], dtype=object),
        "mixed": pandas.Series([i if i % 2 else str(i) for i in range(rows)], dtype=object),
    })  # fmt: skip
    made.index = pandas.Index([f"row {i}" for i in range(rows)], dtype=object, name="id")
    return made


@pytest.mark.usefixtures("measured")
def test_columns_of_a_frame_are_named_and_converted(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = 60_000
    made = frame(rows)
    plain = preforkd.pack(made, tmp_path / "plain.pk5")
    told = {p.name: p for p in plain.parts}
    for name, width in (("ts", 8), ("utc", 8), ("took", 8), ("word", 8 + 64), ("mixed", 8 + 44)):
        assert within(told[f"column {name}"].bytes, rows * width, 0.08), (name, str(plain))
    assert told["column ts"].kind == str(made["ts"].dtype)
    assert "column f" not in told
    assert "column whole" not in told
    assert "Arrow strings" in told["column word"].advice
    assert "cannot be shared" in told["column mixed"].advice
    assert within(sum(p.bytes for p in plain.parts), plain.private or 0)

    report = preforkd.pack({"deep": [made]}, tmp_path / "converted.pk5", convert=True)
    for name, how in (("ts", "shared as int64"), ("utc", "shared as int64"), ("word", "shared as Arrow strings")):
        assert any(text.startswith(f"column {name} (") and how in text for text in report.done), report.done
    large = [p.name for p in report.parts if p.bytes > 100_000 and not p.name.startswith("what ")]
    assert large == ["['deep'][0] column mixed"], str(report)
    got: Any = preforkd.load("x", default=tmp_path / "converted.pk5")
    got = got["deep"][0]
    assert got.index.tolist() == made.index.tolist()
    for name in made.columns.drop("word"):
        pandas.testing.assert_series_equal(got[name].reset_index(drop=True), made[name].reset_index(drop=True))
    assert got["word"].astype(object).where(got["word"].notna(), None).tolist() == made["word"].tolist()
    assert made["word"].dtype == object  # what was packed has not changed


@pytest.mark.usefixtures("measured")
def test_arrow_gives_a_frame_of_views_with_its_index(tmp_path: Path) -> None:
    rows = 60_000
    made = frame(rows).drop(columns=["mixed"])
    report = preforkd.pack(made, tmp_path / "x.arrow")
    assert report.format == "arrow"
    assert report.private is not None
    assert report.private < 500_000, str(report)  # the codes of the category with missing values are made anew
    got: Any = preforkd.load("x", default=tmp_path / "x.arrow")
    assert got.index.tolist() == made.index.tolist()
    assert got.index.name == "id"
    assert got["word"].isna().sum() == rows // 100
    for name in made.columns:
        if name in ("word", "month"):
            continue
        assert got[name].tolist() == made[name].tolist() or name == "maybe", name
    assert got["kind"].cat.categories.tolist() == ["a", "b", "c"]
    assert got["maybe"].cat.ordered
    assert got["maybe"].astype(object).where(got["maybe"].notna(), None).tolist() == (
        made["maybe"].astype(object).where(made["maybe"].notna(), None).tolist()
    )


def test_a_table_stays_a_table(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    made = arrow.table({"a": [1, 2, 3], "b": ["x", None, "z"]})
    report = preforkd.pack(made, tmp_path / "x.arrow")
    assert report.problem == ""
    assert preforkd.load("x", default=tmp_path / "x.arrow").equals(made)  # type: ignore[attr-defined]
    with pytest.raises(Error, match="cannot write a dict as Arrow"):
        preforkd.pack({}, tmp_path / "y.arrow")
    assert os.listdir(tmp_path) == ["x.arrow"]


class Local:
    """A class that only this module has, which a fresh process cannot import."""


def test_what_a_fresh_process_cannot_load_is_a_problem_that_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Local, "__module__", "__main__")
    monkeypatch.setattr("__main__.Local", Local, raising=False)
    report = preforkd.pack(Local(), tmp_path / "x.pk5")
    assert "Local" in report.problem
    assert "not from __main__" in str(report)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "x.pk5").write_bytes(b"old")
    with pytest.raises((TypeError, AttributeError)):
        preforkd.pack({"a": numpy.arange(5), "b": lambda: 1}, tmp_path / "x.pk5")
    assert (tmp_path / "x.pk5").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.pk5"]
    with pytest.raises(Error, match=r"must end in \.pk5 or \.arrow"):
        preforkd.pack({}, tmp_path / "x.bin")
    assert preforkd.pack({}, tmp_path / "x.bin", format="pk5").format == "pk5"


def test_sizes_are_for_people() -> None:
    told = [_inband.size(n) for n in (0, 999, 1000, 999_949, 999_950, 4.2e10)]
    assert told == ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "42.0 GB"]
