# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A worker that does all that one should not do, and writes what Python says of it into the file "said"."""

import ctypes
import mmap
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import preforkd

path, fd = os.environ["PREFORKD_DATA_EMB"], int(os.environ["PREFORKD_DATA_EMB_FD"])
emb = preforkd.array("emb")


def assign():
    emb[0] = 1


def writable_buffer():
    """What Cython does for a typed memoryview that is not const."""
    view = ctypes.create_string_buffer(200)  # a Py_buffer
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(emb), view, 1)


def in_a_child(code, *fds):
    """What a program that the worker starts says."""
    child = subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", code], check=False, pass_fds=fds, stderr=subprocess.PIPE, text=True
    )
    raise RuntimeError(child.stderr.strip().splitlines()[-1])


def another_file():
    """The number is there in the child, and is another file."""
    with open("other", "w+b") as file:
        file.write(b"not an array")
        file.flush()
        in_a_child(f"import numpy; numpy.load('/proc/self/fd/{file.fileno()}', mmap_mode='r')", file.fileno())


def port():
    with socket.socket() as taken, socket.socket() as second:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        second.bind(taken.getsockname())


WRONG = [
    lambda: mmap.mmap(fd, 0),
    lambda: np.load(path, mmap_mode="r+"),
    assign,
    writable_buffer,
    lambda: emb.setflags(write=True),
    another_file,
    lambda: in_a_child(f"open('/proc/self/fd/{fd}')"),
    lambda: in_a_child(
        f"import os, json; d = json.loads(os.environ['PREFORKD_DATA']); d['emb']['path'] = '/proc/self/fd/{fd}'; "
        "os.environ['PREFORKD_DATA'] = json.dumps(d); import preforkd; preforkd.array('emb')"
    ),
    lambda: in_a_child("import os; del os.environ['PREFORKD_DATA']; import preforkd; preforkd.array('emb')"),
    lambda: preforkd.array("emb", mode="r+"),
    port,
    lambda: socket.socket(fileno=fd),
]

with open("said", "w") as said:
    for wrong in WRONG:
        try:
            wrong()
        except RuntimeError as e:  # a child's words
            print(e, file=said)
        except Exception as e:  # noqa: BLE001 (whatever it is)
            print(f"{type(e).__name__}: {e}", file=said)
preforkd.ready()
signal.pause()
