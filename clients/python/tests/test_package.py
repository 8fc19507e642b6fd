# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""The package as it is imported: light, complete, documented."""

from __future__ import annotations

import re
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
