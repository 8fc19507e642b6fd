# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""bench/stats.sh: what it costs to know what the workers hold, what that costs the workers, and how fast /stats is."""

import os
import re
import shutil
import statistics
import subprocess
import time

from fleet import Fleet, folder, left_groups
from kit import (
    GIB,
    MIB,
    TOOL,
    Failure,
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

KINDS = [("huge", "aligned"), ("4 KiB", "plain")]  # pages of the segment, how workers map it
MOST_SMALL = 64 * GIB  # of all maps of 4 KiB pages together: a round of more takes minutes
PATIENCE = 8  # seconds of a row, after which no further round begins
OURS = ["t0", "t1"]
THEIRS = [  # how the helper knows it, its name
    ("smaps_rollup", "smaps_rollup, read"),
    ("smaps", "smaps, read"),
    ("gopsutil", "gopsutil MemoryMaps"),
    ("procfs", "procfs rollup"),
]
LOOKS = [
    ("idle", "nobody looks"),
    ("sampling", "preforkd samples it every second"),
    ("smaps_rollup", "somebody reads its smaps_rollup in a loop"),
]
STALL = 2.5  # seconds of a turn
CLIENTS, RESTING = 16, 10  # those who ask at the same time, seconds in which nobody asks
PAUSE = 0.25  # seconds between two requests of a client: no page needs to be fresher
ASKING = [  # page, pause, seconds of a turn
    ("/stats", PAUSE, 4),
    ("/metrics", PAUSE, 4),
    ("/stats", 0, 1),
    ("/metrics", 0, 1),
]


def run(_):
    sizes = [int(float(text) * GIB) for text in environment("BENCH_SIZES", "0.25 1 4", str).split()]
    workers = [int(text) for text in environment("BENCH_WORKERS", "8 64 256", str).split()]
    rounds = environment("BENCH_ROUNDS", "5", int)
    left_groups()
    with Helper(TOOL) as bench:
        reading, stalls = Reading(bench, rounds), Stalls(bench, min(rounds, 3))
        for pages, mapped in KINDS:
            for size in sizes:
                segment(bench, pages, mapped, size, workers, reading, stalls if size == max(sizes) else None)
        bench("end")
    reading.print()
    stalls.print()
    for count in workers:
        if count <= 64:
            served(count, min(sizes), min(rounds, 3))


def segment(bench, pages, mapped, size, workers, reading, stalls):
    """Everything about one segment."""
    why = fits(size, 1.05, 0)
    if why:
        say(f"{size_text(size)} in {pages} pages are not measured: {why}")
        return
    note = bench("segment", path="seg", bytes=size, huge=pages == "huge")
    if pages == "huge" and note["huge"] < size:
        say(
            f"{(size - note['huge']) // MIB} MiB of the huge segment of {size_text(size)} are 4 KiB pages: "
            f"{note['note']}"
        )
    for count in workers:
        tables = size // 512 if pages == "4 KiB" else 0
        why = fits(count * (tables + 8 * MIB), 1, 0)
        if not why and pages == "4 KiB" and count * size > MOST_SMALL:
            why = f"a round of more than {size_text(MOST_SMALL)} of such maps takes minutes"
        if why:
            say(f"{count} workers with {size_text(size)} in {pages} pages are not measured: {why}")
            continue
        bench("share", path="seg", workers=count, kind=mapped)
        reading.row(pages, size, count)
        bench("part")
    if stalls:
        bench("share", path="seg", workers=1, kind=mapped)
        stalls.segment(pages, size)
        bench("part")
    bench("release")


class Reading:
    """The table of what one round of reading all workers takes, in each way."""

    def __init__(self, bench, rounds):
        self.bench, self.rounds, self.rows = bench, rounds, []
        self.ways = {kind: lambda _, kind=kind: bench("round", kind=kind) for kind in [*OURS, *(k for k, _ in THEIRS)]}
        self.names = [name for _, name in THEIRS]
        smem = shutil.which(os.environ.get("BENCH_SMEM", "smem"))
        if smem:
            self.ways["smem"] = lambda count: smem_round(smem, count)
            self.names.append("smem")
        else:
            say(
                "smem is not measured: it is not installed (Debian: apt-get install smem; what PyPI has under this "
                "name is something else), or set BENCH_SMEM"
            )

    def row(self, pages, size, count):
        got = {way: [] for way in self.ways}
        until = time.monotonic() + PATIENCE
        longest = work = 0
        for turn in range(-1, self.rounds):
            if turn > 0 and time.monotonic() > until:
                break
            for way in shuffled(OURS if turn < 0 else list(self.ways), turn):  # the first is for warming up
                answer = self.ways[way](count)
                if turn >= 0:
                    got[way].append(answer["seconds"] * 1e3)
                    if way == "t1":
                        longest, work = answer["longest"] * 1e3, answer["work"] * 1e3
        self.rows.append((pages, size, count, longest, work, got))

    def print(self):
        if not self.rows:
            return
        lines = [("segment", "workers", "T0", "T0 + T1", "longest call, most work", *self.names)]
        for pages, size, count, longest, work, got in self.rows:
            table = Table("stats", pages=pages, size=size, workers=count)
            line = [f"{size_text(size)}, {pages}", str(count)]
            for way, values in got.items():
                ratios = None if way in OURS else [a / b for a, b in zip(values, got["t1"])]
                table.add(way, values, "ms", ratios)
                ratio = f" ({number(statistics.median(ratios))}×)" if ratios else ""
                line.append(number(statistics.median(values)) + ratio)
            table.add("longest call", [longest], "ms")
            table.add("most processor time of a call", [work], "ms")
            line.insert(4, f"{number(longest)} {number(work) if pages == '4 KiB' else '–'}")
            lines.append(line)
        say(
            f"\nRead the memory of all workers once, ms (to preforkd's T0 + T1); "
            f"medians of up to {self.rounds} rounds\n"
        )
        columns(lines)
        self.goals()

    def goals(self):
        table = Table("stats")

        def pooled(way, **where):
            return [
                value
                for pages, size, count, _, _, got in self.rows
                for value in got[way]
                if where.items() <= {"pages": pages, "size": size, "count": count}.items()
            ]

        t0 = pooled("t0", count=64)
        if t0:
            table.add("T0 of 64 workers", t0, "ms", goal=3, at_most=True)
        large = {"pages": "huge", "size": 4 * GIB, "count": 64}
        t1, smaps = pooled("t1", **large), pooled("smaps", **large)
        if t1:
            table.add("T0 + T1 of 64 workers with 4 GiB, huge", t1, "ms", goal=25, at_most=True)
            table.add("smaps of the same", smaps, "ms", [a / b for a, b in zip(smaps, t1)], 25)
        calls = [(longest, work) for pages, _, _, longest, work, _ in self.rows if pages == "4 KiB"]
        if calls:
            longest, work = map(max, zip(*calls))
            table.add("longest call on 4 KiB pages, of all rows and rounds", [longest], "ms", goal=1, at_most=True)
            table.add("  most processor time of one of these calls", [work], "ms", goal=1, at_most=True)
        table.print("The goals among them", "to T0 + T1")


def smem_round(smem, count):
    """smem as a program, its start included, of the first so many workers: the number is in their command line."""
    numbers = "|".join(map(str, range(count)))
    began = time.perf_counter()
    done = subprocess.run(
        [smem, "-H", "-c", "pid pss", "-P", f"{re.escape(TOOL)} mapper ({numbers})$"], capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode or len(done.stdout.splitlines()) != count:
        raise Failure(f"{smem} shows {len(done.stdout.splitlines())} of {count} workers: {done.stderr.strip()[-300:]}")
    return {"seconds": seconds}


class Stalls:
    """What a worker's mmap, touch and munmap of a page take while it is looked at."""

    def __init__(self, bench, rounds):
        self.bench, self.rounds, self.segments = bench, rounds, []

    def segment(self, pages, size):
        got = {look: [] for look, _ in LOOKS}
        for turn in range(self.rounds):
            for look, _ in shuffled(LOOKS, turn):
                got[look].append(self.bench("stall", kind=look, seconds=STALL))
        self.segments.append((pages, size, got))

    def print(self):
        goals = Table("stats")
        for pages, size, got in self.segments:
            table = Table("stats", pages=pages, size=size, stall=True)
            lines = [("", "p50, µs", "min – max", "p99, µs", "min – max", "longest, ms", "min – max")]
            for look, name in LOOKS:
                line = [name]
                for key, factor, unit in (("p50", 1e6, "µs"), ("p99", 1e6, "µs"), ("longest", 1e3, "ms")):
                    values = [answer[key] * factor for answer in got[look]]
                    table.add(f"{key}: {name}", values, unit)
                    line += [number(statistics.median(values)), spread(values)]
                lines.append(line)
            say(
                f"\nA worker with {size_text(size)} in {pages} pages maps, touches and unmaps 4 KiB of its own, "
                f"{self.rounds} rounds of {STALL} s\n"
            )
            columns(lines)
            beyond = [1e3 * (a["p99"] - 1.5 * b["p99"]) for a, b in zip(got["sampling"], got["idle"])]
            goals.add(
                f"{size_text(size)}, {pages}: p99 while preforkd samples, beyond 1.5 × idle",
                beyond,
                "ms",
                goal=1,
                at_most=True,
            )
        if self.segments:
            goals.print("The goals among them", "")


def served(count, size, rounds):
    """A running preforkd: how fast it answers a crowd, and what it takes while nobody asks."""
    why = fits(size + count * (size // 512 + 16 * MIB), 1.05, 0) or fits(size, 1.05, 1)
    if why:
        say(f"\n/stats of {count} workers is not measured: {why}")
        return
    place = folder(f"served-{count}")
    path = f"{place}/emb.bin"
    with Helper(TOOL) as bench:
        bench("generate", path=path, bytes=size, kind="noise", number=1)
        arguments = [
            "-w",
            str(count),
            "-d",
            f"emb={path}",
            "--huge-pages",
            "off",
            "--ready",
            "alive:10ms",
            "--",
            TOOL,
            "hold",
        ]
        with Fleet(place, arguments) as fleet:
            stats = fleet.until(
                lambda s: exact(s, count), f"a fleet of {count} workers, each measured once it was ready"
            )
            got = {asking: [] for asking in ASKING}
            for turn in range(rounds):
                for page, pause, seconds in shuffled(ASKING, turn):
                    answer = bench(
                        "ask", path=f"{place}/stats.sock", kind=page, threads=CLIENTS, pause=pause, seconds=seconds
                    )
                    got[page, pause, seconds].append(answer)
            busy = cpu(fleet.process.pid)
            time.sleep(RESTING)
            share = (cpu(fleet.process.pid) - busy) / RESTING
    os.unlink(path)
    table = Table("stats", served=count, size=size)
    for (page, pause, seconds), answers in got.items():

        def column(key, factor=1.0, answers=answers):
            return [answer[key] * factor for answer in answers]

        if pause:
            table.add(
                f"{page}: 99 % of the answers took at most",
                column("p99", 1e3),
                "ms",
                at_most=True,
                goal=5 if page == "/stats" else None,
                note=f"{answers[0]['bytes'] / 1024:.0f} KiB",
            )
            table.add("  half of them at most", column("p50", 1e3), "ms")
        else:
            table.add(f"{page}: answers a second, without a pause", column("count", 1 / seconds), "")
    budget = stats["sampler"]["budget"]
    table.add(f"CPU while nobody asks, {RESTING} s", [100 * share], "%", goal=100 * budget + 1, at_most=True)
    table.print(
        f"preforkd with {count} workers and {size_text(size)} in 4 KiB pages; {CLIENTS} clients, each "
        f"{1 / PAUSE:g} times a second, {rounds} rounds",
        "",
    )


def exact(stats, count):
    workers = stats["workers"]
    return len(workers) == count and all(w["status"] == "ready" and w["sample"]["exact"] for w in workers)


def cpu(pid):
    """Seconds of processor time that a process has taken: its own clock, by the rule of the C library's macro."""
    return time.clock_gettime((~pid << 3) | 2)


if __name__ == "__main__":
    main(run)
