# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""The Python side of preforkd: data that is loaded once, shared read-only by every worker.

    emb = preforkd.array("emb", default="./emb.npy")    the one copy under preforkd; the file itself without it

Every function works outside preforkd too. Standard library only; numpy, torch, pyarrow and pandas are imported when a
function that gives their objects is called.
"""

from __future__ import annotations

from ._arrays import array, load, tensor
from ._contract import Error, NotFound, incarnation, worker_id, workers
from ._dataset import Dataset, buffer, data, path
from ._memory import Memory, memory
from ._notify import heartbeat, ready, requests, status
from ._sockets import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any, Callable

    from ._pack import PackReport

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "Error",
    "Memory",
    "NotFound",
    "array",
    "buffer",
    "data",
    "heartbeat",
    "incarnation",
    "load",
    "memory",
    "on_new_version",
    "pack",
    "path",
    "ready",
    "requests",
    "socket",
    "status",
    "tensor",
    "worker_id",
    "workers",
]


def on_new_version(name: str, callback: Callable[[Dataset], object] | None = None) -> bool:
    """Take new versions of the dataset `name` ("*": of all) in place from now on; False outside preforkd.

    callback(dataset) gets each new version on a thread of the package, before it is made current: what it raises
    refuses the offer, and the old version stays. Afterwards data(name), array(name) … give the new version; the old one
    is unmapped with its last array. Register in the process that uses the data, after the last fork.
    """
    from ._live import on_new_version as register

    return register(name, callback)


def pack(obj: Any, path: str | os.PathLike[str], *, convert: bool = False, format: str | None = None) -> PackReport:  # noqa: A002
    """Write obj to a file that workers can share, .pk5 or .arrow by its name, and report what stays private.

    convert=True shares what can be converted without a loss: dates, strings of DataFrames, strided arrays.
    """
    from ._pack import pack as write

    return write(obj, path, convert=convert, format=format)
