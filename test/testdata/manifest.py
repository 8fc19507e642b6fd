"""A worker that compares what it was told about the array emb with what it finds, and tries to write to it."""

import json
import mmap
import os
import signal

import numpy

from notify import say

told = json.loads(os.environ["PREFORKD_DATA"])["emb"]
path, fd = os.environ["PREFORKD_DATA_EMB"], int(os.environ["PREFORKD_DATA_EMB_FD"])
emb = numpy.load(path, mmap_mode="r")
refused = {}


def try_to(what, f):
    try:
        f()
    except (OSError, ValueError) as e:
        refused[what] = type(e).__name__


def assign():
    emb[0, 0] = 1


try_to("assign", assign)
try_to("map writable", lambda: mmap.mmap(fd, 0))
try_to("write", lambda: os.pwrite(fd, b"x", 0))
try_to("open to write", lambda: os.pwrite(os.open(path, os.O_RDWR), b"x", 0))
try_to("truncate", lambda: os.truncate(path, 0))

raw = numpy.memmap(
    f"/proc/self/fd/{fd}",
    mode="r",
    dtype=told["dtype"],
    offset=told["offset"],
    shape=tuple(told["shape"]),
    order=told["order"],
)
same = bool((raw == emb).all())
del raw  # a second mapping would be resident a second time
with open("found.json", "w") as f:
    json.dump(
        {
            "told": told,
            "path": path,
            "fd": fd,
            "size": int(os.environ["PREFORKD_DATA_EMB_SIZE"]),
            "dtype": emb.dtype.str,
            "shape": emb.shape,
            "order": "C" if emb.flags.c_contiguous else "F",
            "offset": emb.offset,
            "sum": int(emb.sum()),
            "same": same,
            "refused": refused,
        },
        f,
    )
say("READY=1")
signal.pause()
