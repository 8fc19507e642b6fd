"""Workers that read all datasets with the libraries of their formats, after SIGUSR1, and tell in N.json what they found.

Worker 0 reads as docs/worker-contract.md says: without a copy. Worker 1 uses the calls of these libraries that copy.
"""

import contextlib
import gc
import json
import mmap
import os
import pickle
import signal
import struct

import numpy
import pyarrow
import pyarrow.feather
import pyarrow.ipc
import safetensors

from digest import of_array, of_table
from notify import say

with contextlib.suppress(ImportError):
    import pandas  # noqa: F401  (pyarrow imports it while it reads, where it is installed: 31 MiB that are not the data's)

SAFETENSORS = {"F32": "<f4", "I64": "<i8", "BOOL": "|b1"}


def members(path, entry):
    """npz and safetensors, by the manifest."""
    return {
        name: numpy.memmap(
            path, SAFETENSORS.get(m["dtype"], m["dtype"]), "r", m["offset"], tuple(m["shape"]), m["order"]
        )
        for name, m in entry["members"].items()
    }


def pk5(path, entry):
    content = memoryview(mmap.mmap(entry["fd"], 0, access=mmap.ACCESS_READ))
    count = struct.unpack_from("<I", content, 12)[0]
    parts = [content[at : at + n] for at, n, _ in struct.iter_unpack("<QQQ", content[24 : 24 + 24 * count])]
    return pickle.loads(parts[0], buffers=parts[1:])


def tensors(path, entry):
    with safetensors.safe_open(path, "np") as f:
        return {name: f.get_tensor(name) for name in f.keys()}


WAYS = [
    {
        "npy": lambda path, entry: {"emb": numpy.load(path, mmap_mode="r")},
        "npz": members,
        "safetensors": members,
        "arrow": lambda path, entry: pyarrow.ipc.open_file(pyarrow.memory_map(path)).read_all(),
        "feather": lambda path, entry: pyarrow.feather.read_table(path, memory_map=True),
        "arrow-stream": lambda path, entry: pyarrow.ipc.open_stream(pyarrow.memory_map(path)).read_all(),
        "pk5": pk5,
    },
    {
        "npy": lambda path, entry: {"emb": numpy.load(path)},
        "npz": lambda path, entry: dict(numpy.load(path)),
        "safetensors": tensors,
    },
][int(os.environ["PREFORKD_WORKER_ID"])]


def private():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("RssAnon:"))


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
say("READY=1", "STATUS=imported")
signal.sigwait({signal.SIGUSR1})
found, kept = {}, []
for name, entry in json.loads(os.environ["PREFORKD_DATA"]).items():
    way = WAYS.get("feather" if "feather" in name else entry["format"])
    if way is None:
        continue
    before = private()
    data = way(entry["path"], entry)
    digests = of_table(data) if isinstance(data, pyarrow.Table) else {k: of_array(v) for k, v in data.items()}
    gc.collect()
    found[name] = {"digests": digests, "grew": private() - before, "entry": entry}
    kept.append(data)
with open(os.environ["PREFORKD_WORKER_ID"] + ".json", "w") as f:
    json.dump(found, f)
say("STATUS=read")
signal.pause()
