# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Writes an object to a file that workers can share, and reports what each of them will have private all the same."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from . import _arrow, pk5
from ._contract import Error
from ._convert import CONVERTING
from ._inband import Part, size
from ._measure import measure

if TYPE_CHECKING:
    import pickle

# From here on it is worth a thought.
_NOTEWORTHY = 1_000_000


@dataclass(frozen=True)
class PackReport:
    """What pack has written. Sizes are bytes."""

    path: str
    format: str  # pk5 or arrow
    size: int  # of the file, which is in memory once
    private: int | None  # what each process that loads it has of its own, measured in one; None: could not be measured
    parts: tuple[Part, ...] = ()  # of that, by name, the largest first
    done: tuple[str, ...] = ()  # what convert=True has converted
    problem: str = ""  # why it could not be loaded in a fresh process, as a worker is one
    shared: int | None = None  # what of the file all these processes use as it lies there; None: not known

    def __str__(self) -> str:
        first = f"{self.path}: {self.format}, {size(self.size)}"
        if self.private is not None and self.shared is not None:
            once = size(self.shared) if self.shared else "nothing"
            first += f"; {once} shared by all workers, {size(self.private)} private in each"
        lines = [first]
        lines += [f"  converted: {text}" for text in self.done]
        if self.problem:
            lines.append(f"  problem: a fresh process cannot load it: {self.problem}")
            if self.format == "pk5":
                lines.append("           (classes must come from a module that workers can import, not from __main__)")
            else:
                lines.append("           (pandas may be unable to make it of Arrow: write .pk5)")
        elif self.private is None:
            lines.append(
                "  private per worker: unknown, since this system does not tell (no RssAnon in /proc/self/status)"
            )
        elif self.private < _NOTEWORTHY:
            lines.append(f"  private per worker: {size(self.private)}, next to nothing")
        else:
            lines += [f"  private: {part}" for part in self.parts]
            lines.append(
                f"  private per worker, all together: {size(self.private)} (measured in a process that loaded it)"
            )
        return "\n".join(lines)


def pack(
    obj: Any,
    path: str | os.PathLike[str],
    *,
    convert: bool = False,
    format: str | None = None,  # noqa: A002
) -> PackReport:
    """Write obj to path, which is replaced when all is written. Raises Error, OSError, and what pickling raises.

    format is pk5 or arrow, None: by the name of path. To measure what stays private the file is loaded twice, in
    another process.
    """
    path = os.fspath(path)
    form = format or {".pk5": "pk5", ".arrow": "arrow", ".feather": "arrow"}.get(os.path.splitext(path)[1].lower())
    if form not in ("pk5", "arrow"):
        raise Error(f"cannot tell the format of {path!r}: its name must end in .pk5 or .arrow")
    done: list[str] = []
    new = f"{path}.{os.getpid()}.new"
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise Error(f"cannot write {path}: there is no directory {folder}")
    try:
        with open(new, "xb") as file:
            if form == "pk5":
                done = _write_pk5(obj, file, convert)
            else:
                _write_arrow(obj, file)
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    told = measure(path, form)
    parts = told.parts
    if convert or form == "arrow":  # what is private now stays so in this format
        other = "a .pk5 shares it, converted" if form == "arrow" else ""
        parts = [p._replace(advice=other) if p.advice.startswith(CONVERTING) else p for p in parts]
    length = os.path.getsize(path)
    return PackReport(path, form, length, told.private, tuple(parts), tuple(done), told.error, told.shared)


def _write_pk5(obj: Any, file: BinaryIO, convert: bool) -> list[str]:
    if not convert:
        pk5.dump(obj, file)
        return []
    from ._convert import Converter

    stream, buffers = io.BytesIO(), list["pickle.PickleBuffer"]()
    converter = Converter(stream, buffers.append)
    converter.dump(obj)
    pk5.write(file, stream.getbuffer(), buffers)
    return converter.done


def _write_arrow(obj: Any, file: BinaryIO) -> None:
    try:
        _arrow.write(_table(obj), file)
    except (TypeError, ValueError, OverflowError) as e:  # two columns of one name, sparse ones, large ints
        raise Error(f"cannot write this {type(obj).__name__} as Arrow ({e}): change that column, or write .pk5") from e


def _table(obj: Any) -> Any:
    """obj, if Arrow can hold it."""
    pandas, arrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if pandas is not None and isinstance(obj, pandas.Series):
        raise Error("cannot write a Series as Arrow: pack series.to_frame(), or write .pk5")
    if pandas is not None and isinstance(obj, pandas.DataFrame):
        return obj
    if arrow is not None and isinstance(obj, (arrow.Table, arrow.RecordBatch)):
        return obj
    raise Error(f"cannot write a {type(obj).__name__} as Arrow, only a DataFrame or a pyarrow.Table: write .pk5")
