# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""One version of a dataset, and the versions that are current in this process.

A Dataset owns a descriptor of its version and, once it was asked for, the mapping. The cache holds the current version
only: an old one is let go of when nobody else has the Dataset, an array or a buffer of it.
"""

from __future__ import annotations

import os
import stat
import weakref
from _thread import RLock
from dataclasses import dataclass, field

from . import _contract, _mapping
from ._contract import Entry, Error, Member, Misuse, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Union, overload

    import numpy
    import torch

    Path = Union[str, os.PathLike[str]]
else:

    def overload(function):  # typing would be 3 ms of every import
        return function


@dataclass(frozen=True, eq=False)
class Dataset:
    """One version of a dataset. Its methods do what the functions of the package do, for exactly this version.

    fd belongs to the Dataset: duplicate it to keep it. size and offset are bytes. default: a file outside preforkd.
    """

    name: str
    path: str
    fd: int | None
    size: int
    version: int
    sha256: str | None
    format: str
    dtype: str | None
    shape: tuple[int, ...] | None
    order: str
    offset: int
    members: dict[str, Member]
    schema: list[dict[str, Any]] | None
    direct: bool
    default: bool
    _kept: dict[Any, Any] = field(repr=False, default_factory=dict)  # the mappings and arrays that were made
    _ino: tuple[int, int] = field(repr=False, default=(-1, -1))  # device and inode
    _entry: Entry | None = field(repr=False, default=None)  # None: a default

    def buffer(self) -> memoryview:
        """The whole content, read-only. Each call gives the same mapping; it goes with its last user."""
        view = self._kept.get("shared")
        if view is None:
            with _process.lock:
                view = self._kept.get("shared")
                if view is None:
                    view = self._kept["shared"] = self._map(private=False)
        return view

    def _private(self) -> memoryview:
        """The whole content, writable: this process gets a copy of each page that it writes, nobody else sees it.

        Each call gives the same mapping as long as somebody uses it; the next one after that is as fresh as the data.
        """
        with _process.lock:
            known = self._kept.get("private")
            owner = known() if known is not None else None
            if owner is not None:
                return memoryview(owner).cast("B")
            view = self._map(private=True)
            if self.size:
                self._kept["private"] = weakref.ref(view.obj)
            return view

    def array(
        self, member: str | None = None, *, mode: str = "r", dtype: Any = None, shape: Any = None
    ) -> numpy.ndarray[Any, Any]:
        """A numpy array over the data, as preforkd.array gives it."""
        from . import _arrays

        return _arrays.make_array(self, member, mode, dtype, shape)

    def tensor(self, member: str | None = None, *, dtype: Any = None, shape: Any = None) -> torch.Tensor:
        """A torch tensor over the data, as preforkd.tensor gives it."""
        from . import _arrays

        return _arrays.make_tensor(self, member, dtype, shape)

    def load(self) -> Any:
        """The object that the data is, as preforkd.load gives it."""
        from . import _arrays

        return _arrays.make_object(self)

    def __reduce__(self) -> Any:
        from . import _handed

        return _handed.pickled(self)

    def _map(self, *, private: bool) -> memoryview:
        if self.fd is None or not _is(self.fd, self._ino):
            raise Error(
                f"cannot map dataset {self.name!r}: its descriptor {self.fd} was closed behind this package's back: "
                "ask for the data before all descriptors are closed, or after that for the first time"
            )
        if stat.S_ISDIR(os.fstat(self.fd).st_mode):
            raise Error(f"cannot map dataset {self.name!r}: {self.path} is a directory; open the files in it")
        return _mapping.map(self.fd, self.size, private=private, what=f"dataset {self.name!r}")

    def _find(self, member: str) -> Member:
        """The member of this name."""
        found = self.members.get(member) if isinstance(member, str) else None
        if found is None:
            there = ", ".join(list(self.members)[:20]) + (", …" if len(self.members) > 20 else "")
            what = f"it has {there}" if there else f"{self.format} has no members"
            raise NotFound(f"cannot find member {member!r} of dataset {self.name!r}: {what}")
        return found


# What a Dataset has just as the entry.
_TOLD = ("name", "path", "version", "sha256", "format", "dtype", "shape", "order", "offset", "schema", "direct")


class _Process:
    """The per-process cache.

    No code of users runs under the lock. It is re-entrant, for signal handlers, and a fork waits for it: a child of a
    thread that was just importing ctypes could never import it (Python leaves such a module locked there).
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self.current: dict[str, Dataset] = {}
        self.defaults: dict[tuple[str, str], Dataset] = {}

    def hold(self) -> None:
        self.lock.acquire()

    def release(self) -> None:
        self.lock.release()


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_process.hold, after_in_parent=_process.release, after_in_child=_process.release)


