# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""memory() tells what the kernel counts of this process and of each dataset in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import preforkd
from preforkd import _memory

if TYPE_CHECKING:
    import pytest

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
