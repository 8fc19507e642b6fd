# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Finds, by name, the memory that an object keeps to its process because it is not shared.

It walks an object that was just loaded from a mapped file: what lies in that map is shared, everything else is private.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from itertools import islice
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from ._convert import advise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MANY = 1000  # children up to which a container is told apart by name
_FEW = 10  # the same where they have numbers for names
_DEPTH = 8
_ALL = 100_000  # children that are told apart in all
_LABEL = 60  # characters of a key
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None))
_GC_HEAD = 16
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)  # belongs to the program, not to the data
_HONEST = ("builtins", "collections", "array", "decimal")  # whose types say themselves how large they are
_KNOWN = (*_HONEST, "datetime", "numpy", "pandas", "pyarrow")  # of whose objects nothing is hidden
_VAIN = 1000  # objects of a class without a hidden array, after which no other is asked for its state
_STATE = ("__reduce__", "__reduce_ex__", "__getstate__")


class Part(NamedTuple):
    """Something that is private to each process that loads the object."""

    name: str  # "column ts"
    kind: str  # "datetime64[ns]"
    bytes: int  # about what it takes
    advice: str  # what would share it, or ""

    def __str__(self) -> str:
        name = f"{self.name} ({self.kind})" if self.kind else self.name
        return f"{name}: {size(self.bytes)} per worker" + (f"; {self.advice}" if self.advice else "")


def size(n: float) -> str:
    """Bytes for people, in powers of 1000."""
    if n < 1000:
        return f"{n:.0f} B"
    units = ["kB", "MB", "GB", "TB"]
    while n >= 999_950 and len(units) > 1:
        n, units = n / 1000, units[1:]
    return f"{n / 1000:.1f} {units[0]}"


def ranges(fd: int) -> list[tuple[int, int]]:
    """Where this process has mapped the file of a descriptor: addresses, from and to."""
    status = os.fstat(fd)
    found: dict[bool, list[tuple[int, int]]] = {True: [], False: []}  # by whether the device is that of stat
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            span, _, _, device, inode = line.split(maxsplit=5)[:5]
            if int(inode) == status.st_ino:
                major, minor = (int(part, 16) for part in device.split(":"))
                first, last = span.split("-")
                found[os.makedev(major, minor) == status.st_dev].append((int(first, 16), int(last, 16)))
    return found[True] or found[False]  # btrfs and overlayfs tell another device in maps: then the inode must do


def parts(obj: object, mapped: list[tuple[int, int]], least: float = 0) -> tuple[list[Part], int]:
    """What of obj does not lie in the ranges `mapped`, by name, the largest first, and how many bytes of it do.

    What takes less than `least` bytes is told with what it belongs to, and at last not at all. Never raises.
    """
    walk = _Walk(mapped, least)
    walk.named("", obj, 0)
    # Told after the walk: to look at values may have pandas make and keep more of them.
    return [walk.part(item) for item in sorted(walk.found, key=lambda item: -item.bytes)], sum(walk.shared.values())


class _Found(NamedTuple):
    """Something private."""

    name: str
    bytes: int
    obj: Any  # None: most of it was told apart
    copier: str  # the class that has copied what could have been shared, or ""


