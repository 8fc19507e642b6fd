# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""on_new_version, with this test in the place of preforkd: by the protocol of docs/in-place.md."""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import preforkd
from preforkd import _live

from .conftest import PATIENCE, maps, until
from .offers import SIZE, Preforkd, begin, segment, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def names() -> list[str]:
    return ["emb", "users"]


@pytest.fixture
def server(names: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Preforkd]:
    with serving(names, monkeypatch) as server:
        yield server


def content(name: str) -> int:
    """The version that the bytes tell of."""
    view = preforkd.buffer(name)
    assert view[0] == view[-1]
    return view[0]


def descriptors() -> dict[str, str]:
    """What is open here, but for the folder that is read for it."""
    links = {fd: Path("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")}
    return {fd: os.readlink(link) for fd, link in links.items() if os.path.lexists(link)}


def mapped(name: str) -> int:
    """How many mappings of a dataset this process has."""
    return len(maps(f"/memfd:{name} "))


def never(_: preforkd.Dataset) -> None:
    pytest.fail("it was called")


def test_outside_preforkd_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NOTIFY_SOCKET", "PREFORKD_WORKER_ID", "PREFORKD_DATA"):
        monkeypatch.delenv(variable, raising=False)
    begin()
    assert preforkd.on_new_version("emb", never) is False
    monkeypatch.setenv("NOTIFY_SOCKET", "@another-supervisor")
    assert preforkd.on_new_version("emb") is False


def test_a_preforkd_that_is_gone_is_no_error(server: Preforkd) -> None:
    server.notify.close()
    assert preforkd.on_new_version("emb", never) is False
    assert _live._process.callbacks == []


@pytest.mark.parametrize("names", [[f"{n:05}" + "x" * 50 for n in range(100)]])
def test_names_that_are_too_long_together_are_an_error_that_says_what_to_do(server: Preforkd, names: list[str]) -> None:
    for count, name in enumerate(names):
        if len(" ".join(names[: count + 1])) + len("X_PREFORKD_TAKES=") > 4000:
            break
        preforkd.on_new_version(name)
        server.registered()
    with pytest.raises(preforkd.Error, match=r'take "\*"'):
        preforkd.on_new_version(names[-1], never)
    assert _live._process.callbacks == []
    assert server.offer(names[:1], 2) == {"taken": True}


def test_a_dataset_that_is_not_there_is_named(server: Preforkd) -> None:
    with pytest.raises(preforkd.NotFound, match=r"^cannot take new versions of 'enb'.*There are: emb, users"):
        preforkd.on_new_version("enb")


def test_a_version_is_current_after_its_callbacks_and_not_before(server: Preforkd) -> None:
    seen: list[tuple[int, int, int, int]] = []

    def look(new: preforkd.Dataset) -> None:
        seen.append((new.version, new.buffer()[0], preforkd.data("emb").version, content("emb")))

    assert preforkd.on_new_version("emb", look) is True
    assert server.registered() == ["emb"]
    assert content("emb") == 1
    assert server.offer(["emb"], 2) == {"taken": True}
    assert seen == [(2, 2, 1, 1)]
    assert (preforkd.data("emb").version, content("emb"), preforkd.data("emb").path) == (2, 2, "/gone/emb.v2")


def test_the_number_of_the_dataset_shows_the_new_version(server: Preforkd) -> None:
    preforkd.on_new_version("emb")
    server.registered()
    server.offer(["emb"], 2)
    number = server.numbers["emb"]
    assert os.pread(number, 1, 0) == b"\2"
    assert os.get_inheritable(number)


def test_a_number_that_is_another_file_is_left_alone(server: Preforkd) -> None:
    number = server.numbers["emb"]
    with open("/dev/null") as null:
        os.dup2(null.fileno(), number)
    preforkd.on_new_version("emb")
    server.registered()
    assert server.offer(["emb"], 2) == {"taken": True}
    assert os.readlink(f"/proc/self/fd/{number}") == "/dev/null"
    assert content("emb") == 2


def test_the_number_of_a_file_that_was_renamed_over_shows_the_new_one(server: Preforkd, tmp_path: Path) -> None:
    path, number = tmp_path / "db", server.numbers["users"]
    for version in (1, 2):
        (tmp_path / "new").write_bytes(bytes([version]) * 10)
        (tmp_path / "new").rename(path)
        if version == 1:
            fd = os.open(path, os.O_RDONLY)
            os.dup2(fd, number)
            os.close(fd)
            server.tell("users", {"direct": True, "path": str(path), "size": 10})
            preforkd.on_new_version("users")
            server.registered()
            assert content("users") == 1
    fd = os.open(path, os.O_RDONLY)
    server.send(["users"], 2, fds=[fd], more={"direct": True, "path": str(path), "size": 10})
    assert server.answer() == {"taken": True}
    os.close(fd)
    assert (content("users"), os.pread(number, 1, 0)) == (2, b"\2")


