"""Writes data in every format by the library that owns it: formats_make.py FOLDER MEBIBYTES.

Prints JSON: file → digests of what is in it, as formats_read.py reckons them.
"""

import json
import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
from preforkd import pk5
from safetensors.numpy import save_file

from digest import of_array, of_table

folder, size = sys.argv[1], int(sys.argv[2]) << 20
os.chdir(folder)

# Numbers that differ everywhere, but pack well and fast: rows of 1,024 bytes that count.
rows = size // 1024
emb = np.zeros((rows, 256), "<f4")
emb[:, ::64] = np.arange(rows)[:, None] + np.arange(4)
half = np.ascontiguousarray(emb[: rows // 2])
fortran = np.asfortranarray(emb[: rows // 4, :128].astype("<i8"))
truth = {}


def arrays(file, **members):
    truth[file] = {name: of_array(array) for name, array in members.items()}


np.save("emb.npy", emb)
arrays("emb.npy", emb=emb)

np.savez("stored.npz", half=half, fortran=fortran, scalar=np.array(7))
np.savez_compressed("packed.npz", half=half, fortran=fortran, scalar=np.array(7))
arrays("stored.npz", half=half, fortran=fortran, scalar=np.array(7))
truth["packed.npz"] = truth["stored.npz"]

tensors = {"embed.weight": half, "ids": np.arange(size // 16, dtype="<i8"), "mask": np.arange(1000) % 3 == 0}
save_file(tensors, "model.safetensors", metadata={"format": "np"})
arrays("model.safetensors", **tensors)

words = pa.array([f"word {i % 97}" for i in range(1024)])
table = pa.table(
    {
        "id": np.arange(size // 32, dtype="<i8"),
        "score": np.arange(size // 32, dtype="<f8") / 3,
        "word": pa.chunked_array([words] * (size // 32 // 1024)).combine_chunks(),
    }
)
truth["table"] = of_table(table)


def write(name, make, **options):
    with make(name, table.schema, options=ipc.IpcWriteOptions(**options)) as w:
        w.write_table(table, max_chunksize=1 << 18)
    truth[name] = truth["table"]


write("table.arrow", ipc.new_file)
write("table.arrows", ipc.new_stream)
write("zstd.arrow", ipc.new_file, compression="zstd")
write("lz4.arrows", ipc.new_stream, compression="lz4")
feather.write_feather(table, "plain.feather", compression="uncompressed")
feather.write_feather(table, "default.feather")  # by default it compresses, with lz4
truth["plain.feather"] = truth["default.feather"] = truth.pop("table")

with open("bundle.pk5", "wb") as f:
    pk5.dump({"half": half, "fortran": fortran}, f)
arrays("bundle.pk5", half=half, fortran=fortran)

json.dump(truth, sys.stdout)