class _Walk:
    """One walk, which counts nothing twice."""

    def __init__(self, mapped: list[tuple[int, int]], least: float) -> None:
        self.found: list[_Found] = []
        self.shared: dict[int, int] = {}  # address → bytes of it that are used
        self._mapped, self._least, self._left = mapped, max(least, 1), _ALL
        self._seen: set[int] = set()
        self._counted: dict[int, int] = {}  # address of an array's memory → bytes of it that were counted
        self._copied: dict[str, int] = {}  # class → bytes that its objects hide from gc
        self._hides: dict[type, int] = {}  # class → of how many more objects to ask the state, if no array is in it
        self._followed: set[int] = set()  # large containers in such states
        self._keep: list[Any] = []  # made by the walk: ids must not be used again
        self._numpy, self._pandas, self._arrow = (sys.modules.get(m) for m in ("numpy", "pandas", "pyarrow"))

    def named(self, name: str, obj: Any, depth: int) -> int:
        """Find what is private of obj, its children by themselves where they have names.

        Returns the bytes of what is too small to be told.
        """
        told, small, children = len(self.found), 0, []
        if depth < _DEPTH and id(obj) not in self._seen and not issubclass(type(obj), _CODE):
            with contextlib.suppress(Exception):  # whatever an object does when it is looked at: then it is told whole
                obj = self._valued(obj)
                children = list(islice(self._children(name, obj), max(self._left, 0)))
        self._left -= len(children)
        self._keep.append(children)
        for label, child in children:
            small += self.named(label, child, depth + 1)
        before = dict(self._copied)
        n = self._deep(obj) + small
        if n < self._least:
            return n
        what, apart = type(obj.of if type(obj) is _Values else obj).__name__, len(self.found) > told
        label = f"{name or what}, the rest of it" if apart else name or f"the {what}"
        copier = next((c for c, b in self._copied.items() if b - before.get(c, 0) > n / 2), "")
        self.found.append(_Found(label, n, None if apart else obj, copier))
        return 0

    def part(self, item: _Found) -> Part:
        """What was found, in words."""
        kind = advice = ""
        if item.obj is not None:
            with contextlib.suppress(Exception):
                kind = self._kind(item.obj)
                advice = advise(item.obj.of if isinstance(item.obj, _Values) else item.obj)
        if item.copier:
            advice = f"{item.copier} copies its arrays as it is loaded: they cannot be shared"
        return Part(item.name, kind, item.bytes, advice)

    def _valued(self, obj: Any) -> Any:
        pandas = self._pandas
        if pandas is None or isinstance(obj, pandas.MultiIndex):
            return obj
        return _Values(obj) if isinstance(obj, (pandas.Index, pandas.api.extensions.ExtensionArray)) else obj

    def _children(self, name: str, obj: Any) -> Iterator[tuple[str, Any]]:
        pandas, prefix = self._pandas, f"{name} " if name else ""
        if isinstance(obj, _Values):
            return
        if pandas is not None and isinstance(obj, pandas.DataFrame):
            for i, column in enumerate(obj.columns):
                yield f"{prefix}column {column}", _Values(obj.iloc[:, i])
            yield f"{prefix}index", obj.index
            yield f"{prefix}names of columns", obj.columns
        elif pandas is not None and isinstance(obj, pandas.Series):
            yield f"{prefix}values", _Values(obj)
            yield f"{prefix}index", obj.index
        elif pandas is not None and isinstance(obj, pandas.MultiIndex):
            for i, (label, level, codes) in enumerate(zip(obj.names, obj.levels, obj.codes)):
                yield f"{prefix}level {i if label is None else label}", _Values(level)
                yield f"{prefix}codes of level {i if label is None else label}", codes
        elif self._arrow is not None and isinstance(obj, (self._arrow.Table, self._arrow.RecordBatch)):
            for i, column in enumerate(obj.schema.names):
                yield f"{prefix}column {column}", obj.column(i)
        elif isinstance(obj, dict):
            if len(obj) <= _MANY:
                for key, value in obj.items():
                    yield f"{name}[{_label(key)}]", value
        elif isinstance(obj, tuple) and hasattr(obj, "_fields"):
            for label, value in zip(obj._fields, obj):
                yield f"{name}.{label}", value
        elif isinstance(obj, (list, tuple)):
            if len(obj) <= _FEW:
                for i, value in enumerate(obj):
                    yield f"{name}[{i}]", value
        elif type(obj).__module__.partition(".")[0] not in ("pyarrow", "numpy", "builtins"):
            for key, value in getattr(obj, "__dict__", {}).items():
                yield f"{name}.{key}", value
            for base in type(obj).__mro__:
                slots = base.__dict__.get("__slots__", ())
                for key in (slots,) if isinstance(slots, str) else slots:
                    if hasattr(obj, key) and key != "__dict__":
                        yield f"{name}.{key}", getattr(obj, key)

    def _deep(self, start: Any) -> int:
        """The private bytes of an object and all that it leads to and that was not counted yet."""
        total, stack = 0, [start]
        while stack:
            obj = stack.pop()
            if type(obj) is _Values:
                try:
                    total += self._values(obj, stack)
                except Exception:  # noqa: BLE001  (an array of somebody's own)
                    stack.append(obj.of)
            elif id(obj) not in self._seen and not issubclass(type(obj), _CODE):
                self._seen.add(id(obj))
                total += _own(obj)
                try:
                    total += self._one(obj, stack)
                except Exception:  # noqa: BLE001  (an object may do anything when it is looked at; gc asks none)
                    total += self._each(gc.get_referents(obj), stack)
        return total

    def _one(self, obj: Any, stack: list[Any]) -> int:
        """What lies behind an object and is no object. Those that it leads to go onto the stack."""
        numpy, arrow = self._numpy, self._arrow
        if isinstance(obj, _PLAIN):
            return 0
        if numpy is not None and isinstance(obj, numpy.ndarray):
            stack.extend(() if type(obj) is numpy.ndarray else gc.get_referents(obj))
            return self._array(obj, None, stack)
        if arrow is not None and isinstance(obj, (arrow.ChunkedArray, arrow.Array)):
            return self._arrow_buffers(obj)
        if arrow is not None and isinstance(obj, (arrow.Table, arrow.RecordBatch)):
            columns = obj.columns
            self._keep.append(columns)
            stack.extend(columns)
            return 0
        if isinstance(obj, memoryview):
            if isinstance(obj.obj, (bytes, bytearray)):
                stack.append(obj.obj)
            return 0
        if isinstance(obj, dict):  # whose referents, as gc has them, lack keys that are strings
            n = self._each(obj.keys(), stack) + self._each(obj.values(), stack)
            return n if type(obj) is dict else n + self._each(gc.get_referents(obj), stack)
        return self._hidden(obj, stack) + self._each(gc.get_referents(obj), stack)

    def _hidden(self, obj: Any, stack: list[Any]) -> int:
        """Memory of an object of an extension that only its state for pickle shows: a tree of scikit-learn."""
        kind = type(obj)
        if kind not in self._hides:
            hides = kind.__module__.partition(".")[0] not in _KNOWN and any(
                name in base.__dict__ and not isinstance(base.__dict__[name], FunctionType)
                for base in kind.__mro__[:-1]
                for name in _STATE
            )
            self._hides[kind] = _VAIN if hides else 0
        if self._hides[kind] == 0 or self._numpy is None:
            return 0
        state = obj.__reduce_ex__(5)
        arrays = self._arrays_in(state)
        if not arrays:
            self._hides[kind] -= 1
            return 0
        self._hides[kind] = _VAIN
        self._keep.append(state)
        n = sum(self._array(array, None, stack) for array in arrays)
        name = f"{kind.__module__}.{kind.__qualname__}"
        self._copied[name] = self._copied.get(name, 0) + n
        return n

    def _arrays_in(self, state: Any) -> list[Any]:
        """The arrays in plain containers, but for copies that were made for pickle."""
        found, inner, seen = [], [state], set()
        while inner:
            value = inner.pop()
            if type(value) in (tuple, list, dict):
                if id(value) in seen or id(value) in self._followed:
                    continue
                seen.add(id(value))
                if len(value) > _MANY:  # many objects may lead to it
                    self._followed.add(id(value))
                    self._keep.append(value)
                inner.extend(value.values() if type(value) is dict else value)
            elif self._numpy is not None and type(value) is self._numpy.ndarray and not value.flags.owndata:
                found.append(value)
        return found

    def _each(self, objects: Iterable[Any], stack: list[Any]) -> int:
        """The plain ones of many objects, counted at once since there may be millions; the others go onto the stack."""
        total, seen, getsizeof = 0, self._seen, sys.getsizeof
        for obj in objects:
            if type(obj) not in _PLAIN:
                stack.append(obj)
            elif id(obj) not in seen:
                seen.add(id(obj))
                total += (getsizeof(obj) + 15) & ~15
        return total

    def _values(self, values: _Values, stack: list[Any]) -> int:
        """Of a column or an index of pandas."""
        if type(values.of).__name__ == "RangeIndex":  # whose values are made when asked for
            return 0
        array: Any = getattr(values.of, "array", values.of)
        leaves = [getattr(array, name, None) for name in ("_ndarray", "_data", "_mask", "_pa_array")]
        if type(array).__name__ == "Categorical":
            stack.append(array.categories)
        found = [leaf for leaf in leaves if leaf is not None]
        if not found:
            stack.append(values.of)
            return 0
        self._keep.append(found)
        total = 0
        for leaf in found:
            if self._numpy is not None and isinstance(leaf, self._numpy.ndarray):
                total += self._array(leaf, leaf.nbytes, stack)
            else:
                stack.append(leaf)
        return total

    def _array(self, array: Any, part: int | None, stack: list[Any]) -> int:
        """The memory behind an array: `part` bytes of it, or all."""
        owner, n = array, 0
        while self._numpy is not None and isinstance(owner.base, self._numpy.ndarray):
            owner = owner.base
            if id(owner) not in self._seen:
                self._seen.add(id(owner))
                n += _own(owner)
        address, whole = owner.__array_interface__["data"][0], int(owner.nbytes)
        if self._is_shared(address, whole):
            return n + (_own(owner.base) if isinstance(owner.base, memoryview) else 0)
        holder = owner if owner.base is None else owner.base
        if isinstance(holder, memoryview):
            holder = holder.obj
        self._seen.add(id(holder))
        counted = self._counted.get(address, 0)
        more = max(whole - counted, 0) if part is None else min(part, max(whole - counted, 0))
        self._counted[address] = counted + more
        return n + more + (self._objects(array, stack) if array.dtype.hasobject else 0)

    def _objects(self, array: Any, stack: list[Any]) -> int:
        if array.dtype.names is not None:
            fields = [array[name] for name in array.dtype.names]
            return sum(self._objects(field, stack) for field in fields if field.dtype.hasobject)
        return self._each(array.ravel().tolist(), stack)

    def _arrow_buffers(self, array: Any) -> int:
        total = 0
        for chunk in getattr(array, "chunks", [array]):
            for buffer in chunk.buffers():
                if buffer is None or buffer.address in self._seen or self._is_shared(buffer.address, buffer.size):
                    continue
                self._seen.add(buffer.address)
                total += buffer.size
            if hasattr(chunk, "dictionary"):
                total += self._arrow_buffers(chunk.dictionary)
        return total

    def _is_shared(self, address: int, length: int) -> bool:
        found = any(first <= address < last for first, last in self._mapped)
        if found:
            self.shared[address] = max(self.shared.get(address, 0), length)
        return found

    def _kind(self, obj: Any) -> str:
        if isinstance(obj, _Values):
            return str(getattr(obj.of, "dtype", type(obj.of).__name__))
        if isinstance(obj, (str, bytes, bytearray)):
            return type(obj).__name__
        if self._numpy is not None and isinstance(obj, self._numpy.ndarray):
            return f"{obj.dtype} array"
        if self._arrow is not None and isinstance(obj, self._arrow.ChunkedArray):
            return str(obj.type)
        try:
            return f"{type(obj).__name__} of {len(obj):,}"
        except TypeError:
            return type(obj).__name__


class _Values:
    """A column or an index of pandas, of which only the values count."""

    def __init__(self, of: Any) -> None:
        self.of = of


def _label(key: Any) -> str:
    """A key of a dict, if it is short and plain."""
    plain = all(type(k) in _PLAIN for k in key) if type(key) is tuple else type(key) in _PLAIN
    text = repr(key) if plain and not (isinstance(key, (str, bytes, tuple)) and len(key) > _LABEL) else ""
    return text if 0 < len(text) <= _LABEL else f"a {type(key).__name__}"


def _own(obj: Any) -> int:
    """The bytes of an object without what it leads to."""
    by = getattr(type(obj).__sizeof__, "__objclass__", None)
    if by is not None and by.__module__ in _HONEST:
        n = sys.getsizeof(obj)
    else:
        # Not what the type says itself: numpy and pandas count data that may be shared.
        n = object.__sizeof__(obj) + (_GC_HEAD if gc.is_tracked(obj) else 0)
    return (n + 15) & ~15  # as the allocator rounds
