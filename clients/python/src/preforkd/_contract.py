# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""What preforkd told this process (docs/worker-contract.md), and which descriptors may be believed.

A descriptor's number means nothing by itself: in a process that a worker *spawned* it may be closed, or any other file.
It is believed only if it is a sealed memfd of the dataset's size and of the inode that preforkd told (where none was
told: of the dataset's name): two versions of a dataset usually have the same size.
"""

from __future__ import annotations

import os
import stat
from dataclasses import asdict, dataclass

TYPE_CHECKING = False  # as type checkers know it; typing would be a third of the time that the import takes
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_VARIABLE = "PREFORKD_DATA"
_F_GET_SEALS = 1034  # fcntl.F_GET_SEALS has a name since Python 3.8, but not on every system
_SEALS = 0x2 | 0x4 | 0x8  # SHRINK, GROW, WRITE
_LONG = 16384  # bytes of PREFORKD_DATA from which on members are left out when it is written again


class Error(Exception):
    """What this package raises of its own; the text begins with "cannot" and says what to do."""


class NotFound(Error, LookupError):  # noqa: N818  (reads as `except preforkd.NotFound`)
    """There is no such dataset, listener or member, and no default was given."""


class Misuse(Error, TypeError):  # noqa: N818
    """An argument is not of the kind that is needed."""


class NoLibrary(Error, ImportError):  # noqa: N818
    """A library that was asked for by the function that was called is not installed."""


def no_name(what: str, value: object) -> Misuse:
    """The error about a name that can be none."""
    return Misuse(f"cannot find a {what} by {value!r:.50}: give its name, a text")


def library(name: str, why: str) -> Any:
    """The library, which is imported when a function that needs it is called."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise NoLibrary(f"cannot import {name} ({e}), which is needed {why}: pip install {name}", name=name) from e


@dataclass(frozen=True)
class Member:
    """One array of an npz or safetensors. offset and size are bytes in the dataset; offset -1: it cannot be mapped."""

    dtype: str
    shape: tuple[int, ...]
    order: str
    offset: int
    size: int


@dataclass(frozen=True)
class Entry:
    """What PREFORKD_DATA says of one dataset. size and offset are bytes."""

    name: str
    fd: int
    path: str
    size: int
    version: int
    sha256: str | None = None
    format: str = "raw"
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    order: str = "C"
    offset: int = 0
    members: dict[str, Member] | None = None
    schema: list[dict[str, Any]] | None = None
    members_omitted: bool = False
    direct: bool = False
    ino: int | None = None  # inode of the segment, see above; None: direct, or not told


# What the fields of an entry are; not listed: what a wrong type of does no harm.
_NUMBERS = ("fd", "size", "version", "offset", "ino")
_TEXTS = ("path", "sha256", "format", "dtype", "order")
_NEEDED = ("fd", "path", "size", "version")


def member(fields: Mapping[str, Any]) -> Member:
    """The member that these fields of PREFORKD_DATA describe."""
    order, offset, size = fields.get("order", "C"), _number(fields["offset"]), _number(fields["size"])
    return Member(_text(fields["dtype"]), _shape(fields["shape"]), _text(order), offset, size)


def parse(name: str, fields: Mapping[str, Any]) -> Entry:
    """The entry of PREFORKD_DATA, or of an offer, that `fields` is; fields that are not known are passed over."""
    try:
        known = {
            key: fields[key]
            for key in Entry.__dataclass_fields__
            if key in _NEEDED or (key != "name" and fields.get(key) is not None)
        }
        for key, value in known.items():
            if key in _NUMBERS:
                _number(value)
            elif key in _TEXTS:
                _text(value)
        if "shape" in known:
            known["shape"] = _shape(known["shape"])
        if "members" in known:
            known["members"] = {key: member(value) for key, value in known["members"].items()}
        return Entry(name, **known)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise Error(
            f"cannot understand what PREFORKD_DATA says of {name!r} ({e!r}): is it preforkd that wrote it?"
        ) from e


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r:.50} is no number of 63 bits")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{value!r:.50} is no text")
    return value


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{value!r:.50} is no shape")
    return tuple(_number(n) for n in value)


class _Told:
    """The per-process cache: the variable's text, and what it says."""

    text: str | None = None
    entries: dict[str, Entry] = {}  # noqa: RUF012  (replaced as a whole, never changed)


