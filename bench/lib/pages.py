# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""bench/pages.sh: what a segment costs the worker that maps it, of 4 KiB pages and of huge ones."""

import statistics

from kit import (
    GIB,
    MIB,
    TOOL,
    Helper,
    Table,
    columns,
    environment,
    fits,
    main,
    number,
    say,
    shuffled,
    size_text,
    spread,
)

WAYS = [  # segment, how it is mapped
    ("small", "plain", "4 KiB segment, plain mmap"),
    ("huge", "plain", "huge segment, plain mmap"),
    ("huge", "aligned", "huge segment, mmap at a 2 MiB boundary"),
]
FIGURES = [  # key of the answer, factor, unit, name
    ("map", 1e6, "µs", "mmap"),
    ("touch", 1e3, "ms", "touch every page"),
    ("populate", 1e3, "ms", "populate (MADV_POPULATE_READ)"),
    ("page_tables", 1 / 1024, "KiB", "page tables (VmPTE), in every worker"),
    ("mapped_huge", 1 / MIB, "MiB", "mapped by huge pages"),
    ("dependent", 1e9, "ns", "random row, known from the row before"),
    ("independent", 1e9, "ns", "random row, known beforehand"),
    ("unmap", 1e3, "ms", "munmap"),
]


def run(arguments):
    size = int(environment("BENCH_PAGES_SIZE", "4", float) * GIB)
    rounds = environment("BENCH_ROUNDS", "5", int)
    why = fits(size, 2.05, 0)
    if why and size > GIB:
        say(f"\n{size_text(size)} is not measured, 1 GiB is: {why}")
        size = GIB
        why = fits(size, 2.05, 0)
    if why:
        say(f"\n{size_text(size)} is not measured: {why}")
        return
    with Helper(TOOL) as bench:
        bench("warm", bytes=2 * size)
        share = {}
        for name in ("small", "huge"):
            answer = bench("segment", path=name, bytes=size, huge=name == "huge")
            share[name] = answer["huge"] / size
            if answer["note"]:
                say(f"\n{answer['note']}")
        got = {way: [] for way in WAYS}
        for turn in range(-1, rounds):
            for way in shuffled(WAYS, turn):
                answer = bench("attach", path=way[0], kind=way[1])
                if turn >= 0:
                    got[way].append(answer)
    table = Table("pages", shmem_enabled=arguments.shmem, size=size)
    lines = [("", "", *(way[2] for way in WAYS))]
    for key, factor, unit, name in FIGURES:
        line = [name, unit]
        for way in WAYS:
            values = [answer[key] * factor for answer in got[way]]
            table.add(f"{name}: {way[2]}", values, unit)
            line.append(number(statistics.median(values)) + (f"  ({spread(values)})" if spread(values) else ""))
        lines.append(line)
    say(
        f"\nWhat a worker sees of {size_text(size)}, shmem_enabled={arguments.shmem}, {rounds} rounds, "
        f"median (min – max); the huge segment is {share['huge']:.0%} huge, the other {share['small']:.0%}\n"
    )
    columns(lines, left=(0, 1))


if __name__ == "__main__":
    main(run)
