# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A Dataset that is handed to another process of the worker (joblib, multiprocessing): some 350 bytes, not its content.

It is pickled as what it is called, and found by its path where it is unpickled: always this version, or an error. What
array("emb") means there does not change by it. A process keeps the last one of each name that it was handed open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _contract, _dataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._contract import Entry
    from ._dataset import Dataset

_last: dict[str, Dataset] = {}  # the per-process cache


def pickled(dataset: Dataset) -> tuple[Callable[..., Dataset], tuple[Any, ...]]:
    """What Dataset.__reduce__ returns."""
    if dataset._entry is None:
        return _dataset.current, (dataset.name, dataset.path)
    return again, (dataset._entry,)


def again(entry: Entry) -> Dataset:
    """The version that another process has handed over; Error where it is not there any more."""
    for known in (_dataset._process.current.get(entry.name), _last.get(entry.name)):
        if known is not None and known._entry is not None and _same(known._entry, entry):
            return known
    _last.pop(entry.name, None)  # the memory of an old version is not held while a new one is opened
    made = _last[entry.name] = _dataset._own(entry, _contract.open_version(entry))
    return made


def _same(a: Entry, b: Entry) -> bool:
    return (a.version, a.ino, a.path) == (b.version, b.ino, b.path)
