# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""bench/load.sh: plain files into memory that workers can share, cached and cold, beside the ways that people know."""

import os
import statistics
import subprocess
import sys
import time

from kit import (
    FOLDER,
    GIB,
    MIB,
    TMPFS,
    TOOL,
    Failure,
    Helper,
    Table,
    environment,
    fits,
    main,
    say,
    shuffled,
    size_text,
    threads,
)

BLOCK = 8 * MIB  # bytes of one read of the limits and of the plain way: smaller ones are slower or no faster
COLD_THREADS = 8  # as many as preforkd reads a disk with

# By shmem_enabled: preforkd's rate to the copy limit, and to a plain pread into the map.
GOALS = {"never": (0.60, 4), "advise": (0.80, 6), "within_size": (0.80, 6), "always": (0.80, 6)}


def run(arguments):
    goals = GOALS.get(arguments.shmem, (None, None))
    sizes = [int(float(text) * GIB) for text in environment("BENCH_SIZES", "0.25 1 4", str).split()]
    with Helper(TOOL) as bench:
        numpy = numpy_process()
        try:
            for size in sizes:
                # File, limit's buffer and one copy at a time; with page tables and what else lives here.
                why = fits(size, 3.1, 1)
                if why:
                    say(f"\n{size_text(size)} is not measured: {why}")
                    continue
                path = f"{FOLDER}/data.bin"
                bench("generate", path=path, bytes=size, kind="noise", number=1)
                bench("evict", path=path)  # written back now, and not while the clock runs
                cached(bench, numpy, path, size, arguments.shmem, goals)
                if size == GIB or sizes == [size]:
                    cold(bench, path, size, arguments.shmem)
                os.unlink(path)
        finally:
            if numpy:
                numpy.__exit__()


def numpy_process():
    python = os.environ.get("BENCH_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import numpy"], stderr=subprocess.DEVNULL).returncode:
        say(f"numpy is not measured: {python} has none; `make test` makes an environment that has, or set BENCH_PYTHON")
        return None
    return Helper(python, "bench/lib/numpy_helper.py")


def cached(bench, numpy, path, size, shmem, goals):
    rounds = environment("BENCH_ROUNDS", "7" if size <= GIB else "3", int)
    count = threads()
    methods = {
        "limit": lambda: bench("limit", path=path, bytes=size, threads=count, block=BLOCK),
        "preforkd": lambda: bench("preforkd", path=path),
        "fill": lambda: bench("fill", path=path, bytes=size, threads=count),
        "fresh": lambda: bench("fresh", path=path, bytes=size, threads=count),
        "plain": lambda: bench("plain", path=path, bytes=size, threads=count, block=BLOCK),
    }
    if TMPFS:
        methods["cp"] = lambda: copy(path)
    else:
        say("cp to tmpfs is not measured: /dev/shm is no tmpfs that can be written")
    if numpy:
        methods["numpy"] = lambda: numpy("fromfile", path=path)
    got = {name: [] for name in methods}
    seal, huge, note = [], [], ""
    methods["limit"]()  # populates its buffer and fills the page cache
    for turn in range(-1, rounds):  # the first is for warming up
        for name in shuffled(list(methods), turn):
            if name != "limit":
                bench("warm", bytes=size + 64 * MIB)
            answer = methods[name]()
            if turn < 0:
                continue
            got[name].append(size / answer["seconds"] / 1e9)
            if name == "fill":
                seal.append(answer["seal"] * 1e3)
                note = answer["note"]
            if name == "preforkd":
                huge.append(answer["huge"] / size)
    left = bench("cached", path=path)["bytes"]
    bench("release")
    if left < 0.99 * size:
        raise Failure(f"{path} was not in the page cache all the time: {left // MIB} of {size // MIB} MiB are there")

    def to(name, other):
        return [a / b for a, b in zip(got[name], got[other])]

    table = Table("load", shmem_enabled=shmem, size=size, threads=count)
    table.add("kernel's copy limit: pread into a populated huge buffer", got["limit"], "GB/s")
    table.add(
        "preforkd, until workers can start",
        got["preforkd"],
        "GB/s",
        to("preforkd", "limit"),
        goals[0],
        note=f"{statistics.median(huge):.0%} huge{', ' + note if note else ''}",
    )
    table.add("shm.Fill alone", got["fill"], "GB/s", to("fill", "limit"))
    table.add("pread into new huge pages of a private map", got["fresh"], "GB/s", to("fresh", "limit"))
    table.add("pread into a 4 KiB map of a memfd", got["plain"], "GB/s", to("plain", "limit"))
    if "cp" in got:
        table.add("cp to tmpfs (/dev/shm)", got["cp"], "GB/s", to("cp", "limit"))
    if "numpy" in got:
        table.add("numpy.fromfile, private to one process", got["numpy"], "GB/s", to("numpy", "limit"))
    table.add("preforkd to new private huge pages", to("preforkd", "fresh"), "times")
    table.add("preforkd to the 4 KiB map", to("preforkd", "plain"), "times", goal=goals[1])
    table.add("unmap, seal, open again", seal, "ms", goal=3, at_most=True)
    table.print(
        f"Load {size_text(size)} from the page cache, shmem_enabled={shmem}, {count} threads, {rounds} rounds",
        "to limit",
    )


def copy(path):
    """cp, its start included (a millisecond)."""
    to = f"{TMPFS}/copy"
    began = time.perf_counter()
    subprocess.run(["cp", path, to], check=True)
    seconds = time.perf_counter() - began
    os.unlink(to)
    return {"seconds": seconds}


def cold(bench, path, size, shmem):
    rounds, count = environment("BENCH_ROUNDS", "7", int), COLD_THREADS
    limit, got, left = [], [], []

    def disk():
        evicted(bench, path)
        seconds = bench("direct", path=path, bytes=size, threads=count, block=BLOCK)["seconds"]
        return size / seconds / 1e9

    def preforkd():
        bench("warm", bytes=size + 64 * MIB)
        evicted(bench, path)
        seconds = bench("preforkd", path=path)["seconds"]
        return size / seconds / 1e9, bench("cached", path=path)["bytes"] / MIB

    for turn in range(-1, rounds):
        if turn % 2:
            rate, cache = preforkd()
            most = disk()
        else:
            most = disk()
            rate, cache = preforkd()
        if turn >= 0:
            limit.append(most)
            got.append(rate)
            left.append(cache)
    bench("release")
    table = Table("load", shmem_enabled=shmem, size=size, threads=count, cold=True)
    table.add(f"disk's limit: O_DIRECT by {BLOCK // MIB} MiB into a populated huge buffer", limit, "GB/s")
    table.add("preforkd, until workers can start", got, "GB/s", [a / b for a, b in zip(got, limit)], 0.95)
    table.add("page cache that it leaves behind", left, "MiB", goal=64, at_most=True)
    table.print(
        f"Load {size_text(size)} from the disk, shmem_enabled={shmem}, {count} threads, {rounds} rounds", "to limit"
    )


def evicted(bench, path):
    bench("evict", path=path)
    left = bench("cached", path=path)["bytes"]
    if left > 8 * MIB:
        raise Failure(f"{path} cannot be put out of the page cache: {left // MIB} MiB stay; set BENCH_DIR")


if __name__ == "__main__":
    main(run)
