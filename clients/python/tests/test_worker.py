# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""The package in workers of a real preforkd."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import Fleet, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

np = pytest.importorskip("numpy")

MIB = 1 << 20


def save(fleet: Fleet, name: str, array: Any) -> str:
    path = fleet.folder / name
    np.save(path, array)
    return str(path)


def open_to_all(folder: Path) -> None:
    """pytest's folders are their user's only."""
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)


def test_arrays_of_every_kind(fleet: Fleet) -> None:
    arrays = {
        "matrix": np.arange(12, dtype="<f4").reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(12, dtype="<i8").reshape(3, 4)),
        "big": np.arange(5, dtype=">f8"),
        "scalar": np.array(7, dtype="<u2"),
        "empty": np.empty((0, 4), dtype="<f4"),
        "structured": np.array([(1, 2.5, b"abc")], dtype=[("a", "<i4"), ("b", "<f8", (1,)), ("c", "S3")]),
        "padded": np.zeros(3, dtype=np.dtype([("a", "u1"), ("b", "<i8")], align=True)),
    }
    flags = [f"-d{name}={save(fleet, name + '.npy', array)}" for name, array in arrays.items()]
    for name, write in (("packed", np.savez_compressed), ("stored", np.savez)):
        write(fleet.folder / f"{name}.npz", **arrays)
        flags.append(f"-d{name}={fleet.folder / name}.npz")
    code = """
def show(a):
    return [a.dtype.str, str(a.dtype.descr), list(a.shape), a.tobytes().hex(), a.flags.f_contiguous, a.flags.writeable]
found = {name: show(preforkd.array(name)) for name in preforkd.data() if preforkd.data(name).format == "npy"}
for bundle in ("packed", "stored"):
    found.update({bundle + "." + name: show(a) for name, a in preforkd.load(bundle).items()})
tell(found)
wait()
"""
    fleet.start([*flags, "--ready", "alive:10ms"], code)
    found = fleet.told()[0]
    for name, a in arrays.items():
        want = [a.dtype.str, str(a.dtype.descr), list(a.shape), a.tobytes().hex(), a.flags.f_contiguous, False]
        for key in (name, "packed." + name, "stored." + name):
            assert found[key] == want, key


def test_members_that_were_left_out_are_read_from_the_content(fleet: Fleet) -> None:
    np.savez(fleet.folder / "many.npz", **{f"a_rather_long_name_of_layer_{i}": np.full(3, i) for i in range(1500)})
    code = """
d = preforkd.data("many")
tell([json.loads(os.environ["PREFORKD_DATA"])["many"].get("members_omitted"), len(d.members),
      preforkd.array("many.a_rather_long_name_of_layer_1234").tolist()])
wait()
"""
    fleet.start(["-d", f"many={fleet.folder / 'many.npz'}", "--ready", "alive:10ms"], code)
    assert fleet.told()[0] == [True, 1500, [1234] * 3]


