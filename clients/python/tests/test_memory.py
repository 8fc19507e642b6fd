# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""memory() tells what the kernel counts of this process and of each dataset in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import preforkd
from preforkd import _memory

from .conftest import SOURCE

if TYPE_CHECKING:
    from .conftest import Segments

MIB = 1 << 20
SIZE = 32 * MIB


def test_the_figures_follow_what_is_used(segments: Segments) -> None:
    segments.give(bytes(SIZE))
    segments.give(b"tiny", "tiny")
    start = preforkd.memory()
    assert start.data == {}
    view = preforkd.buffer("emb")
    assert preforkd.buffer("tiny") == b"tiny"
    assert preforkd.memory().data["emb"] == 0
    assert view.tobytes() == bytes(SIZE)
    read = preforkd.memory()
    assert read.data == {"emb": SIZE, "tiny": 4096}
    assert read.rss is not None
    assert start.rss is not None
    assert read.pss is not None
    assert read.uss is not None
    assert read.rss - start.rss > SIZE * 0.9
    assert read.uss <= read.pss <= read.rss
    assert read.private is not None
    mine = preforkd.data("emb")._private()
    for at in range(0, SIZE, 4096):
        mine[at] = 1
    written = preforkd.memory()
    assert written.private is not None
    assert SIZE * 0.9 < written.private - read.private < SIZE * 1.2
    assert written.page_tables is not None
    assert written.swap is not None
    assert written.data["emb"] == 2 * SIZE


def test_what_the_kernel_does_not_tell_is_none(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    segments.give(b"tiny")
    preforkd.buffer("emb")
    monkeypatch.setattr(_memory, "open", lambda *_: (_ for _ in ()).throw(PermissionError()), raising=False)
    assert preforkd.memory() == preforkd.Memory(data={"emb": None})


# The first file of each new tmpfs has the same inode.
TWINS = """
import json, mmap, os, preforkd
for name, size in (("emb", 20480), ("other", 8192), ("stranger", 40960)):
    with open(name + "/f", "wb") as file:
        file.write(b"x" * size)
found = {os.stat(name + "/f").st_ino for name in ("emb", "other", "stranger")}
with open("stranger/f", "rb") as file:
    stranger = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
held = [bytes(stranger), bytes(preforkd.buffer("emb", default="emb/f")), bytes(preforkd.buffer("other", "other/f"))]
print(json.dumps([len(found), preforkd.memory().data]))
"""


def test_files_of_the_same_inode_on_several_devices_are_told_apart(tmp_path: Path) -> None:
    mounts = "for n in emb other stranger; do mkdir $n && mount -t tmpfs preforkd-test $n || exit 99; done; "
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare")
    done = subprocess.run(
        [unshare, "--mount", "sh", "-c", mounts + 'exec "$@"', "sh", sys.executable, "-c", TWINS],
        cwd=tmp_path, env={"PYTHONPATH": SOURCE, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode == 99 or "unshare:" in done.stderr:
        pytest.skip("needs root, to mount in a namespace of its own")
    assert done.returncode == 0, done.stderr
    inodes, data = json.loads(done.stdout)
    if inodes > 1:
        pytest.skip("needs Linux 5.9, where each tmpfs counts its inodes by itself")
    assert data == {"emb": 20480, "other": 8192}


def test_two_names_of_one_file_have_both_what_is_resident(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 8192)
    for name in ("a", "b"):
        bytes(preforkd.buffer(name, default=tmp_path / "f"))
    assert preforkd.memory().data == {"a": 16384, "b": 16384}


def test_one_file_by_two_paths_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"x" * 8192)
    monkeypatch.chdir(tmp_path)
    held = [bytes(preforkd.buffer("emb", default=path)) for path in ("f", "../" + tmp_path.name + "/f")]
    (tmp_path / "g").symlink_to("f")
    held.append(bytes(preforkd.buffer("emb", default="g")))
    maps = sum(line.rstrip().endswith(f"{tmp_path}/f") for line in Path("/proc/self/maps").read_text().splitlines())
    assert maps > 1
    assert preforkd.memory().data == {"emb": maps * 8192}
