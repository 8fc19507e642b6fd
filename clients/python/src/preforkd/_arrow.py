# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of Arrow, and DataFrames as such: columns that are views of the mapping, strings and dates included."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

from ._contract import Error, library

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = b"preforkd"  # in the schema's metadata: {"as": "pandas"}


def to_object(content: memoryview, stream: bool) -> object:
    """The table in content, or the DataFrame where the schema says so; both keep content alive. Raises Error.

    The columns of the DataFrame are of ArrowDtype, categories excepted, and are views of content.
    """
    arrow = library("pyarrow", "to read Arrow data")
    import pyarrow.ipc

    try:
        source = arrow.py_buffer(content)
        with pyarrow.ipc.open_stream(source) if stream else pyarrow.ipc.open_file(source) as reader:
            table = reader.read_all()
    except (arrow.ArrowException, OSError) as e:
        raise Error(f"cannot read damaged arrow: {e}") from e
    if not _as_pandas(table.schema.metadata or {}):
        return table
    pandas = library("pandas", "for a DataFrame that was packed")
    return table.to_pandas(types_mapper=_mapper(arrow, pandas), split_blocks=True, ignore_metadata=False)


def write(obj: Any, file: BinaryIO) -> None:
    """Write a DataFrame or a Table as an uncompressed IPC file of one record batch. Raises Error."""
    arrow = library("pyarrow", "to write Arrow data")
    import pyarrow.ipc

    if isinstance(obj, arrow.RecordBatch):
        obj = arrow.Table.from_batches([obj])
    if not isinstance(obj, arrow.Table):
        try:
            table = arrow.Table.from_pandas(obj)
        except (arrow.ArrowInvalid, arrow.ArrowTypeError, arrow.ArrowNotImplementedError) as e:
            raise Error(f"cannot write this DataFrame as Arrow ({e}): convert that column, or write .pk5") from e
        obj = table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: json.dumps({"as": "pandas"})})
    obj = obj.combine_chunks()
    options = pyarrow.ipc.IpcWriteOptions(compression=None)
    with pyarrow.ipc.new_file(file, obj.schema, options=options) as writer:
        writer.write_table(obj)


def _as_pandas(metadata: dict[bytes, bytes]) -> bool:
    try:
        return bool(json.loads(metadata[KEY])["as"] == "pandas")
    except (KeyError, TypeError, ValueError):
        return False


def _mapper(arrow: Any, pandas: Any) -> Callable[[Any], Any]:
    """What pyarrow asks for the pandas dtype of a column. It needs no more of one than __from_arrow__."""

    class Category:
        def __init__(self, ordered: bool) -> None:
            self.ordered = ordered

        def __from_arrow__(self, array: Any) -> Any:
            array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
            codes = array.indices
            if codes.null_count:  # pandas has -1 there, Arrow anything
                codes = codes.fill_null(-1)
            dtype = pandas.CategoricalDtype(array.dictionary.to_pandas(), self.ordered)
            return pandas.Categorical.from_codes(codes.to_numpy(), dtype=dtype, validate=False)

    def dtype(kind: Any) -> Any:
        if not arrow.types.is_dictionary(kind):
            return pandas.ArrowDtype(kind)
        return Category(kind.ordered) if arrow.types.is_signed_integer(kind.index_type) else None

    return dtype
