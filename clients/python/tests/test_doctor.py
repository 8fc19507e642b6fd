# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""doctor tries what it tells of, finds what is wrong with a worker's data, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from preforkd import _doctor
from preforkd._doctor import doctor

from .conftest import SOURCE, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Segments

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")


def lines(state: str = "") -> list[str]:
    return [finding.text for finding in doctor() if finding.state == state or not state]


def test_this_machine_can_run_preforkd_and_is_left_as_it_was() -> None:
    gc.collect()  # what other tests have left
    before = sorted(os.listdir("/proc/self/fd"))
    assert lines("problem") == []
    told = "\n".join(lines())
    for word in (
        "memfd_create with seals",
        "read-only shared map",
        "huge pages",
        "pagemap",
        "smaps_rollup",
        "pidfd_getfd on a child",
        "--user",
        "not a worker",
    ):
        assert word in told
    assert sorted(os.listdir("/proc/self/fd")) == before
    with open("/proc/self/maps") as maps:
        assert "preforkd-doctor" not in maps.read()


def test_the_data_of_a_worker_is_checked(segments: Segments) -> None:
    segments.give(b"x" * 5000, "emb", version=3)
    told = [text for text in lines("ok") if text.startswith("dataset emb")]
    assert len(told) == 1
    assert "version 3, raw, 5.0 kB, sealed, mapped by small pages, /proc/" in told[0]


def test_data_that_is_not_what_preforkd_gave_is_a_problem(segments: Segments) -> None:
    other = segments.memfd(b"y" * 5000, "emb", seal=False)
    segments.give(b"", "emb", fd=other, size=5000)
    problems = lines("problem")
    assert len(problems) == 1
    assert problems[0].startswith("dataset emb: cannot reach version 1")


def test_an_old_kernel_and_another_system_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor.platform, "release", lambda: "4.19.0-1")
    assert "needs Linux 5.4" in lines("problem")[0]
    monkeypatch.setattr(_doctor.platform, "system", lambda: "Darwin")
    assert "needs Linux" in lines("problem")[0]


def test_what_a_container_forbids_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refuse)
    assert any("memfd_create with seals" in text and "seccomp" in text for text in lines("problem"))
    assert any("huge pages" in text for text in lines("warning"))


AS_DOCTOR = "from preforkd import _doctor\nprint(_doctor._reaching())\nprint(_doctor._users())"
NOBODY = "--reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all"
DOCKER = "--inh-caps=-all --bounding-set=-all,+chown,+dac_override,+fowner,+kill,+setgid,+setuid"  # some of its root's
# A seccomp filter: load the call's number; pidfd_getfd is EPERM, as in Docker's default profile; the rest is allowed.
REFUSING = """
import ctypes, struct
steps = (0x20, 0, 0, 0), (0x15, 0, 1, 438), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)
filter = b"".join(struct.pack("HBBI", *step) for step in steps)
code = ctypes.create_string_buffer(filter, len(filter))
program = ctypes.create_string_buffer(struct.pack("HP", 4, ctypes.addressof(code)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
assert prctl(38, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS"
assert prctl(22, 2, ctypes.addressof(program), 0, 0) == 0, ctypes.get_errno()
"""


@pytest.mark.parametrize(
    ("privileges", "users"),
    [
        ("", "ok      workers may be of another user (--user)"),
        (NOBODY, "ok      workers are of this user (uid 65534): --user is not to be had without root"),
        (DOCKER, "warning workers may be of another user (--user), but then preforkd may not reach into them"),
    ],
    ids=["root", "nobody", "root in Docker"],
)
def test_what_this_uid_may_do_with_workers(privileges: str, users: str, executable: Callable[[str], str]) -> None:
    python = executable("nobody")
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv (util-linux)")
    if not privileges and not _doctor._capable(_doctor._CAP_SYS_PTRACE):
        pytest.skip("needs CAP_SYS_PTRACE, which root in a container has not")
    command = [setpriv, *privileges.split(), python, "-c", AS_DOCTOR]
    told = subprocess.run(command, env={"PYTHONPATH": SOURCE}, cwd="/", capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    reaching, found = told.stdout.splitlines()
    assert found.startswith(users)
    refused = _doctor._read("/proc/sys/kernel/yama/ptrace_scope").strip() in ("2", "3")
    if not refused and "\nSeccomp:\t0\n" in Path("/proc/self/status").read_text():
        assert reaching.startswith("ok      pidfd_getfd on a child: workers with an event loop are replaced")


def test_a_seccomp_profile_against_pidfd_getfd_is_told() -> None:
    reaching, _ = run(REFUSING + AS_DOCTOR).splitlines()
    assert reaching.startswith("warning pidfd_getfd on a child: Operation not permitted; ")
    assert "SYS_PTRACE" in reaching


V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"


@pytest.mark.parametrize(
    ("membership", "limits", "wanted"),
    [
        ("0::/a/b\n", {f"{V2}/a/b/memory": ("max", "5"), f"{V2}/a/memory": ("1000", "7")}, (1000, 7, "cgroup /a")),
        ("5:cpu:/\n4:memory:/docker/x\n", {f"{V1}/memory": ("2000", "9")}, (2000, 9, "cgroup /")),
        ("4:memory:/\n", {f"{V1}/memory": ("9223372036854771712", "9")}, (None, 0, "")),
        ("", {}, (None, 0, "")),
    ],
)
def test_the_tightest_limit_of_a_cgroup_counts(
    membership: str, limits: dict[str, tuple[str, str]], wanted: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"/proc/self/cgroup": membership}
    for name, (limit, used) in limits.items():
        files.update({f"{name}.max": limit, f"{name}.limit_in_bytes": limit})
        files.update({f"{name}.current": used, f"{name}.usage_in_bytes": used})
    monkeypatch.setattr(_doctor, "_read", lambda path: files.get(path, ""))
    assert _doctor._cgroup() == wanted


def test_strict_overcommit_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    read = _doctor._read
    monkeypatch.setattr(_doctor, "_read", lambda path: "2\n" if path.endswith("overcommit_memory") else read(path))
    assert any("charged in full" in text for text in lines("warning"))