def test_processes_that_it_spawns_later_are_told_of_the_new_version(server: Preforkd) -> None:
    preforkd.on_new_version("*")
    assert server.registered() == ["*"]
    server.offer(["emb"], 7)
    told = json.loads(subprocess.check_output([sys.executable, "-c", "import os; print(os.environ['PREFORKD_DATA'])"]))
    assert {name: (entry["version"], entry["path"].endswith("v7")) for name, entry in told.items()} == {
        "emb": (7, True),
        "users": (1, False),
    }


@pytest.mark.parametrize(
    "error", [ValueError("3\ncolumns"), SystemExit("no"), KeyboardInterrupt(), preforkd.Error("cannot")]
)
def test_what_a_callback_raises_refuses_all_of_the_offer(server: Preforkd, error: BaseException) -> None:
    calls: list[tuple[str, int]] = []

    def note(new: preforkd.Dataset) -> None:
        calls.append((new.name, new.version))

    def refuse(new: preforkd.Dataset) -> None:
        note(new)
        if new.version == 2:
            raise error

    preforkd.on_new_version("emb", note)
    server.registered()
    preforkd.on_new_version("*", note)
    assert server.registered() == ["*"]
    preforkd.on_new_version("users", refuse)
    answer = server.offer(["emb", "users"], 2)
    assert answer["taken"] is False
    assert str(error) in answer["error"]
    # Who had it already is told to go back, the last one first; who refused is not.
    assert calls == [("emb", 2), ("emb", 2), ("users", 2), ("users", 2), ("users", 1), ("emb", 1), ("emb", 1)]
    assert (content("emb"), content("users"), os.pread(server.numbers["emb"], 1, 0)) == (1, 1, b"\1")
    assert server.offer(["emb", "users"], 3) == {"taken": True}
    assert (content("emb"), content("users")) == (3, 3)


