# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""bench/codec.sh: packed files into shared memory, beside the programs that unpack them into a file on tmpfs."""

import os
import shutil
import subprocess
import time

from kit import FOLDER, MIB, TMPFS, TOOL, Failure, Helper, Table, environment, fits, main, say, shuffled

# name, how it is packed, who unpacks it beside us (the first is the one to compare with), share of the data, goal
CODECS = [
    ("zstd", ["zstd", "-3", "-q", "-c"], [["zstd", "-dcq"]], 1, 0.90),
    ("gzip", ["pigz", "-6", "-c"], [["pigz", "-dc"], ["gzip", "-dc"]], 1, 0.90),
    ("lz4", ["lz4", "-1", "-q", "-c"], [["lz4", "-dcq"]], 1, None),
    ("xz", ["xz", "-1", "-c", "-T", "2"], [["xz", "-dcq"]], 1 / 8, None),
]


def run(_):
    size = environment("BENCH_CODEC_MIB", "512", int) * MIB
    rounds = environment("BENCH_ROUNDS", "5", int)
    why = "" if TMPFS else "the programs unpack to /dev/shm, which is no tmpfs that can be written here"
    why = why or fits(size, 3, 3)
    if why:
        say(f"\nPacked files are not measured: {why}")
        return
    with Helper(TOOL) as bench:
        for kind in ("floats", "text"):
            path = f"{FOLDER}/{kind}"
            bench("generate", path=path, bytes=size, kind=kind)
            table = Table("codec", content=kind, size=size)
            for codec in CODECS:
                measure(bench, table, path, size, rounds, *codec)
            os.unlink(path)
            table.print(
                f"Unpack {size // MIB} MiB of {kind} from the page cache, {rounds} rounds: preforkd until "
                "workers can start, the programs into a file on tmpfs; rates of the unpacked bytes",
                "to program",
            )


def measure(bench, table, path, size, rounds, name, pack, peers, share, goal):
    missing = [peer[0] for peer in [pack, *peers] if not shutil.which(peer[0])]
    if pack[0] in missing or peers[0][0] in missing:
        say(f"{name} is not measured: there is no {missing[0]}")
        return
    peers = [peer for peer in peers if peer[0] not in missing]
    part, packed = int(size * share), f"{path}.{name}"
    with open(packed, "wb") as out:
        head = subprocess.Popen(["head", "-c", str(part), path], stdout=subprocess.PIPE)
        subprocess.run(pack, stdin=head.stdout, stdout=out, check=True)
        head.stdout.close()
        head.wait()
    ways = {"preforkd": lambda: bench("preforkd", path=packed)}
    for peer in peers:
        ways[peer[0]] = lambda peer=peer: unpack(peer, packed)
    got = {way: [] for way in ways}
    for turn in range(-1, rounds):
        for way in shuffled(list(ways), turn):
            bench("warm", bytes=part + 64 * MIB)
            answer = ways[way]()
            if answer["bytes"] != part:
                raise Failure(f"{way} made {answer['bytes']} bytes of {packed}, which has {part}")
            if turn >= 0:
                got[way].append(part / answer["seconds"] / 1e9)
    smaller = part / os.path.getsize(packed)
    for peer in peers:
        table.add(
            f"{name}: {' '.join(peer)}",
            got[peer[0]],
            "GB/s",
            note=f"packed {smaller:.1f} times smaller{f', {part // MIB} MiB of it' if share < 1 else ''}",
        )
    ratios = [a / b for a, b in zip(got["preforkd"], got[peers[0][0]])]
    table.add(f"{name}: preforkd", got["preforkd"], "GB/s", ratios, goal)
    os.unlink(packed)


def unpack(command, packed):
    """A program that unpacks to tmpfs, its start included."""
    to = f"{TMPFS}/unpacked"
    with open(packed, "rb") as source, open(to, "wb") as out:
        began = time.perf_counter()
        subprocess.run(command, stdin=source, stdout=out, check=True)
        seconds = time.perf_counter() - began
    size = os.path.getsize(to)
    os.unlink(to)
    return {"seconds": seconds, "bytes": size}


if __name__ == "__main__":
    main(run)
