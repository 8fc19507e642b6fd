# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""preforkd as a process sees it that takes new versions in place: its variables, its notify socket, its offers."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from preforkd import _contract, _dataset, _live

from .conftest import PATIENCE, SEALS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

SIZE = 3 << 20  # bytes: more than a huge page


def segment(name: str, version: int, size: int = SIZE, *, sealed: bool = True) -> int:
    """A dataset as preforkd makes it; each byte is its version."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, bytes([version % 256]) * size)
    if sealed:
        fcntl.fcntl(fd, 1033, SEALS)  # F_ADD_SEALS
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(fd)
    return again


class Preforkd:
    """What a worker sees of preforkd: its variables, the notify socket, offers. Version 1 of each dataset is there."""

    def __init__(self, names: list[str]) -> None:
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.settimeout(PATIENCE)
        self.notify.bind(f"\0preforkd-test-{os.getpid()}-{id(self)}")
        address = self.notify.getsockname()
        self.numbers = {name: segment(name, 1) for name in names}
        data = {name: self.entry(name, 1) for name in names}
        self.environ = {"NOTIFY_SOCKET": "@" + address[1:].decode(), "PREFORKD_WORKER_ID": "0"}
        self.environ["PREFORKD_DATA"] = json.dumps(data)
        self.offers = 0
        self.channel: socket.socket | None = None

    def entry(self, name: str, version: int, size: int = SIZE) -> dict[str, Any]:
        number = self.numbers[name]
        told = {"fd": number, "path": f"/proc/{os.getpid()}/fd/{number}", "size": size, "ino": os.fstat(number).st_ino}
        return {**told, "version": version, "format": "raw", "offset": 0}

    def registered(self) -> list[str]:
        """The names of the next registration, whose socket takes the place of the one before it, as with preforkd."""
        text, control, _, _ = self.notify.recvmsg(4096, socket.CMSG_LEN(64))
        if self.channel is not None:
            self.channel.close()
        (fd,) = array.array("i", b"".join(data for _, _, data in control))
        self.channel = socket.socket(fileno=fd)
        self.channel.settimeout(PATIENCE)
        return text.decode().partition("X_PREFORKD_TAKES=")[2].split()

    def tell(self, name: str, more: dict[str, Any]) -> None:
        """Change what the variable says of a dataset."""
        data = json.loads(os.environ["PREFORKD_DATA"])
        data[name].update(more)
        os.environ["PREFORKD_DATA"] = json.dumps(data)

    def send(
        self,
        names: list[str],
        version: int,
        *,
        sealed: bool = True,
        fds: list[int] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        """Offer a version of these datasets: new segments, whose paths lead nowhere, or those that the caller keeps."""
        assert self.channel is not None
        self.offers += 1
        sent = [segment(name, version, sealed=sealed) for name in names] if fds is None else fds
        data = {name: self.entry(name, version) for name in names}
        for name, fd in zip(names, sent):
            data[name]["path"] = f"/gone/{name}.v{version}" if fds is None else f"/proc/{os.getpid()}/fd/{fd}"
            data[name].update({"ino": os.fstat(fd).st_ino, **(more or {})})
        offer = {"offer": self.offers, "data": data, "fds": names, "later": "what we do not know"}
        socket.send_fds(self.channel, [json.dumps(offer).encode()], sent)
        if fds is None:
            for fd in sent:
                os.close(fd)

    def answer(self) -> dict[str, Any]:
        assert self.channel is not None
        answer = json.loads(self.channel.recv(65536))
        assert answer.pop("offer") == self.offers
        return dict(answer)

    def offer(self, names: list[str], version: int, **how: Any) -> dict[str, Any]:
        self.send(names, version, **how)
        return self.answer()

    def close(self) -> None:
        if self.channel is not None:
            self.channel.close()
        self.notify.close()
        for fd in self.numbers.values():
            os.close(fd)


def begin() -> None:
    """This process knows nothing, as at its start."""
    _dataset._process.current = {}
    _contract._Told.text = None
    _live._process.begin()


@contextlib.contextmanager
def serving(names: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Preforkd]:
    """A preforkd that this process finds in its variables. At its end the package's thread must end, too."""
    begin()
    server = Preforkd(names)
    for key, value in server.environ.items():
        monkeypatch.setenv(key, value)
    yield server
    server.close()
    thread = _live._process.thread
    if thread is not None:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the thread does not end with preforkd"
    begin()
