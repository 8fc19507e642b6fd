# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""What a call cannot mean, and what is not installed, is said at once and in words, in workers and outside."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import preforkd
from preforkd import _notify

from .conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Segments

BY_NAME: list[Callable[..., Any]] = [
    preforkd.array, preforkd.tensor, preforkd.load, preforkd.data, preforkd.buffer, preforkd.path
]  # fmt: skip


@pytest.mark.parametrize("name", [None, 5, b"emb", [], "", True])
@pytest.mark.parametrize("inside", [True, False])
def test_what_is_no_name(name: Any, inside: bool, segments: Segments, tmp_path: Path) -> None:
    if inside:
        segments.give(b"12345678")
    (tmp_path / "f").write_bytes(b"12345678")
    for get in BY_NAME:
        for default in ({}, {"default": tmp_path / "f"}):
            if get is preforkd.data and name is None:
                continue  # all of them
            with pytest.raises(TypeError, match="^cannot find a dataset by .*: give its name") as e:
                get(name, **default)
            assert isinstance(e.value, preforkd.Error)
    for more in ({}, {"default": "127.0.0.1:0"}):
        with pytest.raises(TypeError, match="^cannot find a listener by .*: give its name"):
            preforkd.socket(name, **more)
    with pytest.raises(TypeError, match="^cannot find a dataset by"):
        preforkd.on_new_version(name)
    if inside:
        with pytest.raises(preforkd.NotFound, match="^cannot find member .* of dataset 'emb'"):
            preforkd.data("emb").array(name or [])


@pytest.mark.parametrize("default", [5, False, ["emb.npy"], 1.5])
def test_what_is_no_path(default: Any) -> None:
    for get in BY_NAME:
        with pytest.raises(TypeError, match="^cannot use .* as the default of dataset 'emb': give the path of a file"):
            get("emb", default=default)


def test_an_empty_path_is_not_the_current_directory() -> None:
    for get in BY_NAME:
        with pytest.raises(preforkd.Error, match="^cannot use an empty path as the default of dataset 'emb'"):
            get("emb", default="")


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("folder", "^cannot map dataset 'emb': .*/folder is a directory; open the files in it"),
        ("pipe", "^cannot use .*/pipe, the default of dataset 'emb': it is a pipe"),
        ("socket", "^cannot open .*/socket, the default of dataset 'emb': No such device"),
        ("missing", "^cannot open .*/missing, the default of dataset 'emb': No such file"),
        ("empty", r"^cannot make an array of 'emb' \(raw\): it is empty"),
    ],
)
def test_what_is_no_array(what: str, why: str, tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "socket"))
        with pytest.raises(preforkd.Error, match=why):
            preforkd.array("emb", default=tmp_path / what)


def test_a_file_that_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, "f")
        file.touch(0)
        code = f"""
import os, preforkd
from preforkd import _arrays, _recognise  # which other users may not be able to read
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    preforkd.array("emb", default={str(file)!r})
except preforkd.Error as e:
    print(e)
"""
        assert run(code) == f"cannot open {file}, the default of dataset 'emb': Permission denied"


def test_a_path_may_be_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1234")
    default: Any = os.fsencode(tmp_path / "f")
    assert preforkd.path("emb", default=default) == str(tmp_path / "f")


@pytest.mark.parametrize("more", [-1, 1.5, "1", True, None, 2.0])
def test_requests_are_counted_in_whole_numbers(more: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_notify._Served, "total", 3)
    with pytest.raises(TypeError, match="^cannot count .* requests: give a whole number, 0 or more"):
        preforkd.requests(more)
    assert preforkd.requests(0) == 3


def test_requests_may_be_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = pytest.importorskip("numpy")
    monkeypatch.setattr(_notify._Served, "total", 3)
    assert type(preforkd.requests(numpy.int64(2))) is int
    assert preforkd.requests(0) == 5


@pytest.mark.parametrize("text", [5, b"loaded"])
def test_a_status_is_a_text(text: Any) -> None:
    for say in (preforkd.status, preforkd.ready):
        with pytest.raises(TypeError, match="^cannot tell .* as the status: give a text"):
            say(text)


@pytest.mark.parametrize("callback", [5, "check", []])
def test_a_callback_can_be_called(callback: Any, segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    why = "^cannot call .* with new versions of 'emb': give a function"
    with pytest.raises(TypeError, match=why):
        preforkd.on_new_version("emb", callback)
    segments.give(b"1234")
    monkeypatch.setenv("PREFORKD_WORKER_ID", "0")
    monkeypatch.setenv("NOTIFY_SOCKET", "@no-such-preforkd")
    with pytest.raises(TypeError, match=why):
        preforkd.on_new_version("emb", callback)


@pytest.mark.parametrize(
    ("library", "call"),
    [
        ("numpy", "array('emb', default='f', dtype='u1')"),
        ("torch", "tensor('emb', default='f', dtype='u1')"),
        ("pyarrow", "load('emb', default='f.arrow')"),
        ("pandas", "load('emb', default='f.arrow')"),
    ],
)
def test_a_library_that_is_missing_is_named(library: str, call: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1234")
    if call.startswith("load"):
        pytest.importorskip("pyarrow")
        preforkd.pack(pytest.importorskip("pandas").DataFrame({"a": [1]}), tmp_path / "f.arrow")
    code = f"""
import sys
sys.modules[{library!r}] = None
import preforkd
try:
    preforkd.{call}
except ImportError as e:
    print(isinstance(e, preforkd.Error), type(e.__cause__).__name__, e.name, e)
"""
    told = run(code, cwd=tmp_path)
    assert told.startswith(f"True ModuleNotFoundError {library} cannot import {library} (")
    assert told.endswith(f"pip install {library}")
