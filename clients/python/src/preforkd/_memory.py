# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""What this process really costs, as the kernel tells it of itself. docs/stats.md explains the figures."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ._dataset import mapped


@dataclass(frozen=True)
class Memory:
    """Bytes; None where the kernel does not tell.

    rss counts shared pages in full, pss by the number of processes that have them, uss not at all, unless this is the
    only process that has them. private is the process's own anonymous memory (RssAnon), page_tables what its maps need.
    data: how much of each dataset that is mapped here is resident in this process, shared and private copies of pages
    alike.
    """

    rss: int | None = None
    pss: int | None = None
    uss: int | None = None
    private: int | None = None
    swap: int | None = None
    page_tables: int | None = None
    data: dict[str, int | None] = field(default_factory=dict)


def memory() -> Memory:
    """What this process costs now. The kernel walks its page tables: some 12 ms for each GiB in small pages."""
    status, rollup = _fields("/proc/self/status"), _fields("/proc/self/smaps_rollup")
    own = [rollup.get(key) for key in ("Private_Clean", "Private_Dirty")]
    return Memory(
        rss=rollup.get("Rss", status.get("VmRSS")),
        pss=rollup.get("Pss"),
        uss=sum(n for n in own if n is not None) if None not in own else None,
        private=status.get("RssAnon"),
        swap=rollup.get("Swap", status.get("VmSwap")),
        page_tables=status.get("VmPTE"),
        data=_resident(),
    )


def _fields(path: str) -> dict[str, int]:
    """The lines `Name:  123 kB` of a file, in bytes."""
    found: dict[str, int] = {}
    try:
        with open(path, "rb") as file:
            for line in file:
                words = line.split()
                if len(words) == 3 and words[2] == b"kB":
                    found[words[0].rstrip(b":").decode()] = int(words[1]) * 1024
    except OSError:
        pass
    return found


def maps_of(device: int, inode: int) -> tuple[bytes, bytes]:
    """How /proc/self/smaps writes the device and inode of a mapped file."""
    return b"%02x:%02x" % (os.major(device), os.minor(device)), b"%d" % inode


def _resident() -> dict[str, int | None]:
    """Resident bytes of each dataset that is mapped here, found by the device and inode of its maps."""
    datasets = {(name, *maps_of(device, inode), disk) for name, device, inode, disk in mapped()}
    if not datasets:
        return {}
    inodes = {inode for _, _, inode, _ in datasets}
    resident: dict[tuple[bytes, bytes], int] = {}  # bytes by device and inode
    place = None
    try:
        with open("/proc/self/smaps", "rb") as file:
            for line in file:
                words = line.split()
                if not words[0].endswith(b":"):  # 7f0000-7f1000 r--s 00000000 00:01 1234 /memfd:emb (deleted)
                    place = (words[3], words[4]) if words[4] in inodes else None
                elif place is not None and words[0] == b"Rss:":
                    resident[place] = resident.get(place, 0) + int(words[1]) * 1024
    except OSError:
        return {name: None for name, *_ in datasets}
    found: dict[str, int | None] = {}
    for name, device, inode, disk in datasets:
        places = [(device, inode)] if (device, inode) in resident else []
        if disk and not places:  # on btrfs and overlayfs stat tells another device than maps: then the inode must do
            places = [place for place in resident if place[1] == inode]
        if places:
            found[name] = (found.get(name) or 0) + sum(resident[p] for p in places)
    return found
