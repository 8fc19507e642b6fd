# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Takes new versions of the data in place, by the protocol of docs/in-place.md, on a thread of its own.

A process has one registration: preforkd forgets the older one when the same process sends another. So a name that comes
later is sent, with those before it, on a new socket; the thread goes over to it when the old one has ended.
"""

from __future__ import annotations

import array
import contextlib
import json
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, Callable

from . import _contract, _dataset
from ._contract import Error, Misuse, NotFound
from ._dataset import Dataset

if TYPE_CHECKING:
    from ._contract import Entry

Callback = Callable[[Dataset], object]

_PACKET = 64 << 10  # bytes: the longest offer
_FILES = 253  # descriptors in a packet: SCM_MAX_FD
_NAMES = 4000  # bytes: a datagram to NOTIFY_SOCKET has at most 4096
_TEXT = 400  # characters of an error: preforkd keeps 512 bytes


class _Process:
    """What this process has registered. The one changing global of this module; a forked child begins anew."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.pid = os.getpid()
        self.turn = threading.RLock()  # an offer or a registration; re-entrant, for signal handlers
        self.registering = False
        # Held where a fork would give the child half of something. A signal handler may fork in the middle of a fork.
        self.steady = threading.RLock()
        self.callbacks: list[tuple[str, Callback]] = []
        self.names: set[str] = set()
        self.known: dict[str, Entry] = {}  # as the variables told: the program may clear them
        self.socket: socket.socket | None = None  # of the newest registration
        self.serving: socket.socket | None = None  # the one that the thread is at
        self.received: list[int] = []  # descriptors of the offer in hand
        self.offered: dict[str, Dataset] = {}  # what was made of them, until it is current
        self.thread: threading.Thread | None = None

    def forked(self) -> None:
        """In a child: let go of what is the parent's."""
        for each in (self.socket, self.serving):
            if each is not None:
                each.close()
        if self.thread is not threading.current_thread():  # a callback may fork and go on with what it was given
            # The thread is gone, but not what its frames held: nothing else would close the datasets' own descriptors.
            for fd in self.received + [d.fd for d in self.offered.values() if d.fd is not None]:
                os.close(fd)
        self.begin()

    def register(self, name: str, callback: Callback | None) -> bool:
        if self.pid != os.getpid():  # forked without Python's knowledge: uWSGI
            self.forked()
        if self.thread is threading.current_thread():
            raise Error("cannot register from a callback: call on_new_version where the program starts")
        with self.turn:
            if self.registering:
                raise Error(
                    f"cannot register {name!r}: a signal handler has interrupted another registration; call "
                    "on_new_version where the program starts"
                )
            try:
                self.registering = True
                return self.add(name, callback)
            finally:
                self.registering = False

    def add(self, name: str, callback: Callback | None) -> bool:
        self.known = {**_contract.entries(), **self.known}
        names, callbacks = self.names | {name}, self.callbacks
        if callback is not None:  # before the first offer, which may come at once
            self.callbacks = [*callbacks, (name, callback)]
        done = self.socket is not None and bool(self.names & {name, "*"})
        try:
            done = done or self.open({"*"} if "*" in names else names)
        finally:
            if not done:
                self.callbacks = callbacks
        if done:
            self.names = names
        return done

    def open(self, names: set[str]) -> bool:
        """Register the names on a new socket; False when preforkd is gone."""
        text = "X_PREFORKD_TAKES=" + " ".join(sorted(names))
        if len(text) > _NAMES:
            raise Error(f'cannot register {len(names)} datasets by their names, which are too long together: take "*"')
        if self.socket is None:  # it waits for its turn, which is ours
            self.thread = threading.Thread(target=self.serve, name="preforkd", daemon=True)
            self.thread.start()
        address = os.environ["NOTIFY_SOCKET"]
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.connect("\0" + address[1:] if address.startswith("@") else address)
                socket.send_fds(notify, [text.encode()], [theirs.fileno()])
        except OSError:
            mine.close()
            return False
        old, self.socket = self.socket, mine
        if old is not None and old is self.serving:
            _wake(old)
        elif old is not None:  # the thread has not come to it
            old.close()
        return True

    def serve(self) -> None:
        """The thread: until the newest socket has ended, since preforkd has closed it or is gone."""
        sock: socket.socket | None = None
        while True:
            with self.turn:
                if sock is not None:
                    sock.close()
                if self.socket is sock:
                    self.socket = None
                sock = self.serving = self.socket
            if sock is None:
                return
            while self.one(sock):
                pass

    def one(self, sock: socket.socket) -> bool:
        """Wait for an offer and answer it; False at the end of the socket."""
        try:
            if not sock.recv(1, socket.MSG_PEEK):
                return False
            with self.turn:
                return self.answer(sock)
        except (OSError, ValueError, LookupError, TypeError):  # what comes is no offer
            return False

    def answer(self, sock: socket.socket) -> bool:
        with self.steady:  # not socket.recv_fds: it does not pass flags on (3.9 to 3.13)
            flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
            packet, control, _, _ = sock.recvmsg(_PACKET, socket.CMSG_LEN(4 * _FILES), flags)
            self.received = list(array.array("i", b"".join(data for _, _, data in control)))
        try:
            if not packet:
                return False
            said = self.decide(json.loads(packet))
        finally:
            with self.steady:
                for fd in self.received:
                    os.close(fd)
                self.received, self.offered = [], {}
        sock.send(json.dumps(said).encode(), socket.MSG_NOSIGNAL)
        return True

    def decide(self, offer: dict[str, Any]) -> dict[str, Any]:
        """Take what is offered; the answer."""
        number, names = offer["offer"], offer["fds"]
        try:
            self.take(names, offer["data"])
        except BaseException as e:  # SystemExit too: it would end this thread alone, without a word
            text = "cannot take the new data (%s): this worker is to be replaced"
            logging.getLogger("preforkd").warning(text, ", ".join(names), exc_info=True)
            return {"offer": number, "taken": False, "error": _why(e)[:_TEXT]}
        return {"offer": number, "taken": True}

    def take(self, names: list[str], data: dict[str, Any]) -> None:
        """Make, check and switch to the versions that self.received holds; all of them or none."""
        if len(self.received) != len(names):
            count = f"{len(self.received)} of {len(names)} descriptors came"
            raise Error(
                f"cannot take new data: {count}; this process has too many files open: raise its limit (ulimit -n)"
            )
        new: dict[str, Dataset] = {}
        moves: list[tuple[int, int]] = []
        for name, fd in zip(names, self.received):
            entry = _contract.parse(name, data[name])
            before = self.before(name)
            if before is not None and (before.version, before.ino) == (entry.version, entry.ino):
                continue  # offered again, after another registration
            if not _contract.trusted(fd, entry):
                raise Error(f"cannot take version {entry.version} of {name!r}: what came is not what was announced")
            with self.steady:
                new[name] = self.offered[name] = _dataset.make(entry, fd)
            if before is not None and _ours(before):
                moves.append((fd, before.fd))
        self.ask(new)
        with self.steady:
            _dataset.replace(new)  # first: it may fail, where the program has spoilt its variables
            for fd, number in moves:
                os.dup2(fd, number)
            self.offered = {}

    def before(self, name: str) -> Entry | None:
        """The version that is to be replaced. No Dataset of it stays in a frame of the thread: see forked."""
        held = _dataset._process.current.get(name)
        return self.known.get(name) if held is None else held._entry

    def ask(self, new: dict[str, Dataset]) -> None:
        """Run the callbacks. When one raises, those before it are given the old versions again, the last one first."""
        done: list[tuple[Callback, str]] = []
        try:
            for name, dataset in new.items():
                for wanted, callback in self.callbacks:
                    if wanted in (name, "*"):
                        callback(dataset)
                        done.append((callback, name))
        except BaseException:
            for callback, name in reversed(done):
                try:
                    callback(_dataset.data(name))
                except BaseException:
                    text = "cannot go back to the old version of %s"
                    logging.getLogger("preforkd").warning(text, name, exc_info=True)
            raise


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _process.steady.acquire(),  # noqa: PLW0108  (begin makes new locks)
        after_in_parent=lambda: _process.steady.release(),  # noqa: PLW0108
        after_in_child=_process.forked,
    )


