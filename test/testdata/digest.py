"""Digests of values, reckoned without a copy of them: type, shape and order count, not where they lie."""

import hashlib

import numpy as np


def of_array(array):
    h = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    order = "C" if array.flags.c_contiguous else "F"
    h.update(order.encode())
    h.update(memoryview(array if order == "C" else array.T).cast("B"))
    return h.hexdigest()


def of_table(table):
    """A digest of each column. How rows are cut into batches does not count."""
    digests = {}
    for name in table.column_names:
        values, ends = hashlib.sha256(str(table.schema.field(name).type).encode()), hashlib.sha256()
        for chunk in table.column(name).chunks:
            if str(chunk.type) != "string":
                values.update(memoryview(chunk.to_numpy(zero_copy_only=True)).cast("B"))
                continue
            at = np.frombuffer(chunk.buffers()[1], "<i4")[chunk.offset : chunk.offset + len(chunk) + 1]
            for i in range(0, len(chunk), 1 << 13):
                ends.update(np.diff(at[i : i + (1 << 13) + 1]).tobytes())
            values.update(memoryview(chunk.buffers()[2])[at[0] : at[-1]])
        digests[name] = values.hexdigest() + ends.hexdigest()
    return digests
