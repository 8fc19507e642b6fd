# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Writes one DataFrame of about so many megabytes in every way that docs/pack.md compares: dataframe_make.py FOLDER MB.

Prints JSON: file → what pack reported of it, and the versions that the figures are of.
"""

import json
import os
import pickle
import platform
import sys

import numpy as np
import pandas as pd
import preforkd
import pyarrow

os.chdir(sys.argv[1])
rows = int(sys.argv[2]) * 1_000_000 // 136  # bytes of a row, the Python object of its last column included
rng = np.random.default_rng(7)
frame = pd.DataFrame({f"f{i}": rng.random(rows, "f4") for i in range(10)})
frame["n"], frame["m"] = np.arange(rows), rng.integers(0, 1000, rows)
frame["kind"] = pd.Categorical.from_codes(rng.integers(0, 5, rows), ["a", "b", "c", "d", "e"])
frame["ts"] = (pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(rows), unit="s")).astype("datetime64[ns]")
frame["word"] = pd.Series([f"word {i:09d}" for i in range(rows)], dtype=object)

with open("frame.pkl", "wb") as f:
    pickle.dump(frame, f, protocol=5)
reports = {
    name: preforkd.pack(frame, name, convert=convert)
    for name, convert in (("plain.pk5", False), ("converted.pk5", True), ("frame.arrow", False))
}
json.dump(
    {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "versions": f"pandas {pd.__version__}, pyarrow {pyarrow.__version__}",
        "memory": int(frame.memory_usage(deep=True).sum()),
        "files": {
            name: {
                "private": r.private,
                "size": r.size,
                "problem": r.problem,
                "text": str(r),
                "parts": {f"{p.name} ({p.kind})": p.bytes for p in r.parts},
            }
            for name, r in reports.items()
        },
    },
    sys.stdout,
)
