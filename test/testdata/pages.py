"""A worker that maps the dataset blob and touches a byte of each page: where the kernel wants it, or at a boundary of 2 MiB."""

import ctypes
import mmap
import os
import signal

from notify import say

fd, size = int(os.environ["PREFORKD_DATA_BLOB_FD"]), int(os.environ["PREFORKD_DATA_BLOB_SIZE"])
HUGE, MAP_FIXED, PROT_NONE = 2 << 20, 0x10, 0
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def mapped(address, length, protection, flags, fd):
    address = libc.mmap(address, length, protection, flags, fd, 0)
    assert address != ctypes.c_void_p(-1).value, os.strerror(ctypes.get_errno())
    return address


if os.environ["MAP"] == "aligned":
    room = mapped(None, size + HUGE, PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
    start = mapped(-(-room // HUGE) * HUGE, size, mmap.PROT_READ, mmap.MAP_SHARED | MAP_FIXED, fd)
else:
    start = mapped(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd)
data = (ctypes.c_char * size).from_address(start)
for at in range(0, size, mmap.PAGESIZE):
    data[at]
say("READY=1")
signal.pause()
