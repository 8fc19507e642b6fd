# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""One mapping for a process and version; the same code outside preforkd; old versions go with their last user."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING

import pytest

import preforkd
from preforkd import _contract, _dataset

from .conftest import maps

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Segments

BIG = b"0123456789abcdef" * ((5 << 20) // 16)
NEWER = b"fedcba9876543210" * ((5 << 20) // 16)


def offered(segments: Segments, content: bytes, version: int, number: int) -> tuple[preforkd.Dataset, int]:
    """What a version that is handed over in place becomes, and the descriptor that came with it."""
    fd = segments.memfd(content)
    fields = segments.entry(content, fd=fd, version=version, path=f"/proc/{os.getpid()}/fd/{fd}")
    return _dataset.make(_contract.parse("emb", {**fields, "fd": number}), fd), fd


def test_there_is_one_mapping_for_all_calls_and_threads(segments: Segments) -> None:
    segments.give(BIG)
    found: list[memoryview] = []
    barrier = threading.Barrier(8)

    def get() -> None:
        barrier.wait()
        found.append(preforkd.buffer("emb"))

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.append(preforkd.data("emb").buffer())
    assert all(view.obj is found[0].obj for view in found)
    assert found[0] == BIG
    assert found[0].readonly
    assert len(maps("memfd:emb")) == 1


def test_a_dataset_tells_what_preforkd_told(segments: Segments) -> None:
    told = segments.give(BIG, version=3, sha256="ab12")
    d = preforkd.data("emb")
    assert (d.name, d.path, d.size, d.version, d.sha256) == ("emb", told["path"], len(BIG), 3, "ab12")
    assert (d.format, d.offset, d.members, d.direct, d.default) == ("raw", 0, {}, False, False)
    assert d.fd is not None
    assert os.fstat(d.fd).st_ino == os.fstat(told["fd"]).st_ino
    with pytest.raises(AttributeError):
        d.version = 4  # type: ignore[misc]
    assert preforkd.data("emb") is d
    assert preforkd.data() == {"emb": d}


def test_the_default_does_the_same_without_preforkd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "emb.bin"
    file.write_bytes(BIG)
    monkeypatch.chdir(tmp_path)
    assert preforkd.data() == {}
    assert preforkd.buffer("emb", default="emb.bin") == BIG
    assert preforkd.path("emb", file) == str(file)
    d = preforkd.data("emb", default="./emb.bin")
    assert (d.default, d.version, d.format, d.size, d.path) == (True, 1, "raw", len(BIG), str(file))
    assert preforkd.buffer("emb", default="emb.bin").obj is preforkd.buffer("emb", default="emb.bin").obj
    assert preforkd.load("emb", default=file) == BIG
    file.write_bytes(b"")
    assert preforkd.buffer("nothing", default=file) == b""


def test_a_dataset_wins_over_the_default(segments: Segments) -> None:
    segments.give(BIG)
    assert preforkd.buffer("emb", default="/no/such/file") == BIG


def test_what_is_not_there_is_an_error_that_names_what_is(segments: Segments, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"^cannot find dataset 'emb': .*`preforkd -d emb=FILE .*default='FILE'") as e:
        preforkd.buffer("emb")
    assert isinstance(e.value, preforkd.Error)
    with pytest.raises(preforkd.Error, match=r"^cannot open .*/none.npy, the default of dataset 'emb': No such file"):
        preforkd.data("emb", default=tmp_path / "none.npy")
    segments.give(b"1", "users")
    segments.give(b"2", "models")
    with pytest.raises(
        preforkd.NotFound, match=r"^cannot find dataset 'emb': preforkd gave this worker users, models$"
    ):
        preforkd.path("emb")


def test_an_old_version_goes_with_its_last_user(segments: Segments) -> None:
    number = segments.give(BIG)["fd"]
    old = preforkd.buffer("emb")
    new, fd = offered(segments, NEWER, 2, number)
    assert new.buffer() == NEWER
    assert preforkd.buffer("emb") is old, "not current before it was made so"
    os.dup2(fd, number)
    _dataset.replace({"emb": new})
    os.close(fd)
    assert preforkd.data("emb").version == 2
    assert preforkd.buffer("emb") == NEWER
    assert old == BIG
    assert len(maps("memfd:emb")) == 2
    del old
    gc.collect()
    (left,) = maps("memfd:emb")
    assert os.fstat(number).st_ino == int(left.split()[4])
    assert preforkd.path("emb") == f"/proc/self/fd/{number}", "the path of an offer may be gone, the number stays"


def test_a_version_that_was_never_mapped_is_still_itself_when_a_newer_one_is_current(segments: Segments) -> None:
    number = segments.give(BIG)["fd"]
    old = preforkd.data("emb")
    new, fd = offered(segments, NEWER, 2, number)
    os.dup2(fd, number)
    _dataset.replace({"emb": new})
    assert old.buffer() == BIG


def test_versions_leave_no_descriptor_and_no_mapping(segments: Segments) -> None:
    number = segments.give(BIG)["fd"]
    preforkd.buffer("emb")
    descriptors = len(os.listdir("/proc/self/fd"))
    for version in range(2, 30):
        new, fd = offered(segments, NEWER, version, number)
        new.buffer()
        os.dup2(fd, number)
        os.close(fd)
        segments.fds.pop()
        _dataset.replace({"emb": new})
        del new
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert len(maps("memfd:emb")) == 1


def test_a_descriptor_that_is_not_the_dataset_makes_no_version(segments: Segments) -> None:
    entry = _contract.parse("emb", segments.give(BIG))
    with pytest.raises(preforkd.Error, match="^cannot use descriptor"):
        _dataset.make(entry, segments.memfd(NEWER, "other"))


def test_processes_that_are_spawned_later_are_told_of_the_new_version(segments: Segments) -> None:
    number = segments.give(BIG, sha256="old", members={"a": {"dtype": "U8", "shape": [1], "offset": 0, "size": 1}})[
        "fd"
    ]
    preforkd.buffer("emb")
    new, fd = offered(segments, NEWER, 2, number)
    os.dup2(fd, number)
    _dataset.replace({"emb": new})
    entry = _contract.entries()["emb"]
    assert (entry.version, entry.fd, entry.sha256, entry.members) == (2, number, None, None)
    assert entry.ino == os.fstat(number).st_ino
    assert os.environ["PREFORKD_DATA_EMB"] == new.path


def test_a_daemon_that_closes_every_descriptor_loses_no_file_of_its_own(segments: Segments, tmp_path: Path) -> None:
    segments.give(BIG)
    d = preforkd.data("emb")
    assert d.fd is not None
    with (tmp_path / "mine").open("wb") as mine:
        os.dup2(mine.fileno(), d.fd)
        with pytest.raises(preforkd.Error, match="^cannot map dataset 'emb': its descriptor"):
            d.buffer()
        taken = d.fd
        del d
        _dataset._process.current.clear()
        gc.collect()
        assert os.write(taken, b"still mine") == 10
    os.close(taken)


def test_a_directory_has_a_path_and_no_buffer(segments: Segments, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    segments.give(b"", "tree", fd=folder, path=str(tmp_path), size=4096, direct=True)
    assert preforkd.path("tree") == str(tmp_path)
    with pytest.raises(preforkd.Error, match="^cannot map dataset 'tree': .* is a directory"):
        preforkd.buffer("tree")
    os.close(folder)
    segments.monkeypatch.delenv("PREFORKD_DATA")
    assert preforkd.path("other", default=tmp_path) == str(tmp_path)


def test_a_direct_file_is_as_large_as_it_is_now(segments: Segments, tmp_path: Path) -> None:
    file = tmp_path / "db"
    file.write_bytes(b"12345")
    with file.open("ab") as grows:
        fd = os.open(file, os.O_RDONLY)
        segments.give(b"12345", "db", fd=fd, path=str(file), direct=True)
        grows.write(b"67")
    assert preforkd.data("db").size == 7
    assert preforkd.buffer("db") == b"1234567"
    os.close(fd)


def test_a_name_that_preforkd_does_not_know_is_noticed_once(segments: Segments, tmp_path: Path) -> None:
    segments.give(BIG, "users")
    segments.give(BIG, "models")
    file = tmp_path / "emb.bin"
    file.write_bytes(b"mine")
    text = rf"^preforkd gave this worker users, models, but no dataset 'enb': {file}, its default, is read by this"
    with pytest.warns(UserWarning, match=text) as noticed:
        assert preforkd.buffer("enb", default=file) == b"mine"
    assert noticed[0].filename == __file__
    for get in (preforkd.buffer, preforkd.load, preforkd.path, preforkd.data):
        get("enb", default=file)  # warnings are errors in these tests
    for get in (preforkd.load, preforkd.path, preforkd.data):
        _dataset._process.defaults.clear()
        with pytest.warns(UserWarning, match=text) as noticed:
            get("enb", default=file)
        assert noticed[0].filename == __file__


def test_without_preforkd_a_default_is_nothing_to_notice(tmp_path: Path) -> None:
    (tmp_path / "emb.bin").write_bytes(b"mine")
    assert preforkd.buffer("enb", default=tmp_path / "emb.bin") == b"mine"


def test_a_signal_handler_that_raises_leaves_no_descriptor(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    segments.give(BIG)
    _contract.entries()
    descriptors = len(os.listdir("/proc/self/fd"))

    def interrupt(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    for module, name in ((_contract, "trusted"), (_dataset, "Dataset"), (_dataset, "_new")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                preforkd.data("emb")
        assert len(os.listdir("/proc/self/fd")) == descriptors, name
    assert preforkd.buffer("emb") == BIG
