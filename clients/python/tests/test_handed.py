# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A Dataset that is pickled: small, and the same version where it is unpickled, or an error."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import preforkd

from .conftest import SOURCE
from .offers import Preforkd, segment, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READ = """
import pickle, sys
import preforkd
def version():
    try:
        dataset = pickle.loads(bytes.fromhex(sys.stdin.readline()))
        assert pickle.loads(pickle.dumps(dataset)) is dataset
        return dataset.version, dataset.buffer()[0]
    except preforkd.Error as e:
        return str(e)
for _ in range(int(sys.argv[1])):
    print(version(), sum("/memfd:emb" in line for line in open("/proc/self/maps")), flush=True)
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Preforkd]:
    with serving(["emb"], monkeypatch) as server:
        preforkd.on_new_version("emb")
        server.registered()
        yield server


def read(*pickles: bytes) -> list[str]:
    """What a process says that unpickles these, one after the other."""
    lines = "".join(text.hex() + "\n" for text in pickles)
    command = [sys.executable, "-c", READ, str(len(pickles))]
    done = subprocess.run(
        command, input=lines, env={**os.environ, "PYTHONPATH": SOURCE}, stdout=-1, text=True, check=True
    )
    return done.stdout.splitlines()


def test_it_is_small_and_in_its_own_process_itself(server: Preforkd) -> None:
    emb = preforkd.data("emb")
    text = pickle.dumps(emb)
    assert len(text) < 1000
    assert pickle.loads(text) is emb


def test_another_process_has_the_version_that_it_was_handed_and_holds_the_last_one(server: Preforkd) -> None:
    pickles = [pickle.dumps(preforkd.data("emb"))]
    fds = [segment("emb", version) for version in (2, 3)]
    for version, fd in enumerate(fds, 2):
        server.offer(["emb"], version, fds=[fd])
        pickles.append(pickle.dumps(preforkd.data("emb")))
    assert read(*pickles[1:], pickles[1]) == ["(2, 2) 1", "(3, 3) 1", "(2, 2) 1"]
    for fd in fds:
        os.close(fd)


def test_a_version_that_is_gone_is_an_error(server: Preforkd) -> None:
    fd = segment("emb", 2)
    server.offer(["emb"], 2, fds=[fd])
    second = pickle.dumps(preforkd.data("emb"))
    assert read(second) == ["(2, 2) 1"]
    third = segment("emb", 3)
    server.offer(["emb"], 3, fds=[third])
    os.dup2(third, fd)  # preforkd has another version of the same size there now
    (said,) = read(second)
    assert said.startswith("cannot reach version 2 of dataset 'emb'")
    os.close(fd)
    os.close(third)


def test_outside_preforkd_it_is_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFORKD_DATA", raising=False)
    (tmp_path / "emb.bin").write_bytes(b"x" * 100)
    emb = preforkd.data("emb", default=tmp_path / "emb.bin")
    assert pickle.loads(pickle.dumps(emb)) is emb
    assert read(pickle.dumps(emb)) == ["(1, 120) 0"]
