# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""bench/reload.sh: new versions of a dataset under load, by a roll and in place, by order and by --watch."""

import os
import time

from fleet import Fleet, Watch, folder, left_groups
from kit import GIB, MIB, TOOL, Failure, Helper, Table, environment, fits, main, say, size_text

WORKERS = 4
WAYS = [  # name, do workers take versions themselves, is the reload ordered or noticed
    ("rolled, preforkd reload emb", False, False),
    ("rolled, --watch", False, True),
    ("in place, preforkd reload emb", True, False),
    ("in place, --watch", True, True),
]


def run(_):
    size = int(environment("BENCH_SIZE", "1", float) * GIB)
    count = environment("BENCH_RELOADS", "10", int)
    only = environment("BENCH_WAYS", "", str)
    why = fits(size, 4.1, 2.1)  # both versions, and both files in the page cache
    if why:
        say(f"\nReloads of {size_text(size)} are not measured: {why}")
        return
    left_groups()
    with Helper(TOOL) as bench:
        bench("warm", bytes=3 * size)
        for name, in_place, watched in WAYS:
            if only in name:
                way(bench, name, in_place, watched, size, count)


def way(bench, name, in_place, watched, size, count):
    place = folder(name.replace(" ", "-").replace(",", ""))
    path = f"{place}/emb.bin"
    bench("generate", path=path, bytes=size, kind="noise", number=1)
    arguments = [
        "-w",
        str(WORKERS),
        "-d",
        f"emb={path}",
        "-l",
        "127.0.0.1:0",
        *(["--watch"] if watched else []),
        "--",
        TOOL,
        "worker",
        *(["takes"] if in_place else []),
    ]
    with Fleet(place, arguments) as fleet:
        stats = fleet.until(lambda s: settled(s, in_place), f"a fleet of {WORKERS} ready workers")
        address = stats["listen"][0]["address"]
        with Helper(TOOL, "client", address) as client:
            client("await", number=1, workers=WORKERS, seconds=30)
            client("report", number=1)
            got = [
                reload(bench, client, fleet, path, size, generation, in_place, watched)
                for generation in range(2, count + 2)
            ]
        how = (
            "of their own cgroup" if fleet.group.path else "sampled in /stats and meminfo: no memory cgroup can be made"
        )
    os.unlink(path)
    show(name, got, size, in_place, watched, how)


def settled(stats, in_place):
    """Exactly one ready worker a slot, one version, and who wants to take versions has said so."""
    workers, data = stats["workers"], stats["data"]
    return (
        len(workers) == WORKERS
        and all(w["status"] == "ready" for w in workers)
        and len(data) == 1
        and data[0]["loaded_at"]
        and not stats["supervisor"].get("operation")
        and (not in_place or all(w.get("in_place") for w in workers))
    )


def reload(bench, client, fleet, path, size, generation, in_place, watched):
    bench("generate", path=f"{path}.next", bytes=size, kind="noise", number=generation)
    before = fleet.stats()
    fleet.group.forget()
    client("report", number=generation)  # what was until here does not count
    os.link(path, f"{path}.old")  # else the rename would wait until the old file's page cache is freed
    with Watch(fleet) as watch:
        began = time.monotonic()
        os.rename(f"{path}.next", path)
        order = None if watched else fleet.order("reload", "emb")
        client("await", number=generation, workers=WORKERS, seconds=60)
        if order and order.wait():
            raise Failure(f"preforkd reload emb ended with code {order.returncode}:\n{fleet.words()}")
        after = fleet.until(
            lambda s: settled(s, in_place) and s["data"][0]["version"] > before["data"][0]["version"],
            f"generation {generation} alone",
        )
        freed = time.monotonic() - began
    os.unlink(f"{path}.old")
    report = client("report", number=generation)
    if report["last_old"] < began:
        raise Failure("nobody answered from the old version after the new file was there: was there no load?")
    same = {w["pid"] for w in before["workers"]} & {w["pid"] for w in after["workers"]}
    if len(same) != (WORKERS if in_place else 0):
        raise Failure(f"{len(same)} of {WORKERS} workers are the same process as before")
    shmem = watch.shmem - watch.before + size
    return {
        **report,
        "answered": max(report["last_first"], report["last_old"]) - began,
        "freed": freed,
        "load": after["data"][0]["load_seconds"],
        "peak": fleet.group.peak() or max(watch.used, shmem),
    }


def show(name, got, size, in_place, watched, how):
    table = Table("reload", size=size, workers=WORKERS, in_place=in_place, watched=watched)

    def column(key, factor=1):
        return [one[key] * factor for one in got]

    table.add("new file in place until the last worker answers from it", column("answered"), "s")
    table.add("  of that, loading", column("load"), "s")
    table.add("until the old version is freed", column("freed"), "s")
    table.add("requests during a reload", column("requests"), "")
    table.add("requests that failed, all reloads together", [sum(column("failed"))], "", goal=0, at_most=True)
    table.add("longest request", column("longest", 1e3), "ms")
    table.add("99 % of the requests took at most", column("p99", 1e3), "ms")
    both = 2 * size
    # The goal is for the highest peak, not for a usual one.
    worst = max(column("peak"))
    table.add(f"highest peak of memory, {how}", [worst / MIB], "MiB", [worst / both], 1.05, at_most=True)
    table.print(f"{len(got)} reloads of {size_text(size)} under load, {WORKERS} workers: {name}", "to old + new")
    failures = [text for one in got for text in one["failures"] or []]
    for text in failures[:5]:
        say(f"  failed: {text}")
    if failures:
        raise Failure(f"{sum(column('failed'))} requests failed")


if __name__ == "__main__":
    main(run)
