# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""The package as it is imported: light, complete, documented."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import preforkd

from .conftest import SOURCE, run

ROOT = Path(__file__).parents[1]


def test_the_import_takes_nothing_heavy() -> None:
    loaded = run("import sys\nimport preforkd\nprint(' '.join(sys.modules))").split()
    bare = run("import sys\nprint(' '.join(sys.modules))").split()
    new = set(loaded) - set(bare)
    heavy = (
        "asyncio multiprocessing numpy torch pyarrow pandas socket logging subprocess threading zipfile pickle ctypes"
    )
    assert not {*heavy.split(), "json", "typing"} & new
    command = [sys.executable, "-X", "importtime", "-c", "import preforkd"]
    timed = subprocess.run(command, env={"PYTHONPATH": SOURCE}, capture_output=True, text=True)
    print(f"{len(new)} modules; own and total µs: {timed.stderr.splitlines()[-1]}")


def test_it_imports_where_there_is_neither_memfd_nor_proc() -> None:
    code = """
import os, sys
sys.modules["fcntl"] = None
for name in [n for n in vars(os) if n.startswith(("memfd", "MFD_")) or n == "register_at_fork"]:
    delattr(os, name)
import preforkd
preforkd._mapping.os.uname = lambda: type("", (), {"sysname": "Darwin"})
print(bytes(preforkd.buffer("x", default=__import__("preforkd").__file__)[:11]), preforkd.data())
"""
    assert run(code) == "b'# Copyright' {}"


# Of each module something, by the standard library alone.
EVERYTHING = """
import importlib, io, pickle, pkgutil, sys, warnings
import preforkd
from preforkd import __main__, _doctor, _live, pk5

assert sys.version_info[:2] == (3, 9)
for module in pkgutil.iter_modules(preforkd.__path__):
    importlib.import_module("preforkd." + module.name)
report = preforkd.pack({"a": bytearray(100_000), "b": pickle.PickleBuffer(bytes(50_000))}, "users.pk5", convert=True)
assert report.format == "pk5" and not report.problem and str(report), report
users = preforkd.load("users", default="users.pk5")
assert sorted(users) == ["a", "b"] and len(users["b"]) == 50_000
data = pickle.loads(pickle.dumps(preforkd.data("users", default="users.pk5")))
assert (data.format, data.default) == ("pk5", True) and preforkd.data() == {}
assert "PK5" in str(bytes(preforkd.buffer("users", "users.pk5")[:4])) and preforkd.path("users", "users.pk5")
with preforkd.socket(default="127.0.0.1:0") as s:
    assert s.getsockname()[1]
memory = preforkd.memory()
assert isinstance(memory, preforkd.Memory) and memory.data["users"] and memory.rss
assert preforkd.requests(2) == 2
assert not (preforkd.ready("x") or preforkd.status("x") or preforkd.heartbeat())
assert preforkd.on_new_version("users") is False and preforkd.worker_id() is preforkd.workers() is None
for words in (["doctor"], ["inspect", "users.pk5"], ["pack", "os:getcwd", "x.pk5"]):
    assert __main__.main(words) == 0, words
for call in (lambda: preforkd.array(None), lambda: preforkd.load("nothing"), lambda: preforkd.socket("8000")):
    try:
        call()
        raise AssertionError("no error")
    except preforkd.Error as e:
        assert str(e).startswith("cannot ")
"""


def test_it_works_in_python_3_9_the_oldest(tmp_path: Path) -> None:
    there = [shutil.which("python3.9"), *map(str, Path.home().glob(".pyenv/versions/3.9.*/bin/python3"))]
    for python in filter(None, there):
        command = [python, "-W", "error", "-c", EVERYTHING]
        done = subprocess.run(command, env={"PYTHONPATH": SOURCE}, cwd=tmp_path, capture_output=True, text=True)
        if "pyenv: " in done.stderr:  # its script in PATH, for a version that is not chosen
            continue
        assert done.returncode == 0, done.stdout + done.stderr
        return
    pytest.skip("needs a Python 3.9")


def test_every_name_is_there_and_documented() -> None:
    text = (ROOT / "README.md").read_text()
    for name in preforkd.__all__:
        assert getattr(preforkd, name).__doc__, name
        assert name in text, f"README.md does not name {name}"
    assert re.fullmatch(r"\d+\.\d+\.\d+", preforkd.__version__)


def test_the_first_example_of_the_readme_runs(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    np.save(tmp_path / "emb.npy", np.arange(6))
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert run(code + "\nprint(emb.sum())", cwd=tmp_path) == "15"
