# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Finds, by name, the memory that an object keeps to its process because it is not shared.

It walks an object that was just loaded from a mapped file: what lies in that map is shared, everything else is private.
"""

from __future__ import annotations

import gc
import os
import sys
from itertools import islice
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MANY = 1000  # children up to which a container is told apart by name
_DEPTH = 4
_SOME = 10_000  # values of an object column that are looked at to tell what they are
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None))
_GC_HEAD = 16
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)  # belongs to the program, not to the data


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
    found = []
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            span, _, _, device, inode = line.split(maxsplit=5)[:5]
            major, minor = (int(part, 16) for part in device.split(":"))
            if (os.makedev(major, minor), int(inode)) == (status.st_dev, status.st_ino):
                first, last = span.split("-")
                found.append((int(first, 16), int(last, 16)))
    return found


def parts(obj: object, shared: list[tuple[int, int]], least: float = 0) -> list[Part]:
    """What of obj does not lie in the ranges `shared`, by name, the largest first. Together about all that is private.

    What takes less than `least` bytes is told in one.
    """
    walk = _Walk(shared)
    walk.named("", obj, 0)
    found = sorted(walk.found, key=lambda item: -item[1])
    large = [item for item in found if item[1] >= least]
    # Told after the walk: to look at values may have pandas make and keep more of them.
    told = [walk.part(*item) for item in large]
    small = [n for _, n, _ in found[len(large) :]]
    if small:
        name = "a smaller part" if len(small) == 1 else f"{len(small):,} smaller parts"
        told.append(Part(name, "", sum(small), ""))
    return told


class _Walk:
    """One walk, which counts nothing twice."""

    def __init__(self, shared: list[tuple[int, int]]) -> None:
        self.found: list[tuple[str, int, Any]] = []  # name, bytes, what it is; None: it was told apart
        self._shared = shared
        self._seen: set[int] = set()
        self._counted: dict[int, int] = {}  # id of what owns an array's memory → bytes of it that were counted
        self._keep: list[Any] = []  # made by the walk: ids must not be used again
        self._numpy, self._pandas, self._arrow = (sys.modules.get(m) for m in ("numpy", "pandas", "pyarrow"))

    def named(self, name: str, obj: Any, depth: int) -> None:
        """Count obj, and its children by themselves where they have names."""
        children = list(self._children(name, obj)) if depth < _DEPTH and id(obj) not in self._seen else []
        self._keep.append(children)
        for label, child in children:
            self.named(label, child, depth + 1)
        n = self._deep(obj)
        if n > 0:
            label = f"{name or type(obj).__name__}, the rest of it" if children else name or f"the {type(obj).__name__}"
            self.found.append((label, n, None if children else obj))

    def part(self, name: str, n: int, obj: Any) -> Part:
        """What was found, in words."""
        return Part(name, "", n, "") if obj is None else Part(name, self._kind(obj), n, self._advice(obj))

    def _children(self, name: str, obj: Any) -> Iterator[tuple[str, Any]]:
        pandas, prefix = self._pandas, f"{name} " if name else ""
        if isinstance(obj, _Values):
            return
        if pandas is not None and isinstance(obj, pandas.DataFrame):
            for i, column in enumerate(obj.columns):
                yield f"{prefix}column {column}", _Values(obj.iloc[:, i])
            yield f"{prefix}index", _Values(obj.index)
        elif pandas is not None and isinstance(obj, pandas.Series):
            yield f"{prefix}values", _Values(obj)
            yield f"{prefix}index", _Values(obj.index)
        elif self._arrow is not None and isinstance(obj, self._arrow.Table):
            for i, column in enumerate(obj.column_names):
                yield f"{prefix}column {column}", obj.column(i)
        elif isinstance(obj, dict):
            if len(obj) <= _MANY and all(isinstance(key, (str, int)) for key in obj):
                for key, value in obj.items():
                    yield f"{name}[{key!r}]", value
        elif isinstance(obj, (list, tuple)):
            if len(obj) <= _MANY:
                for i, value in enumerate(obj):
                    yield f"{name}[{i}]", value
        elif type(obj).__module__.partition(".")[0] not in ("pandas", "pyarrow", "numpy", "builtins"):
            for key, value in getattr(obj, "__dict__", {}).items():
                yield f"{name}.{key}", value

    def _deep(self, start: Any) -> int:
        """The private bytes of an object and all that it leads to and that was not counted yet."""
        total, stack = 0, [start]
        while stack:
            obj = stack.pop()
            if isinstance(obj, _Values):
                total += self._values(obj, stack)
                continue
            if id(obj) in self._seen or isinstance(obj, _CODE):
                continue
            self._seen.add(id(obj))
            if isinstance(obj, _PLAIN):
                total += _own(obj)
            elif self._numpy is not None and isinstance(obj, self._numpy.ndarray):
                total += _own(obj) + self._array(obj, None, stack)
            elif self._arrow is not None and isinstance(obj, (self._arrow.ChunkedArray, self._arrow.Array)):
                total += self._arrow_buffers(obj)
            elif isinstance(obj, memoryview):
                total += _own(obj)
                if isinstance(obj.obj, (bytes, bytearray)):
                    stack.append(obj.obj)
            elif isinstance(obj, dict):  # whose referents, as gc has them, lack keys that are strings
                total += _own(obj) + self._each(obj.keys(), stack) + self._each(obj.values(), stack)
            else:
                total += _own(obj) + self._each(gc.get_referents(obj), stack)
        return total

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
        array: Any = getattr(values.of, "array", None)
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
        owner = array
        while self._numpy is not None and isinstance(owner.base, self._numpy.ndarray):
            owner = owner.base
        if self._is_shared(array.__array_interface__["data"][0]):
            return 0
        whole = int(owner.nbytes)
        holder = owner if owner.base is None else owner.base
        if isinstance(holder, memoryview):
            holder = holder.obj
        self._seen.add(id(holder))
        counted = self._counted.get(id(holder), 0)
        n = whole - counted if part is None else min(part, whole - counted)
        self._counted[id(holder)] = counted + n
        if array.dtype.hasobject and array.dtype.kind == "O":
            n += self._each(array.ravel().tolist(), stack)
        return n

    def _arrow_buffers(self, array: Any) -> int:
        total = 0
        for chunk in getattr(array, "chunks", [array]):
            for buffer in chunk.buffers():
                if buffer is not None and buffer.address not in self._seen and not self._is_shared(buffer.address):
                    self._seen.add(buffer.address)
                    total += buffer.size
            if hasattr(chunk, "dictionary"):
                total += self._arrow_buffers(chunk.dictionary)
        return total

    def _is_shared(self, address: int) -> bool:
        return any(first <= address < last for first, last in self._shared)

    def _kind(self, obj: Any) -> str:
        if isinstance(obj, _Values):
            return str(getattr(obj.of, "dtype", type(obj.of).__name__))
        if isinstance(obj, (str, bytes, bytearray)):
            return type(obj).__name__
        if hasattr(obj, "dtype"):
            return f"{obj.dtype} array"
        if self._arrow is not None and isinstance(obj, self._arrow.ChunkedArray):
            return str(obj.type)
        try:
            return f"{type(obj).__name__} of {len(obj):,}"
        except TypeError:
            return type(obj).__name__

    def _advice(self, obj: Any) -> str:
        """What would share it."""
        of = obj.of if isinstance(obj, _Values) else obj
        dtype = getattr(of, "dtype", None)
        kind = getattr(dtype, "kind", "")
        if kind in ("m", "M"):
            return "converting shares it"
        if isinstance(obj, (bytes, bytearray)):
            return "numpy.frombuffer(it, 'u1') would be shared"
        if dtype is None:
            return "Python objects cannot be shared, arrays can" if isinstance(of, (dict, list, tuple, set)) else ""
        if str(dtype) != "object":
            return "converting shares it, if it was not contiguous"
        some = islice((of.ravel() if hasattr(of, "ravel") else of), _SOME)
        other = next((v for v in some if not isinstance(v, str) and v is not None and v == v), None)
        if other is not None:
            return f"Python objects ({type(other).__name__}) cannot be shared"
        return "converting shares it, as Arrow strings" if isinstance(obj, _Values) else "astype('S') would be shared"


class _Values:
    """A column or an index of pandas, of which only the values count."""

    def __init__(self, of: Any) -> None:
        self.of = of


def _own(obj: Any) -> int:
    """The bytes of an object without what it leads to."""
    if isinstance(obj, (*_PLAIN, dict, list, tuple, set, frozenset, memoryview)):
        n = sys.getsizeof(obj)
    else:
        # Not what the type says itself: numpy and pandas count data that may be shared.
        n = object.__sizeof__(obj) + (_GC_HEAD if gc.is_tracked(obj) else 0)
    return (n + 15) & ~15  # as the allocator rounds
