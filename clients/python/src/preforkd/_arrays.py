# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Datasets as numpy arrays, torch tensors and whatever object they hold, without a copy where that is possible."""

from __future__ import annotations

from ._contract import Error, library
from ._dataset import current, described, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy
    import torch

    from ._contract import Member
    from ._dataset import Dataset, Path

_PRIVATE = "read-only; mode='c' gives this worker a private copy of the pages it writes"
# What safetensors calls them: numpy's name (none for what numpy lacks), torch's.
_SAFETENSORS = {
    "BOOL": ("?", "bool"), "U8": ("u1", "uint8"), "I8": ("i1", "int8"),
    "U16": ("<u2", "uint16"), "I16": ("<i2", "int16"),
    "U32": ("<u4", "uint32"), "I32": ("<i4", "int32"), "U64": ("<u8", "uint64"), "I64": ("<i8", "int64"),
    "F16": ("<f2", "float16"), "F32": ("<f4", "float32"), "F64": ("<f8", "float64"), "C64": ("<c8", "complex64"),
    "BF16": (None, "bfloat16"), "F8_E4M3": (None, "float8_e4m3fn"), "F8_E5M2": (None, "float8_e5m2"),
    "F8_E8M0": (None, "float8_e8m0fnu"),
}  # fmt: skip
_TORCH = {name.lstrip("<"): torch for name, torch in _SAFETENSORS.values() if name} | {
    "b1": "bool",
    "c16": "complex128",
}


def array(
    name: str, *, mode: str = "r", dtype: Any = None, shape: Any = None, default: Path | None = None
) -> numpy.ndarray[Any, Any]:
    """A numpy array over the shared data; "models.weight" is a member of an npz or safetensors.

    mode "r": read-only, without a copy; "c": writable, this process gets a private copy of each page it writes, all its
    "c" arrays of the dataset see these writes, nobody else does. Raw datasets need a dtype and may have a shape (with
    one -1).
    """
    dataset, member = split(name, default)
    if mode == "r" and dtype is None and shape is None:
        known = dataset._kept.get((member,))
        if known is not None:
            return known.view()  # type: ignore[no-any-return]  # that nobody can reshape the kept one
    return make_array(dataset, member, mode, dtype, shape)


def tensor(name: str, *, dtype: Any = None, shape: Any = None, default: Path | None = None) -> torch.Tensor:
    """A torch tensor over the data, always by the copy-on-write mapping of array's mode "c".

    torch knows no read-only tensors: over a read-only mapping a write in place would be a crash (SIGSEGV).
    """
    dataset, member = split(name, default)
    return make_tensor(dataset, member, dtype, shape)


def load(name: str, default: Path | None = None) -> Any:
    """The object that the dataset is, by its format.

    npy: an array; npz, safetensors: a dict of arrays; pk5: what was pickled (unpickles: only data you wrote yourself);
    Arrow: a pyarrow.Table, or the pandas.DataFrame that pack made it from; anything else: the bytes, as buffer gives
    them.
    """
    return make_object(current(name, default))


def make_array(dataset: Dataset, member: str | None, mode: str, dtype: Any, shape: Any) -> numpy.ndarray[Any, Any]:
    """What Dataset.array gives."""
    if mode not in ("r", "c"):
        raise Error(f"cannot map dataset {dataset.name!r} with mode={mode!r}: {_PRIVATE}")
    np = library("numpy", "for arrays")
    part = _part(dataset, member, dtype, shape)
    found: numpy.ndarray[Any, Any]
    if part is not None and part.offset < 0:  # packed within an npz, outside preforkd
        from ._headers import File

        # Not by its path, which may be another file by now.
        with np.load(File(dataset.buffer()), allow_pickle=False) as file:
            found = file[member]
        found.flags.writeable = mode == "c"
        return found
    content: Any = dataset.buffer() if mode == "r" else dataset._private()
    if len(content):
        # numpy.ndarray would take what is behind a memoryview, a writable object, for its base: then flags.writeable
        # could be set, and a write be a crash.
        content = np.frombuffer(content, np.uint8)
    if part is None:
        found = _raw(np, dataset, content, dtype, shape)
    else:
        try:
            found = np.ndarray(
                part.shape, _numpy_dtype(np, dataset, member, part, dtype), content, part.offset, order=_order(part)
            )
        except (TypeError, ValueError, ArithmeticError, LookupError) as e:
            raise _damaged(dataset, member, e, "an array") from e
    if mode == "r" and dtype is None and shape is None:
        dataset._kept[(member,)] = found
        found = found.view()
    return found


def _order(part: Member) -> Any:
    return "F" if part.order == "F" else "C"


def _damaged(dataset: Dataset, member: str | None, why: object, what: str) -> Error:
    return Error(f"cannot make {what} of {_named(dataset, member)}: {str(why)[:200]}; is the file damaged?")


def _named(dataset: Dataset, member: str | None) -> str:
    return f"{dataset.name + '.' + member if member else dataset.name!r} ({dataset.format})"