def test_what_fails_on_the_way_back_changes_no_answer(server: Preforkd) -> None:
    def once(new: preforkd.Dataset) -> None:
        if new.version == 1:
            raise RuntimeError("there is no way back")

    preforkd.on_new_version("emb", once)
    server.registered()
    preforkd.on_new_version("users", lambda new: 1 // 0)
    server.registered()
    answer = server.offer(["emb", "users"], 2)
    assert answer == {"taken": False, "error": "ZeroDivisionError: integer division or modulo by zero"}


def test_names_that_come_later_are_registered_with_those_before(server: Preforkd) -> None:
    assert preforkd.on_new_version("users")
    assert server.registered() == ["users"]
    first = server.channel
    thread = _live._process.thread
    assert preforkd.on_new_version("emb")
    assert server.registered() == ["emb", "users"]
    assert server.channel is not first
    assert server.offer(["emb", "users"], 2) == {"taken": True}
    seen: list[str] = []
    assert preforkd.on_new_version("emb", lambda new: seen.append(new.name))  # nothing new to say to preforkd
    assert server.offer(["emb"], 3) == {"taken": True}
    assert seen == ["emb"]
    assert _live._process.thread is thread


def test_a_version_that_is_offered_again_runs_no_callbacks(server: Preforkd) -> None:
    seen: list[int] = []
    preforkd.on_new_version("emb", lambda new: seen.append(new.version))
    server.registered()
    fd = segment("emb", 2)
    for _ in range(2):
        assert server.offer(["emb"], 2, fds=[fd]) == {"taken": True}
    os.close(fd)
    assert seen == [2]


def test_a_callback_may_not_register(server: Preforkd) -> None:
    preforkd.on_new_version("emb", lambda _: preforkd.on_new_version("users"))
    server.registered()
    answer = server.offer(["emb"], 2)
    assert answer["error"].startswith("cannot register from a callback")


def test_a_registration_waits_for_the_offer_in_hand(server: Preforkd) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(_: preforkd.Dataset) -> None:
        inside.set()
        go_on.wait(PATIENCE)

    preforkd.on_new_version("emb", slow)
    server.registered()
    server.send(["emb"], 2)
    assert inside.wait(PATIENCE)
    other = threading.Thread(target=preforkd.on_new_version, args=("users",))
    other.start()
    go_on.set()
    assert server.answer() == {"taken": True}
    assert server.registered() == ["emb", "users"]
    other.join(PATIENCE)


def test_what_is_not_sealed_or_not_whole_is_refused(server: Preforkd) -> None:
    preforkd.on_new_version("*")
    server.registered()
    assert "is not what was announced" in server.offer(["emb"], 2, sealed=False)["error"]
    short = segment("emb", 2, SIZE - 1)
    assert server.offer(["emb"], 2, fds=[short])["taken"] is False
    os.close(short)
    assert content("emb") == 1


def test_descriptors_that_do_not_fit_refuse_the_offer(server: Preforkd) -> None:
    preforkd.on_new_version("*")
    server.registered()
    content("emb")
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fds = [segment(name, 2) for name in ("emb", "users")]
    held = [os.open("/dev/null", os.O_RDONLY)]
    while held[-1] < max(map(int, before)) + 2:
        held.append(os.open("/dev/null", os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 2, hard))  # room for one
    try:
        answer = server.offer(["emb", "users"], 2, fds=fds)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answer["taken"] is False
    assert "1 of 2 descriptors came" in answer["error"]
    for fd in held + fds:
        os.close(fd)
    assert descriptors() == before
    assert server.offer(["emb", "users"], 3) == {"taken": True}


@pytest.mark.parametrize("names", [[f"data{n}" for n in range(253)]])
def test_an_offer_may_have_253_datasets(server: Preforkd) -> None:
    preforkd.on_new_version("*")
    server.registered()
    assert server.offer(list(server.numbers), 2) == {"taken": True}
    assert {content(name) for name in server.numbers} == {2}


def test_a_hundred_versions_leave_no_descriptor_and_no_mapping(server: Preforkd) -> None:
    held: list[Any] = []

    def keep_one(new: preforkd.Dataset) -> None:
        held[:] = [new.buffer()]

    preforkd.on_new_version("emb", keep_one)
    server.registered()
    content("emb")
    assert server.offer(["emb"], 2) == {"taken": True}
    before, maps = len(descriptors()), mapped("emb")
    for version in range(3, 103):
        assert server.offer(["emb"], version) == {"taken": True}
        assert content("emb") == version
    assert len(descriptors()) == before
    assert mapped("emb") == maps == 1


def test_an_old_version_is_valid_as_long_as_somebody_has_it(server: Preforkd) -> None:
    preforkd.on_new_version("emb")
    server.registered()
    part = preforkd.buffer("emb")[10:20]
    old = preforkd.data("emb")
    for version in (2, 3):
        server.offer(["emb"], version)
    assert (bytes(part), bytes(old.buffer()[:1]), content("emb")) == (b"\1" * 10, b"\1", 3)
    assert mapped("emb") == 2
    del old, part
    assert mapped("emb") == 1


def test_the_thread_holds_nothing_of_a_refused_offer(server: Preforkd, monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest keeps what is logged, with its frames
    monkeypatch.setattr(logging.getLogger("preforkd"), "propagate", False)

    def refuse(new: preforkd.Dataset) -> None:
        raise ValueError(new.buffer()[0])

    preforkd.on_new_version("emb", refuse)
    server.registered()
    server.offer(["emb"], 2)
    until(lambda: mapped("emb") == 0, "it is unmapped: nobody else has asked for it")


def test_what_came_is_not_inherited_by_a_program_that_is_started_then(server: Preforkd) -> None:
    kept: list[bool] = []
    preforkd.on_new_version("emb", lambda _: kept.extend(os.get_inheritable(fd) for fd in _live._process.received))
    server.registered()
    server.offer(["emb"], 2)
    assert kept == [False]


def test_the_thread_ends_with_preforkd_and_begins_with_the_next_registration(server: Preforkd) -> None:
    preforkd.on_new_version("emb")
    server.registered()
    thread = _live._process.thread
    assert thread is not None
    assert server.channel is not None
    server.channel.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert preforkd.on_new_version("users")
    assert server.registered() == ["emb", "users"]
    assert server.offer(["emb"], 2) == {"taken": True}


@pytest.mark.parametrize("nonsense", [b"{", b"[1]", b'{"offer": 1}', b"\xff", b'{"offer": 1, "fds": 3, "data": {}}'])
def test_what_is_no_offer_takes_nothing(server: Preforkd, nonsense: bytes) -> None:
    preforkd.on_new_version("emb")
    server.registered()
    assert server.channel is not None
    server.channel.send(nonsense)
    reply = server.channel.recv(4096)
    assert reply == b"" or json.loads(reply)["taken"] is False
    assert content("emb") == 1
