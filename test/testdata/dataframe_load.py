# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A worker that loads the DataFrame at the first SIGUSR1, and at the second tells in N.json what that made private, and a
digest of all values. With FRAME_PICKLE it loads that file, without preforkd's help."""

import gc
import hashlib
import json
import mmap
import os
import pickle
import signal

import numpy as np
import pandas as pd
import preforkd
import pyarrow


def private():
    gc.collect()
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("RssAnon:"))


def digest(frame):
    """Of every value, whatever type the column has, without a copy of a whole column."""
    h = hashlib.sha256()
    for name in frame.columns:
        h.update(name.encode())
        column = frame[name]
        for at in range(0, len(column), 20_000):
            part = column.iloc[at : at + 20_000]
            if name in ("word", "kind"):
                h.update("\n".join(part.astype(object)).encode())
            else:
                h.update(np.ascontiguousarray(part.to_numpy("M8[ns]" if name == "ts" else None)).view("u1"))
    return h.hexdigest()


def wait():
    signal.sigwait({signal.SIGUSR1})


# What the libraries take at their first use is theirs, not the data's.
pyarrow.array([1, 2])
pd.DataFrame({"a": pd.Series(["b"], dtype="str")})
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
preforkd.ready("imported")
wait()
before = private()
plain = os.environ.get("FRAME_PICKLE")
if plain:
    with open(plain, "rb") as f:
        frame = pickle.load(f)
else:
    frame = preforkd.load("frame")
grew = private() - before
if not plain:
    for _ in preforkd.buffer("frame")[:: mmap.PAGESIZE]:  # as if all of it was used: the proportional share is whole
        pass
preforkd.status("loaded")
wait()
with open(os.environ["PREFORKD_WORKER_ID"] + ".json", "w") as f:
    json.dump({"grew": grew, "digest": digest(frame)}, f)
preforkd.status("read")
signal.pause()