def entries() -> dict[str, Entry]:
    """The datasets of this worker in --data order; {} outside preforkd. Do not change it."""
    text = os.environ.get(_VARIABLE)
    if text == _Told.text:
        return _Told.entries
    import json

    try:
        fields = json.loads(text or "{}")
        known = [parse(name, f) for name, f in fields.items()]
    except (ValueError, AttributeError, RecursionError) as e:
        raise Error(f"cannot read the variable {_VARIABLE} ({e}): unset it outside preforkd") from e
    known.sort(key=lambda entry: entry.fd)  # the order of --data; JSON's is that of the names
    found = {entry.name: entry for entry in known}
    _Told.entries, _Told.text = found, text
    return found


def tell(new: Iterable[Entry]) -> None:
    """Write what is new into the variables, for the processes that this one spawns from now on.

    Only variables that exist are replaced: that moves nothing that a thread may read in C (glibc's setenv).
    """
    import json

    there = entries()
    newer = [entry for entry in new if entry.name in there]
    if not newer:
        return
    fields = json.loads(os.environ[_VARIABLE])
    for entry in newer:
        told = {k: v for k, v in asdict(entry).items() if k != "name" and v is not None and v is not False}
        fields[entry.name] = {"sha256": None, **told}
        name = _VARIABLE + "_" + "".join(c.upper() if c.isascii() and c.isalnum() else "_" for c in entry.name)
        for key, value in ((name, entry.path), (name + "_SIZE", str(entry.size))):
            if os.environ.get(key, value) != value:
                os.environ[key] = value
    text = json.dumps(fields, separators=(",", ":"))
    if len(text) > _LONG:  # each writing costs its length for good: C's environment frees nothing
        for old in fields.values():
            if old.pop("members", None) or old.pop("schema", None):
                old["members_omitted"] = True
        text = json.dumps(fields, separators=(",", ":"))
    os.environ[_VARIABLE] = text


def seals(fd: int) -> int:
    """The seals of a descriptor, 0 where there are none and for what cannot have any."""
    try:
        import fcntl

        return fcntl.fcntl(fd, _F_GET_SEALS)
    except (ImportError, OSError):
        return 0


def trusted(fd: int, entry: Entry) -> bool:
    """Whether this descriptor is the dataset that the entry tells of, as far as that can be found out; see above."""
    try:
        found = os.fstat(fd)
        if entry.direct:
            there = os.stat(entry.path)
            return (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino)
    except (OSError, OverflowError):
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size or seals(fd) & _SEALS != _SEALS:
        return False
    if entry.ino is not None:
        return found.st_ino == entry.ino
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == f"/memfd:{entry.name} (deleted)"
    except OSError:
        return True  # no /proc here: then there are no paths that could lead astray either


def open_path(entry: Entry) -> int | None:
    """A fresh descriptor by the entry's path, None where the path does not lead to the dataset from here."""
    try:
        fd = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    good = False
    try:
        good = trusted(fd, entry)
        return fd if good else None
    finally:
        if not good:
            os.close(fd)


def open_version(entry: Entry) -> int:
    """A fresh descriptor (the caller closes it) of the entry's version: by path, else a copy of the inherited one."""
    fd = open_path(entry)
    if fd is not None:
        return fd
    if trusted(entry.fd, entry):
        return os.dup(entry.fd)
    raise gone(entry)


def gone(entry: Entry) -> Error:
    """The error about a dataset that this process cannot reach."""
    if entry.direct:
        return Error(f"cannot open dataset {entry.name!r}: {entry.path} is gone or may not be read by this user")
    return Error(
        f"cannot reach version {entry.version} of dataset {entry.name!r} in process {os.getpid()}: {entry.path} does "
        f"not lead to it and descriptor {entry.fd} is not it. If a worker spawned this process, either a newer version "
        f"has replaced this one, or the worker may not look into preforkd (--user): then fork, or keep the descriptor "
        f"open in the child (subprocess: pass_fds=({entry.fd},))"
    )


def worker_id() -> int | None:
    """The slot of this worker, from 0; None outside preforkd."""
    return _variable("PREFORKD_WORKER_ID")


def workers() -> int | None:
    """How many slots there are; None outside preforkd."""
    return _variable("PREFORKD_WORKERS")


def incarnation() -> int | None:
    """How many processes this slot has had, from 1; None outside preforkd."""
    return _variable("PREFORKD_INCARNATION")


def _variable(name: str) -> int | None:
    try:
        return int(os.environ[name])
    except (KeyError, ValueError):
        return None