def _part(dataset: Dataset, member: str | None, dtype: Any, shape: Any) -> Member | None:
    """Where the one array is; None for raw bytes."""
    from ._contract import Member

    described(dataset)
    if member is not None:
        part = dataset._find(member)
    elif dataset.format == "npy":
        part = Member(
            dataset.dtype or "", dataset.shape or (), dataset.order, dataset.offset, dataset.size - dataset.offset
        )
    elif dataset.format in ("npz", "safetensors"):
        there = ", ".join(f"{dataset.name}.{name}" for name in list(dataset.members)[:20])
        raise Error(f"cannot make one array of {_named(dataset, None)}: name one of {there}; or load({dataset.name!r})")
    elif dataset.format != "raw":
        raise Error(f"cannot make an array of {_named(dataset, None)}: use load({dataset.name!r})")
    elif dtype is None:
        dataset.buffer()  # raises where it is a directory
        why = "it does not say its type; give dtype= (and shape=)" if dataset.size else "it is empty"
        raise Error(f"cannot make an array of {_named(dataset, None)}: {why}")
    else:
        return None
    bits = _SAFETENSORS.get(part.dtype, ("", ""))[0] is None and dataset.format == "safetensors"
    if shape is not None or (dtype is not None and not bits):
        raise Error(f"cannot give dtype or shape to {_named(dataset, member)}: it has its own; use .view(), .reshape()")
    return part


def _raw(np: Any, dataset: Dataset, content: Any, dtype: Any, shape: Any) -> numpy.ndarray[Any, Any]:
    """The bytes as items of this type."""
    try:
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise TypeError(f"{kind} holds Python objects")
        count, rest = divmod(dataset.size, kind.itemsize or 1)
        if rest:
            raise ValueError(f"{dataset.size:,} bytes are no whole number of {kind}")
        found = np.ndarray((count,), kind, content)
        return found if shape is None else found.reshape(shape)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as e:
        raise Error(f"cannot make an array of dtype {dtype} and shape {shape} of dataset {dataset.name!r}: {e}") from e


def _numpy_dtype(np: Any, dataset: Dataset, member: str | None, part: Member, dtype: Any) -> Any:
    if dataset.format == "safetensors":
        name = _SAFETENSORS.get(part.dtype, (None, None))[0]
        if name is not None:
            return np.dtype(name)
        width = part.size // max(1, _count(part.shape))
        if dtype is not None and np.dtype(dtype).itemsize == width and not np.dtype(dtype).hasobject:
            return np.dtype(dtype)
        raise Error(
            f"cannot make a numpy array of {_named(dataset, member)}: numpy has no {part.dtype}; use tensor(), or "
            f"dtype='uint{8 * max(1, width)}' for the bits"
        )
    from ._headers import item_size, literal

    descr = literal(part.dtype) if part.dtype.startswith(("[", "(")) else part.dtype
    item_size(descr)  # refuses Python objects: numpy would take the bytes for addresses
    return np.lib.format.descr_to_dtype(descr)


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


def make_tensor(dataset: Dataset, member: str | None, dtype: Any, shape: Any) -> torch.Tensor:
    """What Dataset.tensor gives."""
    torch = library("torch", "for tensors")
    part = _part(dataset, member, dtype, shape)
    if part is None and isinstance(dtype, torch.dtype):
        width = torch.empty(0, dtype=dtype).element_size()
        if dataset.size % width or not dataset.size:
            raise Error(
                f"cannot make a tensor of dataset {dataset.name!r}: {dataset.size:,} bytes are no items of {dtype}"
            )
        flat = torch.frombuffer(dataset._private(), dtype=dtype)
        try:
            return flat if shape is None else flat.reshape(shape)
        except (RuntimeError, TypeError) as e:
            raise Error(f"cannot make a tensor of shape {shape} of dataset {dataset.name!r}: {e}") from e
    if part is None or part.offset < 0:
        return torch.from_numpy(make_array(dataset, member, "c", dtype, shape))
    if dataset.format == "safetensors":
        name = _SAFETENSORS.get(part.dtype, (None, part.dtype))[1]
    else:
        name = _TORCH.get(part.dtype.lstrip("<|="), part.dtype)
    kind = dtype if isinstance(dtype, torch.dtype) else getattr(torch, name or "", None)
    if not isinstance(kind, torch.dtype):
        raise Error(
            f"cannot make a tensor of {_named(dataset, member)}: this torch has no {part.dtype}; "
            f"use torch.from_numpy(array({dataset.name!r}).astype(…)), which is a private copy"
        )
    count = _count(part.shape)
    if count * torch.empty(0, dtype=kind).element_size() > max(0, dataset.size - part.offset):
        # torch's own check multiplies in 64 bits, and would map what lies behind.
        raise _damaged(dataset, member, f"shape {part.shape} at {part.offset:,} ends behind its end", "a tensor")
    if count == 0:
        try:
            return torch.empty(part.shape, dtype=kind)
        except RuntimeError as e:
            raise _damaged(dataset, member, e, "a tensor") from e
    flat = torch.frombuffer(dataset._private(), dtype=kind, count=count, offset=part.offset)
    if part.order == "F":
        return flat.reshape(part.shape[::-1]).permute(*reversed(range(len(part.shape))))
    return flat.reshape(part.shape)


def make_object(dataset: Dataset) -> Any:
    """What Dataset.load gives."""
    described(dataset)
    if dataset.format == "npy":
        return dataset.array()
    if dataset.format in ("npz", "safetensors"):
        return {name: dataset.array(name) for name in dataset.members}
    if dataset.format == "pk5":
        from . import pk5

        return pk5.load(dataset.buffer())
    if dataset.format in ("arrow", "arrow-stream"):
        from . import _arrow

        return _arrow.to_object(dataset.buffer(), stream=dataset.format == "arrow-stream")
    return dataset.buffer()
