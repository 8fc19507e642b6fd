# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A mapping is aligned for huge pages, cannot be written unless it is private, and goes with its last view."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import preforkd
from preforkd import _mapping

from .conftest import maps, run

if TYPE_CHECKING:
    from .conftest import Segments

BIG = b"0123456789abcdef" * ((5 << 20) // 16) + b"end"  # 5 MiB and a bit: no whole page


def address(line: str) -> tuple[int, int]:
    begin, end = line.split(maxsplit=1)[0].split("-")
    return int(begin, 16), int(end, 16)


def test_a_large_mapping_begins_at_2_mib_and_takes_no_more_than_its_pages(segments: Segments) -> None:
    fd = segments.memfd(BIG, "aligned")
    for private in (False, True):
        view = _mapping.map(fd, len(BIG), private=private)
        (line,) = maps("memfd:aligned")
        begin, end = address(line)
        assert begin % (2 << 20) == 0
        assert end - begin == -(-len(BIG) // 4096) * 4096
        assert not any(" ---p " in other and address(other)[0] in (end, begin - (2 << 20)) for other in maps("---p"))
        assert view == BIG
        assert (view.readonly, view.format, view.nbytes) == (not private, "B", len(BIG))
        del view
        assert maps("memfd:aligned") == []


def test_small_data_is_mapped_plainly(segments: Segments) -> None:
    fd = segments.memfd(b"tiny", "small")
    view = _mapping.map(fd, 4)
    os.close(fd)
    assert bytes(view) == b"tiny"
    assert view.readonly
    assert len(maps("memfd:small")) == 1
    del view
    assert maps("memfd:small") == []


def test_nothing_is_a_view_of_nothing(segments: Segments) -> None:
    assert _mapping.map(-1, 0) == b""


@pytest.mark.parametrize("content", [b"0123456789", BIG])
def test_writes_to_a_private_mapping_are_seen_by_nobody_else(segments: Segments, content: bytes) -> None:
    fd = segments.memfd(content)
    mine, shared = _mapping.map(fd, len(content), private=True), _mapping.map(fd, len(content))
    mine[3] = 255
    assert (mine[3], shared[3]) == (255, ord("3"))
    with pytest.raises(TypeError, match="read-only"):
        shared[3] = 255
    assert os.pread(fd, 4, 0) == b"0123"


def test_every_view_keeps_the_mapping(segments: Segments) -> None:
    np = pytest.importorskip("numpy")
    view = _mapping.map(segments.memfd(BIG, "kept"), len(BIG))
    array = np.frombuffer(view, np.uint8)
    part = array[16:32].reshape(4, 4)
    assert not part.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        part.flags.writeable = True
    del view, array
    assert part.tobytes() == b"0123456789abcdef"
    del part
    assert maps("memfd:kept") == []


def test_a_mapping_that_cannot_be_made_is_an_error_and_leaves_nothing(segments: Segments) -> None:
    before = len(maps("---p"))
    with open("/dev/null", "rb") as null:
        for size in (10, 3 << 20):
            with pytest.raises(preforkd.Error, match="^cannot map"):
                _mapping.map(null.fileno(), size)
    assert len(maps("---p")) == before


def test_what_runs_at_the_very_end_may_still_read(segments: Segments) -> None:
    number = segments.give(BIG, path="/nowhere")["fd"]
    code = """
import atexit
atexit.register(lambda: print(view[len(view) - 1]))  # the first one registered is the last one called
import preforkd
view = preforkd.buffer("emb")
"""
    assert run(code, pass_fds=(number,)) == str(ord("d"))


INTERRUPTED = """
import os, sys
import preforkd
from preforkd import _mapping
fd = int(sys.stdin.readline())
size = os.fstat(fd).st_size
def left():
    return [line for line in open("/proc/self/maps") if "memfd:aligned" in line]
at = interrupted = 0
done = False
while not done:
    at += 1
    lines = 0
    def trace(frame, event, arg):
        global lines
        if frame.f_code.co_name == "_aligned":
            if event == "line":
                lines += 1
                if lines == at:
                    raise KeyboardInterrupt
            return trace
    sys.settrace(trace)
    try:
        _mapping._aligned(fd, size, False)
        done = True
    except KeyboardInterrupt:
        interrupted += 1
    sys.settrace(None)
    assert not left(), (at, left())
print(interrupted > 10)
"""


def test_what_a_signal_handler_raises_leaves_no_mapping(segments: Segments) -> None:
    fd = segments.memfd(BIG, "aligned")
    assert run(INTERRUPTED, pass_fds=(fd,), input=f"{fd}\n") == "True"
