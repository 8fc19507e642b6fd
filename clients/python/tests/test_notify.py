# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""What is said to preforkd arrives as it should, and nobody suffers where it is not there."""

from __future__ import annotations

import os
import resource
import socket
import threading
from typing import TYPE_CHECKING

import pytest

import preforkd
from preforkd import _notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["abstract", "path"])
def heard(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    address = f"@preforkd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setattr(_notify._Served, "total", 0)
    monkeypatch.setattr(_notify._Served, "later", False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(60)
        s.bind("\0" + address[1:] if address.startswith("@") else address)
        yield s


def test_what_is_said(heard: socket.socket) -> None:
    for say, want in (
        (preforkd.ready, b"READY=1"),
        (lambda: preforkd.ready("lüd"), "READY=1\nSTATUS=lüd".encode()),
        (lambda: preforkd.status("two\nlines\r\nand READY=1"), b"STATUS=two lines and READY=1"),
        (preforkd.heartbeat, b"WATCHDOG=1"),
    ):
        assert say() is True
        assert heard.recv(1000) == want


def test_requests_are_counted_across_threads_and_told_in_order(heard: socket.socket) -> None:
    told: list[int] = []

    def listen() -> None:
        while not told or told[-1] < 1000:
            text = heard.recv(1000).decode()
            assert text.startswith("X_PREFORKD_REQUESTS=")
            told.append(int(text[20:]))

    def serve() -> None:
        for _ in range(99):
            preforkd.requests()

    threads = [threading.Thread(target=serve) for _ in range(10)]
    listener = threading.Thread(target=listen)
    listener.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heard.setblocking(True)
    assert preforkd.requests(10) == 1000
    listener.join()
    assert told == sorted(told)
    assert preforkd.requests(0) == 1000


def test_a_forked_child_counts_from_zero(heard: socket.socket) -> None:
    preforkd.requests(7)
    heard.recv(100)
    pid = os.fork()
    if pid == 0:
        preforkd.requests(2)
        os._exit(0)
    os.waitpid(pid, 0)
    assert heard.recv(100) == b"X_PREFORKD_REQUESTS=2"
    assert preforkd.requests(0) == 7


def test_a_queue_that_is_full_makes_no_request_wait_and_loses_none(heard: socket.socket) -> None:
    for n in range(1, 2000):
        assert preforkd.requests() == n
    while heard.recv(100) != b"X_PREFORKD_REQUESTS=1999":
        pass


def test_outside_and_when_preforkd_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_notify._Served, "total", 0)
    for address in (None, "", "@no-such-preforkd", "/no/such/socket", "@" + "x" * 200):
        if address is not None:
            monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert [preforkd.ready(), preforkd.status("x"), preforkd.heartbeat()] == [False, False, False]
        preforkd.requests()
    assert preforkd.requests(0) == 5


def test_a_text_that_is_no_unicode_is_told_all_the_same(heard: socket.socket) -> None:
    assert preforkd.status("file \udce9.npy") is True
    assert heard.recv(4096) == b"STATUS=file ?.npy"


def test_requests_are_counted_when_there_is_no_descriptor_left(heard: socket.socket) -> None:
    preforkd.requests(0)
    heard.recv(4096)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        total = preforkd.requests()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert heard.recv(4096) == b"X_PREFORKD_REQUESTS=%d" % total, "it is told a moment later"
