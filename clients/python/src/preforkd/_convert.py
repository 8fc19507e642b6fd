# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""The pickler that shares more: what pickle keeps in its stream though its bytes could lie beside it.

Its pickles are loaded by pickle alone, with numpy, and pandas and pyarrow for strings: not with this package.
"""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import BinaryIO, Callable


class Converter(pickle.Pickler):
    """Pickles by protocol 5. What it has converted stands in done, in words."""

    def __init__(self, file: BinaryIO, buffer_callback: Callable[[pickle.PickleBuffer], Any]) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.done: list[str] = []
        self._columns: dict[int, list[str]] = {}  # id of an array → the columns of a frame that lie in it

    def reducer_override(self, obj: Any) -> Any:
        """Called by pickle for every object that is no plain one of Python's own."""
        # Whoever pickles an array or a frame has imported its library.
        numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
        if numpy is not None and type(obj) is numpy.ndarray:
            return self._array(obj, numpy)
        if pandas is not None and type(obj) is pandas.DataFrame:
            return self._frame(obj, pandas)
        if pandas is not None and type(obj) is pandas.Series:
            strings = self._strings(f"series {obj.name}", obj, pandas)
            return NotImplemented if strings is None else strings.__reduce_ex__(5)
        return NotImplemented

    def _array(self, a: Any, numpy: Any) -> Any:
        if a.dtype.hasobject or a.dtype.itemsize == 0:
            return NotImplemented
        contiguous, exports = a.flags.c_contiguous or a.flags.f_contiguous, _exports(a)
        if contiguous and exports:
            return NotImplemented
        labels = self._columns.get(id(_owner(a)), [f"array {a.shape} ({a.dtype})"])
        if not contiguous:
            a = numpy.array(a, order="F" if abs(a.strides[0]) < abs(a.strides[-1]) else "C", copy=True)
            if exports:
                self._say(labels, "made contiguous")
                return a.__reduce_ex__(5)
        # The buffer protocol knows no datetimes (numpy/numpy#4983): they go as numbers, of which they are a view.
        plain = numpy.dtype("i8" if a.dtype.kind in "mM" else f"V{a.dtype.itemsize}")
        self._say(labels, f"shared as {plain.name}")
        return numpy.ndarray.view, (a.view(plain), a.dtype)

    def _frame(self, frame: Any, pandas: Any) -> Any:
        new = frame.copy(deep=False)
        for i, name in enumerate(frame.columns):
            column = frame.iloc[:, i]
            label = f"column {name} ({column.dtype})"
            strings = self._strings(label, column, pandas)
            if strings is not None:
                new.isetitem(i, strings)
            elif hasattr(column.array, "_ndarray"):
                self._columns.setdefault(id(_owner(column.array._ndarray)), []).append(label)
        strings = self._strings(f"index ({frame.index.dtype})", frame.index, pandas)
        if strings is not None:
            new.index = strings
        return new.__reduce_ex__(5)

    def _strings(self, label: str, values: Any, pandas: Any) -> Any:
        """Strings that are Python objects as Arrow strings, or None where values holds something else."""
        missing = float("nan")
        if isinstance(values.dtype, pandas.StringDtype) and values.dtype.storage == "python":
            missing = values.dtype.na_value
        elif values.dtype != object or pandas.api.types.infer_dtype(values, skipna=True) != "string":
            return None
        try:
            dtype = pandas.StringDtype("pyarrow", na_value=missing)
        except TypeError:  # before pandas 2.3
            dtype = pandas.StringDtype("pyarrow")
        except ImportError:
            self._say([label], "needs pyarrow to be shared, and stays private")
            return None
        self._say([label], f"shared as Arrow strings, None as {dtype.na_value}")
        return values.astype(dtype)

    def _say(self, labels: list[str], what: str) -> None:
        self.done.extend(text for text in (f"{label}: {what}" for label in labels) if text not in self.done)


def _exports(a: Any) -> bool:
    """Whether an array gives its bytes away as a buffer."""
    try:
        memoryview(a).release()
    except (ValueError, BufferError, TypeError):
        return False
    return True


def _owner(a: Any) -> Any:
    """The array that a view is of, at the end."""
    base: Any = getattr(a, "base", None)
    while type(base) is type(a):
        a, base = base, base.base
    return a
