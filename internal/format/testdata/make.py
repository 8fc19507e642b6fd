# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the files of this folder with the libraries that own their formats.

python3 -m venv /tmp/v && /tmp/v/bin/pip install numpy pyarrow pandas safetensors joblib && /tmp/v/bin/python make.py
"""

import datetime
import decimal
import json
import os
import sys
import pickle
import sqlite3
import zipfile

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as parquet
from safetensors.numpy import save_file

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../clients/python/src"))
from preforkd import pk5  # noqa: E402

os.chdir(os.path.dirname(os.path.abspath(__file__)))

rng = np.random.default_rng(3)
emb = rng.random((40, 8), dtype="f4")
ids = np.arange(100)
record = np.zeros(3, [("größe", "<f4"), ("n", "<i4", (2,))])

# numpy
np.save("plain.npy", emb)
np.save("record.npy", record)
fortran = np.asfortranarray(rng.random((3, 4)))
np.savez("stored.npz", emb=emb, ids=ids, fortran=fortran, empty=np.zeros((0, 3)), scalar=np.array(7))
np.savez_compressed("packed.npz", emb=emb, ids=ids, größe=record, names=np.array(["a", "bc"]))
np.savez("object.npz", ids=ids, words=np.array(["a", None], dtype=object))
with zipfile.ZipFile("other.zip", "w") as z:  # as torch.save does: a pickle and raw storages
    z.writestr("archive/data.pkl", pickle.dumps({}))
    z.writestr("archive/data/0", emb.tobytes())

# safetensors
save_file({"emb": emb, "ids": ids, "flag": np.array([True, False, True]), "none": np.zeros((0, 4), "f2")},
          "plain.safetensors", metadata={"format": "np", "note": "größe"})
save_file({}, "empty.safetensors")

# Arrow
day = datetime.date(2026, 1, 2)
table = pa.table({
    "id": pa.array([1, 2, 3], pa.int64()),
    "name": pa.array(["a", None, "ccc"]),
    "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
    "at": pa.array([0, 1, 2], pa.timestamp("us", tz="UTC")),
    "local": pa.array([0, 1, 2], pa.timestamp("ns")),
    "vec": pa.array([[1.0, 2.0], [], None], pa.list_(pa.float32())),
    "fixed": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int8(), 2)),
    "point": pa.array([{"x": 1.0, "y": "a"}] * 3, pa.struct([("x", pa.float64()), ("y", pa.large_utf8())])),
    "map": pa.array([[("k", 1)], [], None], pa.map_(pa.utf8(), pa.uint16())),
    "day": pa.array([day] * 3, pa.date32()),
    "price": pa.array([decimal.Decimal("1.25")] * 3, pa.decimal128(10, 2)),
    "raw": pa.array([b"ab", b"cd", None], pa.binary(2)),
    "took": pa.array([1, 2, 3], pa.duration("ms")),
    "clock": pa.array([1, 2, 3], pa.time64("us")),
    "view": pa.array(["a", "b", "c"], pa.string_view()),
    "none": pa.nulls(3),
    "half": pa.array(np.zeros(3, "f2")),
    "big": pa.array([[True], [False], []], pa.large_list(pa.bool_())),
    "must": pa.array([1, 2, 3], pa.uint8()),
})
table = table.cast(table.schema.set(table.schema.get_field_index("must"), pa.field("must", pa.uint8(), nullable=False)))
small = pa.table({"id": list(range(200)), "word": ["w%d" % (i % 7) for i in range(200)]})


def write(name, t, make=ipc.new_file, **options):
    with make(name, t.schema, options=ipc.IpcWriteOptions(**options)) as w:
        w.write_table(t, max_chunksize=64)


write("types.arrow", table)
write("types.arrows", table, ipc.new_stream)
write("plain.arrow", small)
write("lz4.arrow", small, compression="lz4")
write("zstd.arrows", small, ipc.new_stream, compression="zstd")
write("old.arrow", small, metadata_version=ipc.MetadataVersion.V4, use_legacy_format=True)
feather.write_feather(small, "default.feather")  # compressed by default
feather.write_feather(small, "plain.feather", compression="uncompressed")

# pk5
with open("table.pk5", "wb") as f:
    pk5.dump(pd.DataFrame({"a": np.arange(50.0), "b": np.arange(50, dtype="i4")}), f)
with open("array.pk5", "wb") as f:
    frozen = emb.copy()
    frozen.flags.writeable = False
    pk5.dump({"emb": emb, "frozen": frozen, "n": 3}, f)
with open("plain.pk5", "wb") as f:
    pk5.dump("no buffers", f)

# what gets a hint
frame = small.to_pandas()
parquet.write_table(small, "table.parquet")
frame.to_csv("table.csv", index=False)
frame.to_csv("table.tsv", index=False, sep="\t")
frame.to_json("table.json")
frame.to_json("table.jsonl", orient="records", lines=True)
with open("pretty.json", "w") as f:
    json.dump({"a": [1, 2, {"b": None}]}, f, indent=2)
for protocol in range(2, 6):
    with open(f"protocol{protocol}.pickle", "wb") as f:
        pickle.dump({"emb": emb[:2], "n": protocol}, f, protocol=protocol)
joblib.dump({"emb": emb}, "array.joblib")

# what is refused
if os.path.exists("table.sqlite"):
    os.remove("table.sqlite")
db = sqlite3.connect("table.sqlite")
db.execute("PRAGMA page_size=512")
db.execute("CREATE TABLE t (a)")
db.commit()
