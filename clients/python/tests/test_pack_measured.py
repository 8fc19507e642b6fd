# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""What pack says will be private is what is private then, within 5 %, in a process that knows nothing of pack."""

from __future__ import annotations

import decimal
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import preforkd

from .conftest import SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

numpy = pytest.importorskip("numpy")

# A worker: it has imported what the file needs, maps the file and loads it.
WORKER = """
import gc, importlib, sys
import preforkd

def private():
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon:"))

for name in sys.argv[2:]:
    importlib.import_module(name)
if "pyarrow" in sys.argv:
    sys.modules["pyarrow"].array([1, 2])
before = private()
obj = preforkd.load("it", default=sys.argv[1])
print(private() - before)
"""

GROVE = """
import numpy

class Tree:
    def __init__(self, seed):
        self.nodes = numpy.arange(seed, seed + 50_000.0)

    def __setstate__(self, state):
        self.nodes = state["nodes"].copy()
"""


def words(n: int) -> list[str]:
    return [f"word {i:08d}" for i in range(n)]


def a_dict(tmp_path: Path) -> tuple[Any, bool, list[str], list[str]]:
    return {word: i for i, word in enumerate(words(600_000))}, False, ["dict"], []


def a_multiindex(tmp_path: Path) -> tuple[Any, bool, list[str], list[str]]:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    n = 500_000
    rows = pandas.MultiIndex.from_arrays([pandas.Index(words(n), dtype=object), numpy.arange(n) % 9], names=["w", "k"])
    made = pandas.DataFrame({("a", "x"): numpy.arange(n), ("a", "t"): pandas.date_range("2000", periods=n, freq="s")})
    made["b", "word"] = pandas.Series(words(n), dtype=object)
    made.index = rows
    named = ["index level w", "column ('b', 'word')", "column ('a', 't')"]
    return made, False, named, ["pandas", "pyarrow"]


def a_converted_frame(tmp_path: Path) -> tuple[Any, bool, list[str], list[str]]:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    n = 300_000
    made = pandas.DataFrame({"x": numpy.arange(n), "t": pandas.date_range("2000", periods=n, freq="s")})
    made["word"] = pandas.Series(words(n), dtype=object)
    made["price"] = [decimal.Decimal(i) / 100 for i in range(n)]
    made["tags"] = [[i, str(i)] for i in range(n)]
    return made, True, ["column price", "column tags"], ["pandas", "pyarrow"]


def a_grove(tmp_path: Path) -> tuple[Any, bool, list[str], list[str]]:
    (tmp_path / "grove.py").write_text(GROVE)
    import grove  # type: ignore[import-not-found]

    return {"trees": [grove.Tree(i) for i in range(150)], "x": numpy.arange(10**6)}, False, ["['trees']"], ["grove"]


def a_forest(tmp_path: Path) -> tuple[Any, bool, list[str], list[str]]:
    ensemble = pytest.importorskip("sklearn.ensemble")
    random = numpy.random.default_rng(0)
    rows = random.random((40_000, 10))
    made = ensemble.RandomForestRegressor(20, max_features=3, random_state=0).fit(rows, random.random(40_000))
    return made, False, [".estimators_"], ["sklearn.ensemble"]


@pytest.mark.parametrize("make", [a_dict, a_multiindex, a_converted_frame, a_grove, a_forest])
def test_what_pack_says_is_private_is_private_within_5_percent(
    make: Callable[[Path], tuple[Any, bool, list[str], list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("needs /proc")
    monkeypatch.syspath_prepend(tmp_path)
    made, convert, names, modules = make(tmp_path)
    report = preforkd.pack(made, tmp_path / "x.pk5", convert=convert)
    assert report.problem == ""
    env = {**os.environ, "PYTHONPATH": f"{SOURCE}:{tmp_path}"}
    command = [sys.executable, "-c", WORKER, str(tmp_path / "x.pk5"), *modules]
    private = int(subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True).stdout)
    assert private > 42_000_000, "5 % of it are not more than an allocator moves by"
    assert abs((report.private or 0) - private) < private * 0.05, (private, str(report))
    named = sum(part.bytes for part in report.parts if "has no name" not in part.name)
    assert abs(named - private) < private * 0.05, (private, str(report))
    told = [part.name.removeprefix("the ") for part in report.parts if not part.name.startswith("what ")]
    assert sorted(told) == sorted(names), str(report)
