# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""What a worker tells preforkd, by datagrams to NOTIFY_SOCKET (sd_notify(3))."""

from __future__ import annotations

import os
from _operator import index
from _thread import RLock

from ._contract import Misuse

_PATIENCE = 1.0  # seconds that a message waits for room in preforkd's queue, often 10 messages long
_PAUSE = 0.1  # seconds for which requests are only counted when there is no room


class _Served:
    """The per-process cache: requests counted so far, and whether a thread is to tell them."""

    lock = RLock()  # re-entrant, for signal handlers
    total = 0
    later = False


def _forked() -> None:
    _Served.lock, _Served.total, _Served.later = RLock(), 0, False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def ready(status: str | None = None) -> bool:
    """Tell preforkd that this worker is ready (with --ready notify it is asked for), and a line of status if given.

    False where nobody listens: outside preforkd, or when it is gone. So it is with the other functions here.
    """
    return _send("READY=1" + (f"\nSTATUS={_line(status)}" if status is not None else ""), _PATIENCE)


def status(text: str) -> bool:
    """Tell preforkd one line, for `preforkd status` and /stats."""
    return _send(f"STATUS={_line(text)}", _PATIENCE)


def heartbeat() -> bool:
    """Tell preforkd that this worker is alive; with --watchdog it must, at least every WATCHDOG_USEC."""
    return _send("WATCHDOG=1", _PATIENCE)


def requests(more: int = 1) -> int:
    """Count `more` requests as served and tell preforkd, for /stats and --max-requests; the total of this process.

    May be called by any thread and never waits: where preforkd's queue is full, the total is told a moment later. One
    process of a worker should count, since preforkd takes the last number that it hears; a forked child begins with 0.
    more=0 counts nothing.
    """
    try:
        count = -1 if isinstance(more, bool) else index(more)
    except TypeError:
        count = -1
    if count < 0:
        raise Misuse(f"cannot count {more!r:.50} requests: give a whole number, 0 or more")
    with _Served.lock:
        _Served.total += count
        if not _Served.later:
            _tell()
        return _Served.total


def _tell() -> None:
    """Tell the total, under the lock, so that the numbers arrive in order."""
    try:
        _Served.later = False
        _put(f"X_PREFORKD_REQUESTS={_Served.total}", 0)
    except OSError:  # no room in its queue, or for one more descriptor here
        import threading

        timer = threading.Timer(_PAUSE, _tell_later)
        timer.daemon = True
        try:
            timer.start()
            _Served.later = True
        except RuntimeError:  # the interpreter ends
            pass


def _tell_later() -> None:
    with _Served.lock:
        _tell()


def _line(text: str) -> str:
    if not isinstance(text, str):
        raise Misuse(f"cannot tell {text!r:.50} as the status: give a text")
    return " ".join(text.splitlines())


def _send(text: str, patience: float) -> bool:
    try:
        return _put(text, patience)
    except OSError:
        return False


def _put(text: str, patience: float) -> bool:
    """False where nobody listens. BlockingIOError (patience 0) or a timeout where there is no room."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(patience)
        try:
            s.sendto(text.encode(errors="replace"), "\0" + address[1:] if address.startswith("@") else address)
        except (BlockingIOError, socket.timeout):
            raise
        except OSError:
            return False
    return True
