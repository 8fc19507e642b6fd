# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A descriptor's number is believed only if it is the very dataset."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

import preforkd
from preforkd import _contract

from .conftest import run

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Segments

CONTENT = b"a" * 5000
OTHER = b"b" * 5000


def test_the_dataset_itself_is_trusted(segments: Segments) -> None:
    entry = _contract.parse("emb", segments.entry(CONTENT))
    assert _contract.trusted(entry.fd, entry)


def test_other_files_are_not_trusted(segments: Segments, tmp_path: Path) -> None:
    entry = _contract.parse("emb", segments.entry(CONTENT))
    file = tmp_path / "emb"
    file.write_bytes(CONTENT)
    with file.open("rb") as same_size_not_sealed:
        assert not _contract.trusted(same_size_not_sealed.fileno(), entry)
    assert not _contract.trusted(segments.memfd(CONTENT, seal=False), entry)
    assert not _contract.trusted(segments.memfd(OTHER, "other"), entry), "another dataset of the same size"
    assert not _contract.trusted(segments.memfd(CONTENT + b"a"), entry)
    read, write = os.pipe()
    assert not _contract.trusted(read, entry)
    os.close(read)
    os.close(write)
    for number in (read, -1, 1 << 40):
        assert not _contract.trusted(number, entry)


def test_another_version_of_the_same_size_is_not_trusted(segments: Segments) -> None:
    told = segments.entry(CONTENT)
    newer = segments.memfd(OTHER)
    assert not _contract.trusted(newer, _contract.parse("emb", told))
    told.pop("ino")
    assert _contract.trusted(newer, _contract.parse("emb", told)), "only the inode tells them apart"
    assert not _contract.trusted(segments.memfd(OTHER, "other"), _contract.parse("emb", told))


def test_reading_changes_no_variable(segments: Segments) -> None:
    segments.give(CONTENT)
    before = dict(os.environ)
    assert preforkd.buffer("emb") == CONTENT
    assert dict(os.environ) == before


def test_spawned_processes_know_the_inode(segments: Segments) -> None:
    number = segments.give(CONTENT, path="/nowhere")["fd"]
    code = "import preforkd; print(bytes(preforkd.buffer('emb')[:3]))"
    assert run(code, pass_fds=(number,)) == "b'aaa'"
    os.dup2(segments.memfd(OTHER), number)  # the next version, by somebody who tells nobody
    wrong = "import preforkd\ntry: preforkd.buffer('emb')\nexcept preforkd.Error as e: print(e)"
    assert run(wrong, pass_fds=(number,)).startswith("cannot reach version 1 of dataset 'emb'")


def test_the_path_is_believed_before_the_number(segments: Segments) -> None:
    right = segments.memfd(CONTENT)
    segments.give(OTHER, path=f"/proc/self/fd/{right}", ino=os.fstat(right).st_ino)  # the number is another version
    assert preforkd.buffer("emb") == CONTENT
    assert preforkd.path("emb") == f"/proc/self/fd/{right}"


def test_a_path_that_leads_astray_is_not_believed(segments: Segments, tmp_path: Path) -> None:
    file = tmp_path / "emb"
    file.write_bytes(OTHER)
    number = segments.give(CONTENT, path=str(file))["fd"]
    assert preforkd.buffer("emb") == CONTENT
    assert preforkd.path("emb") == f"/proc/self/fd/{number}"


def test_a_dataset_that_cannot_be_reached_is_an_error_that_says_what_to_do(segments: Segments) -> None:
    number = segments.give(CONTENT, path="/nowhere/emb.v1.npy")["fd"]
    os.dup2(segments.memfd(OTHER, "other"), number)
    with pytest.raises(preforkd.Error, match=rf"^cannot reach version 1 .*/nowhere/emb.v1.npy.*pass_fds=\({number},\)"):
        preforkd.buffer("emb")


def test_direct_files_are_known_by_their_inode(segments: Segments, tmp_path: Path) -> None:
    file, other = tmp_path / "db", tmp_path / "other"
    file.write_bytes(CONTENT)
    other.write_bytes(CONTENT)
    with file.open("rb") as a, other.open("rb") as b:
        entry = _contract.parse("db", segments.entry(CONTENT, fd=a.fileno(), path=str(file), direct=True))
        assert _contract.trusted(a.fileno(), entry)
        assert not _contract.trusted(b.fileno(), entry)
    file.unlink()
    assert not _contract.trusted(entry.fd, entry)
    with pytest.raises(preforkd.Error, match="^cannot open dataset 'db'"):
        _contract.open_version(entry)


def test_datasets_come_in_the_order_of_data(segments: Segments) -> None:
    low, high = segments.memfd(b"1", "zeta"), segments.memfd(b"2", "alpha")
    assert low < high
    segments.give(b"2", "alpha", fd=high)
    segments.give(b"1", "zeta", fd=low)
    assert list(preforkd.data()) == ["zeta", "alpha"]
    assert [d.name for d in preforkd.data().values()] == ["zeta", "alpha"]


def test_fields_that_are_not_known_are_passed_over(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    segments.give(CONTENT, later={"a": 1})
    assert preforkd.buffer("emb") == CONTENT
    assert json.loads(os.environ["PREFORKD_DATA"])["emb"]["later"] == {"a": 1}
    for text in ("{", "[1]", '{"emb": 3}', '{"emb": {"fd": 1}}'):
        monkeypatch.setenv("PREFORKD_DATA", text)
        with pytest.raises(preforkd.Error, match="^cannot (read|understand)"):
            _contract.entries()


def test_a_worker_knows_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, get in (
        ("WORKER_ID", preforkd.worker_id),
        ("WORKERS", preforkd.workers),
        ("INCARNATION", preforkd.incarnation),
    ):
        monkeypatch.delenv("PREFORKD_" + name, raising=False)
        assert get() is None
        monkeypatch.setenv("PREFORKD_" + name, "7")
        assert get() == 7
