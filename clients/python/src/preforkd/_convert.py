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

CONVERTING = "converting shares it"
_INDEX = 1000  # values from which an Index is worth converting that is not a frame's


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
        if pandas is not None and type(obj) is pandas.Index and len(obj) >= _INDEX:  # levels, categories
            strings = self._strings(f"index ({obj.dtype}, {len(obj):,} values)", obj, pandas)
            return NotImplemented if strings is None else strings.__reduce_ex__(5)
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
        if not _objects(values, pandas):
            return None
        missing = float("nan") if values.dtype == object else values.dtype.na_value
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


def _objects(values: Any, pandas: Any) -> bool:
    """Whether a column, an index or an array of pandas has Python's strings, and beside them only missing values."""
    if isinstance(values.dtype, pandas.StringDtype):
        return bool(values.dtype.storage == "python")
    return bool(values.dtype == object and pandas.api.types.infer_dtype(values, skipna=True) == "string")


def advise(obj: Any) -> str:
    """What would share an object that is private as it was loaded, or ""; of pandas a column, an index or an array."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if isinstance(obj, (bytes, bytearray)):
        return "numpy.frombuffer(it, 'u1') would be shared"
    if isinstance(obj, (dict, list, tuple, set, frozenset)):
        return "Python objects cannot be shared, arrays can"
    if type(obj).__module__ == "array":
        return "numpy.asarray(it) would be shared"
    if numpy is not None and isinstance(obj, numpy.ndarray):
        return _advise_array(obj, numpy)
    if pandas is not None and isinstance(obj, (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)):
        categories = getattr(getattr(obj, "array", obj), "categories", None)
        return _advise_values(obj if categories is None else categories, pandas)
    return ""


def _advise_array(a: Any, numpy: Any) -> str:
    if isinstance(a, numpy.ma.MaskedArray):
        return "its .data and its .mask would be shared, packed as two arrays"
    if a.dtype.hasobject:
        strings = a.dtype == object and all(isinstance(v, str) for v in a.ravel().tolist())
        return "astype('U') would be shared" if strings else "Python objects cannot be shared, arrays can"
    if type(a) is not numpy.ndarray:
        return "numpy.asarray(it) would be shared"
    # What pickle has kept in its stream is a view of bytes.
    return "its class makes it anew as it is loaded" if _owner(a).flags.owndata else CONVERTING


def _advise_values(values: Any, pandas: Any) -> str:
    if _objects(values, pandas):
        of = isinstance(values, (pandas.Series, pandas.Index))
        return f"{CONVERTING}, as Arrow strings" if of else "a Series of it would be shared, converted"
    if values.dtype != object:
        return CONVERTING
    other = next(
        (v for v in values if not isinstance(v, str) and not (pandas.api.types.is_scalar(v) and pandas.isna(v))), None
    )
    text = f"Python objects ({type(other).__name__})"
    try:
        import pyarrow

        kind = pyarrow.Array.from_pandas(values).type
    except Exception:  # noqa: BLE001  (it is not there, or cannot hold these)
        return f"{text} cannot be shared"
    how = "" if isinstance(values, pandas.Series) else "as a column "
    return f"{text}: {how}shared in .arrow, as {kind}"
