# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""The listening sockets that preforkd (or systemd) handed to this process, by name."""

from __future__ import annotations

import os

from ._contract import Error, Misuse, NotFound, no_name
from ._dataset import _process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as sockets

_FIRST = 3  # SD_LISTEN_FDS_START
_MOST = 65536  # listeners: more than anybody has, where the variable is nonsense
_FORMS = "write '127.0.0.1:8000' or '[::1]:8000' for this machine alone, ':8000' for every address, or 'unix:/path'"


class _Bound:
    """The per-process cache: the sockets that were bound outside preforkd."""

    sockets: dict[tuple[str, str], sockets.socket] = {}  # noqa: RUF012


def socket(name: str = "http", default: str | None = None) -> sockets.socket:
    """The listening socket of this name; outside preforkd one at `default`, like "127.0.0.1:8000" or "unix:/path".

    ":8000" is every address of this machine, for all who reach it over the network, as it is for preforkd's --listen.
    Each call gives a new object over a descriptor of its own: closing it leaves the listener to the others. Whether it
    blocks is one flag for all workers (see docs/worker-contract.md); this function does not touch it.
    """
    if not isinstance(name, str) or not name:
        raise no_name("listener", name)
    names = _names()
    if name in names:
        fd = _FIRST + names.index(name)
        if not _listens(fd):
            raise Error(
                f"cannot use listener {name!r}: descriptor {fd} of process {os.getpid()} is not it. "
                f"What a worker spawns does not inherit it: pass it on (subprocess: pass_fds=({fd},)), or fork"
            )
        return _duplicate(fd)
    if default is None:
        there = f"preforkd gave this worker {', '.join(names)}" if names else "preforkd gave none"
        raise NotFound(
            f"cannot find listener {name!r}: {there}. Start by `preforkd -l {name}=:8000 …`, or give "
            "default='127.0.0.1:8000'"
        )
    if not isinstance(default, str):
        raise Misuse(f"cannot listen at {default!r:.50}, the default of listener {name!r}: {_FORMS}")
    with _process.lock:  # a second thread would find the address in use, by this process
        known = _Bound.sockets.get((name, default))
        if known is None:
            known = _Bound.sockets[name, default] = _bind(name, default)
    return known.dup()


def _names() -> list[str]:
    """The names of the listeners, from descriptor 3 on, if they were meant for this process or a worker above it."""
    try:
        count = min(int(os.environ.get("LISTEN_FDS", "")), _MOST)
    except ValueError:
        return []
    mine = os.environ.get("LISTEN_PID") == str(os.getpid())
    if not mine and "PREFORKD_WORKER_ID" not in os.environ:
        return []
    names = [name for name in os.environ.get("LISTEN_FDNAMES", "").split(":") if name][:count]
    return names + ["unknown"] * (count - len(names))  # what sd_listen_fds_with_names(3) calls them


def _duplicate(fd: int) -> sockets.socket:
    """The socket over a descriptor of its own. OSError where it is none."""
    import socket as sockets

    own = os.dup(fd)
    try:
        return sockets.socket(fileno=own)
    except BaseException:
        os.close(own)  # Python leaves it open
        raise


def _listens(fd: int) -> bool:
    """Whether the descriptor is the listener: in a child that was spawned its number may be any other file."""
    import socket as sockets

    try:
        with _duplicate(fd) as s:
            if not s.getsockopt(sockets.SOL_SOCKET, sockets.SO_ACCEPTCONN):
                return False
        worker = os.environ.get("LISTEN_PID", "")
        if worker == str(os.getpid()):
            return True
        here = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False
    try:
        return os.readlink(f"/proc/{worker}/fd/{fd}") == here
    except OSError:
        return True  # the worker has ended or may not be looked into: that it listens must do


def _bind(name: str, address: str) -> sockets.socket:
    """A new listening socket."""
    import socket as sockets

    place = _place(address)
    if place is None:
        raise Error(f"cannot listen at {address!r}, the default of listener {name!r}: {_FORMS}")
    family = sockets.AF_UNIX
    if not isinstance(place, str):
        both = not place[0] and sockets.has_dualstack_ipv6()  # IPv6 and IPv4 by one socket, as preforkd has it
        family = sockets.AF_INET6 if both or ":" in place[0] else sockets.AF_INET
    s = sockets.socket(family)
    try:
        if family != sockets.AF_UNIX:
            s.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        if family == sockets.AF_INET6:
            s.setsockopt(sockets.IPPROTO_IPV6, sockets.IPV6_V6ONLY, not both)
        s.bind(place)
        s.listen(1024)
    except (OSError, ValueError, OverflowError) as e:  # ValueError: a name that is none (UnicodeError)
        s.close()
        raise Error(
            f"cannot listen at {address!r}, the default of listener {name!r} ({e}): "
            "give a free one, as '127.0.0.1:8000' or 'unix:/path'"
        ) from e
    return s


def _place(address: str) -> str | tuple[str, int] | None:
    """What bind takes; None for what is no address, or not a whole one."""
    if "\0" in address:  # the kernel would take what is before it
        return None
    if address.startswith("unix:"):
        path = address[len("unix:") :]
        if path in ("", "@"):  # the kernel would choose a name
            return None
        return "\0" + path[1:] if path.startswith("@") else path
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    number = port.isascii() and port.isdecimal() and len(port) <= 5
    if not colon or not number or bracketed != (":" in host):
        return None
    return host.strip("[]"), int(port)