def _is(fd: int, ino: tuple[int, int]) -> bool:
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == ino


def _close(fd: int, ino: tuple[int, int]) -> None:
    """Close a Dataset's descriptor, unless somebody (a daemon's closerange) did and the number is another file now."""
    if _is(fd, ino):
        os.close(fd)


def _new(fd: int, found: os.stat_result, **fields: Any) -> Dataset:
    """A Dataset that closes fd at its end."""
    ino = (found.st_dev, found.st_ino)
    dataset = Dataset(fd=fd, _ino=ino, **fields)
    weakref.finalize(dataset, _close, fd, ino).atexit = False
    return dataset


def make(entry: Entry, fd: int) -> Dataset:
    """The version that `entry` tells of and `fd` shows; fd stays the caller's. Error where it is not that dataset."""
    if not _contract.trusted(fd, entry):
        raise Error(
            f"cannot use descriptor {fd} as version {entry.version} of dataset {entry.name!r}: it is another file"
        )
    return _own(entry, os.dup(fd))


def _own(entry: Entry, fd: int) -> Dataset:
    """The same, with a descriptor that is the Dataset's from now on."""
    dataset = None
    try:
        size, found = entry.size, os.fstat(fd)
        if entry.direct and stat.S_ISREG(found.st_mode):
            size = found.st_size  # such a file may grow
        told = {name: getattr(entry, name) for name in _TOLD}
        dataset = _new(fd, found, size=size, members=entry.members or {}, default=False, _entry=entry, **told)
    finally:
        if dataset is None:  # a signal handler has raised
            os.close(fd)
    if entry.members_omitted and entry.format in ("npz", "safetensors"):
        _describe(dataset)
    return dataset


def described(dataset: Dataset) -> Dataset:
    """The same. What preforkd does not tell of a file that workers open themselves is read from its content first."""
    if dataset.direct and "described" not in dataset._kept:
        with _process.lock:
            if "described" not in dataset._kept:
                _describe(dataset)
                dataset._kept["described"] = True
    return dataset


def _describe(dataset: Dataset) -> None:
    """Fill in what the content says of itself."""
    from ._recognise import recognise

    try:
        header = recognise(dataset.buffer())
    except Error as e:
        raise Error(f"cannot use {dataset.path} as dataset {dataset.name!r}: {e}") from e
    for name in ("format", "dtype", "shape", "order", "offset", "members"):
        object.__setattr__(dataset, name, getattr(header, name))


def _outside(name: str, default: str) -> Dataset:
    """The file `default` in place of a dataset: the same mapping, the same functions."""
    path = os.path.abspath(default)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe's open waits for a writer, for ever
    except (OSError, ValueError) as e:
        raise Error(f"cannot open {path}, the default of dataset {name!r}: {getattr(e, 'strerror', e)}") from e
    found = os.fstat(fd)
    dataset = _new(
        fd, found, name=name, path=path, size=found.st_size, version=1, sha256=None, format="raw", dtype=None,
        shape=None, order="C", offset=0, members={}, schema=None, direct=False, default=True,
    )  # fmt: skip
    if stat.S_ISREG(found.st_mode):
        _describe(dataset)
    elif not stat.S_ISDIR(found.st_mode):
        raise Error(f"cannot use {path}, the default of dataset {name!r}: it is a pipe, a socket or a device")
    return dataset


