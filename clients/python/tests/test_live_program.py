# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""on_new_version where the program changes its variables, raises what has no words, or its data is empty."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

import preforkd

from .conftest import maps
from .offers import Preforkd, segment, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Preforkd]:
    with serving(["emb", "users"], monkeypatch) as server:
        yield server


def test_a_version_without_bytes_is_one(server: Preforkd) -> None:
    preforkd.on_new_version("emb")
    server.registered()
    fd = segment("emb", 2, 0)
    assert server.offer(["emb"], 2, fds=[fd], more={"size": 0}) == {"taken": True}
    assert preforkd.buffer("emb") == b""
    assert list(preforkd.data()) == ["emb", "users"]
    assert json.loads(os.environ["PREFORKD_DATA"])["emb"]["size"] == 0
    os.close(fd)


def test_a_program_that_clears_its_variables_takes_new_versions_all_the_same(
    server: Preforkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    preforkd.on_new_version("emb")
    server.registered()
    for name in [name for name in os.environ if name.startswith("PREFORKD_")]:
        monkeypatch.delenv(name)
    for version in (2, 3):
        assert server.offer(["emb"], version) == {"taken": True}
        assert os.pread(server.numbers["emb"], 1, 0) == bytes([version])
        assert preforkd.data("emb").version == version
    assert "PREFORKD_DATA" not in os.environ
    assert not maps("/memfd:emb ")


def test_a_program_that_puts_its_old_variables_back_holds_no_old_version(
    server: Preforkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    preforkd.on_new_version("emb")
    server.registered()
    old = os.environ["PREFORKD_DATA"]
    for version in (2, 3):
        monkeypatch.setenv("PREFORKD_DATA", old)
        assert server.offer(["emb"], version) == {"taken": True}
        assert os.pread(server.numbers["emb"], 1, 0) == bytes([version])


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("it has no words")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_that_cannot_be_told_refuses_the_offer(server: Preforkd) -> None:
    def refuse(_: preforkd.Dataset) -> None:
        raise UnspeakableError

    preforkd.on_new_version("emb", refuse)
    server.registered()
    assert server.channel is not None
    server.channel.settimeout(10)
    assert server.offer(["emb"], 2) == {"taken": False, "error": "UnspeakableError"}


def test_a_program_that_spoils_its_variables_keeps_the_old_version_as_a_whole(
    server: Preforkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    preforkd.on_new_version("emb")
    server.registered()
    assert preforkd.buffer("emb")[0] == 1
    good = os.environ["PREFORKD_DATA"]
    preforkd.on_new_version("emb", lambda _: monkeypatch.setenv("PREFORKD_DATA", "{"))
    answer = server.offer(["emb"], 2)
    assert answer["taken"] is False
    assert answer["error"].startswith("cannot read the variable PREFORKD_DATA")
    monkeypatch.setenv("PREFORKD_DATA", good)
    assert (preforkd.buffer("emb")[0], os.pread(server.numbers["emb"], 1, 0)) == (1, b"\1")
