# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Maps a dataset so that its huge pages are mapped huge, and unmaps it when its last view is gone.

Under shmem_enabled=never, the usual default, the kernel gives a plain mmap an address that is no multiple of 2 MiB, and
then maps huge pages by 4 KiB: 2 MiB of page tables for each GiB in each worker. At an aligned address it maps them as
they are.
"""

from __future__ import annotations

import mmap
import os
import weakref

from ._contract import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from typing import Any

HUGE = 2 << 20
_MAP_FIXED = 0x10


def map(fd: int, size: int, *, private: bool = False, what: str = "a file") -> memoryview:  # noqa: A001
    """The first `size` bytes of fd, which may be closed afterwards. Unmapped when the last view of it is gone.

    Read-only and shared; private=True: writable, and this process has its own copy of each page that it writes.
    """
    if size == 0:
        return memoryview(bytearray() if private else b"")
    try:
        if size >= HUGE and os.uname().sysname == "Linux":
            view = memoryview(_aligned(fd, size, private)).cast("B")
        else:
            view = memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_COPY if private else mmap.ACCESS_READ))
    except (OSError, ValueError, OverflowError) as e:
        hint = ": vm.overcommit_memory=2 counts a mode='c' mapping in full" if private else ""
        raise Error(f"cannot map {size:,} bytes of {what} ({e}){hint}") from e
    return view if private else view.toreadonly()


def _aligned(fd: int, size: int, private: bool) -> ctypes.Array[Any]:
    """An array over a mapping that begins at a multiple of 2 MiB. Python's mmap cannot be told where."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mmap.restype = ctypes.c_void_p
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

    def call(address: int | None, length: int, protection: int, flags: int, descriptor: int) -> int:
        got = libc.mmap(address, length, protection, flags, descriptor, 0)
        if got == ctypes.c_void_p(-1).value:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return int(got)

    # Room for it at a multiple of 2 MiB is somewhere in a range that is 2 MiB longer. The range is ours, so that
    # replacing a part of it (MAP_FIXED) takes nothing from other threads.
    page = mmap.PAGESIZE
    length = -(-size // page) * page
    room = call(None, length + HUGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
    address = -(-room // HUGE) * HUGE
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if private else 0)
    array = end = None
    try:
        call(address, size, protection, (mmap.MAP_PRIVATE if private else mmap.MAP_SHARED) | _MAP_FIXED, fd)
        array = (ctypes.c_ubyte * size).from_address(address)
        end = weakref.finalize(array, libc.munmap, address, length)
        end.atexit = False  # daemon threads may still read then
    except BaseException:  # also what a signal handler raises
        if end is None:
            libc.munmap(room, length + HUGE)
        raise
    if address > room:
        libc.munmap(room, address - room)
    if room + HUGE > address:
        libc.munmap(address + length, room + HUGE - address)
    return array