def test_the_array_is_mapped_huge_where_a_plain_map_is_not(fleet: Fleet) -> None:
    path = save(fleet, "emb.npy", np.ones((64 * MIB // 4,), dtype="<f4"))
    code = """
import re, numpy
def look(array):
    array.sum()
    begin = array.__array_interface__["data"][0]
    for part in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", open("/proc/self/smaps").read())[1:]:
        first, last = (int(x, 16) for x in part.split()[0].split("-"))
        if first <= begin < last:
            return int(re.search(r"ShmemPmdMapped: *([0-9]+)", part)[1]) * 1024
tables = preforkd.memory().page_tables
shared = look(preforkd.array("emb"))
tables = preforkd.memory().page_tables - tables
tell([shared, tables, look(numpy.load(preforkd.path("emb"), mmap_mode="r"))])
wait()
"""
    fleet.start(["-d", f"emb={path}", "--ready", "alive:10ms"], code)
    shared, tables, plain = fleet.told()[0]
    huge = re.search(r'"huge":"([0-9]+)%"', fleet.output())
    with open("/sys/kernel/mm/transparent_hugepage/shmem_enabled") as file:
        setting = file.read()
    if not huge or int(huge[1]) < 90:
        pytest.skip("this kernel gave the segment no huge pages")
    print(f"{shared >> 20} of 64 MiB are mapped huge, np.load: {plain >> 20}; tables {tables >> 10} KiB; {setting}")
    assert shared >= 62 * MIB
    assert tables <= 32 << 10
    if "[never]" in setting:
        assert plain == 0, "np.load is mapped huge too, so this test shows nothing"


@pytest.mark.parametrize("run_dir", [True, False])
def test_workers_of_another_user(fleet: Fleet, executable: Callable[[str], str], run_dir: bool) -> None:
    python = executable("nobody")
    open_to_all(fleet.folder)
    content = os.urandom(3 * MIB)
    (fleet.folder / "emb").write_bytes(content)
    flags = ["-d", f"emb={fleet.folder / 'emb'}", "--user", "nobody", "--ready", "notify"]
    code = "tell(read() + [os.getuid() > 0, preforkd.memory().data['emb']])\npreforkd.ready()\nwait()"
    fleet.start(flags + ([] if run_dir else ["--run-dir", "off"]), code, python)
    assert fleet.told()[0] == [hashlib.sha256(content).hexdigest(), 1, True, 3 * MIB]


def test_direct_files_and_directories(fleet: Fleet) -> None:
    path = save(fleet, "emb.npy", np.arange(10))
    (fleet.folder / "tree").mkdir()
    (fleet.folder / "tree" / "file").write_text("x")
    code = """
d = preforkd.data("tree")
tell([preforkd.path("emb"), preforkd.array("emb").tolist(), d.direct, os.listdir(preforkd.path("tree"))])
wait()
"""
    tree = fleet.folder / "tree"
    fleet.start(["-d", f"emb=direct:{path}", "-d", f"tree=direct:{tree}", "--ready", "alive:10ms"], code)
    assert fleet.told()[0] == [path, list(range(10)), True, ["file"]]


def test_what_a_worker_says_is_in_stats(fleet: Fleet) -> None:
    code = """
preforkd.ready("loaded")
for _ in range(41): preforkd.requests()
tell([preforkd.worker_id(), preforkd.workers(), preforkd.incarnation(), preforkd.requests(), preforkd.heartbeat()])
wait()
"""
    fleet.start(["--ready", "notify"], code, workers=2)
    told = sorted(fleet.told(2))
    assert told == [[0, 2, 1, 42, True], [1, 2, 1, 42, True]]

    def said() -> bool:
        rows = fleet.stats()["workers"]
        return [(w["status"], w["status_text"], w["requests"]) for w in rows] == [("ready", "loaded", 42)] * 2

    until(said, f"their words in /stats: {fleet.stats()['workers']}")


def test_max_requests_goes_by_requests(fleet: Fleet) -> None:
    code = """
preforkd.ready()
if preforkd.incarnation() == 1: preforkd.requests(20)
wait()
"""
    fleet.start(["--ready", "notify", "--max-requests", "10"], code)
    until(lambda: fleet.output() and fleet.stats()["workers"][0]["incarnation"] == 2, "its replacement")


def test_a_hung_worker_is_one_that_sends_no_heartbeat(fleet: Fleet) -> None:
    code = """
import time
preforkd.ready()
for _ in range(8 if preforkd.incarnation() == 1 else 10**6):
    preforkd.heartbeat()
    time.sleep(0.25)
wait()
"""
    fleet.start(["--ready", "notify", "--watchdog", "1s"], code)
    until(lambda: "hung" in fleet.output() or "watchdog" in fleet.output(), "the end of the silent one")
    assert fleet.output().count("worker started") >= 1