def _file(name: str, default: Path) -> str:
    """The path that was given as default=."""
    try:
        path = os.fsdecode(default)
    except TypeError as e:
        raise Misuse(f"cannot use {default!r:.50} as the default of dataset {name!r}: give the path of a file") from e
    if not path:  # os.environ.get("FILE", ""); it would be the current directory
        raise Error(f"cannot use an empty path as the default of dataset {name!r}: give the path of a file")
    return path


def current(name: str, default: Path | None = None) -> Dataset:
    """The version of dataset `name` that is current in this process; outside preforkd the file `default`.

    A UserWarning where preforkd gave other datasets and the default is used: the name may be misspelt.
    """
    if not isinstance(name, str) or not name:
        raise _contract.no_name("dataset", name)
    dataset = _process.current.get(name)
    if dataset is not None:
        return dataset
    first = False
    with _process.lock:
        there = _contract.entries()
        entry = there.get(name)
        if entry is not None:
            dataset = _process.current.get(name)  # another thread may have been faster
            if dataset is None:
                dataset = _process.current[name] = _own(entry, _contract.open_version(entry))
            return dataset
        if default is None:
            raise _missing(name)
        key = (name, _file(name, default))
        dataset = _process.defaults.get(key)
        if dataset is None:
            dataset = _process.defaults[key] = _outside(*key)
            first = bool(there)
    if first:
        _warn(
            f"preforkd gave this worker {', '.join(there)}, but no dataset {name!r}: {dataset.path}, its default, is "
            "read by this process for itself"
        )
    return dataset


def _warn(text: str) -> None:
    """A UserWarning for the line that called this package."""
    import sys
    import warnings

    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__package__") == __package__:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)


def _missing(name: str) -> NotFound:
    there = _contract.entries()
    if there:
        return NotFound(f"cannot find dataset {name!r}: preforkd gave this worker {', '.join(there)}")
    return NotFound(
        f"cannot find dataset {name!r}: this process was not started by preforkd. Start it by "
        f"`preforkd -d {name}=FILE … -- COMMAND`, or name a file for such cases: default='FILE'"
    )


def replace(new: Mapping[str, Dataset]) -> None:
    """Make these versions the current ones, all at once, also for processes that this one spawns from now on."""
    with _process.lock:  # a thread that is just making an older version current has done so
        _contract.tell(d._entry for d in new.values() if d._entry is not None)
        _process.current = {**_process.current, **new}


def split(name: str, default: Path | None = None) -> tuple[Dataset, str | None]:
    """The dataset and the member that "emb" or "models.layer.0.weight" names. A dataset's name has no dot."""
    if not isinstance(name, str):
        raise _contract.no_name("dataset", name)
    dataset, _, member = name.partition(".")
    return current(dataset, default), member or None


def mapped() -> list[tuple[str, int, int, bool]]:
    """The datasets that were mapped here: name, device, inode, and whether it is a file of a disk."""
    there = [*_process.current.values(), *_process.defaults.values()]
    return [(d.name, *d._ino, d.default or d.direct) for d in there if "shared" in d._kept or "private" in d._kept]


@overload
def data() -> dict[str, Dataset]: ...
@overload
def data(name: str, default: Path | None = None) -> Dataset: ...
def data(name: str | None = None, default: Path | None = None) -> Dataset | dict[str, Dataset]:
    """The version of a dataset that is current in this process; without a name all of them, {} outside preforkd."""
    if name is None:
        return {name: current(name) for name in _contract.entries()}
    return current(name, default)


def buffer(name: str, default: Path | None = None) -> memoryview:
    """The whole content, read-only: one mapping for the process and version, shared with all its arrays."""
    return current(name, default).buffer()


def path(name: str, default: Path | None = None) -> str:
    """The path under which this process can open the dataset; it was tried. Outside preforkd that of `default`."""
    dataset = current(name, default)
    entry = dataset._entry
    if entry is None:
        return dataset.path
    fd = _contract.open_path(entry)
    if fd is not None:
        os.close(fd)
        return entry.path
    for number in (entry.fd, dataset.fd):
        if number is not None and not entry.direct and _contract.trusted(number, entry):
            return f"/proc/self/fd/{number}"
    raise _contract.gone(entry)