def on_new_version(name: str, callback: Callback | None = None) -> bool:
    """See preforkd.on_new_version."""
    if not isinstance(name, str) or not name:
        raise _contract.no_name("dataset", name)
    if callback is not None and not callable(callback):
        raise Misuse(
            f"cannot call {callback!r:.50} with new versions of {name!r}: give a function of the Dataset, or nothing"
        )
    if _contract.worker_id() is None or "NOTIFY_SOCKET" not in os.environ:
        return False
    known = _contract.entries()
    if name != "*" and name not in known:
        text = ", ".join(known) or "none"
        raise NotFound(f'cannot take new versions of {name!r}: there is no such dataset. There are: {text}; "*" is all')
    return _process.register(name, callback)


def _why(error: BaseException) -> str:
    """One error in words. What its class does for that may fail, too."""
    try:
        return str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001
        return type(error).__name__


def _ours(entry: Entry) -> bool:
    """Whether the number is the dataset here: in a process that a worker spawned it may be any other file."""
    if not entry.direct:
        return _contract.trusted(entry.fd, entry)
    try:
        return os.readlink(f"/proc/self/fd/{entry.fd}") in (entry.path, entry.path + " (deleted)")
    except OSError:
        return False


def _wake(sock: socket.socket) -> None:
    """Have the thread that waits there go on."""
    with contextlib.suppress(OSError):  # preforkd has ended it already
        sock.shutdown(socket.SHUT_RDWR)
