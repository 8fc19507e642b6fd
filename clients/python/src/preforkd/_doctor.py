# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Finds out what this kernel, container and user allow by trying it; in a worker also whether its data can be used."""

from __future__ import annotations

import mmap
import os
import platform
import re
import sys
from typing import NamedTuple

from . import _contract
from ._contract import Error
from ._inband import size

_F_ADD_SEALS = 1033
_ALL_SEALS = 0xF  # SEAL, SHRINK, GROW, WRITE
_MFD_CLOEXEC, _MFD_ALLOW_SEALING, _MFD_NOEXEC_SEAL = 1, 2, 8
_MADV_COLLAPSE = 25
_SYS_PIDFD_OPEN, _SYS_PIDFD_GETFD = 434, 438  # the same on every machine that preforkd runs on
_CAP_SETGID, _CAP_SETUID, _CAP_SYS_PTRACE = 6, 7, 19
_LIBRARIES = ("numpy", "pandas", "pyarrow", "torch", "safetensors", "joblib")


class Finding(NamedTuple):
    """One line: state is ok, warning (works, but) or problem (something preforkd needs is missing)."""

    state: str
    text: str

    def __str__(self) -> str:
        return f"{self.state:8}{self.text}"


def doctor() -> list[Finding]:
    """All findings; nothing of the host is changed."""
    found = [_kernel()]
    if found[0].state != "problem":
        found += [*_segments(), _huge(), *_measuring(), _looking(), _reaching(), _users(), *_limits()]
    found += [_python(), *_binary()]
    return found + _datasets()


def _ok(text: str) -> Finding:
    return Finding("ok", text)


def _warning(text: str) -> Finding:
    return Finding("warning", text)


def _problem(text: str) -> Finding:
    return Finding("problem", text)


def _read(path: str) -> str:
    """A small file of the kernel's; "" where it is not there or may not be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _kernel() -> Finding:
    system, release, machine = platform.system(), platform.release(), platform.machine()
    text = f"{system} {release} ({machine}), user {os.geteuid()}" if hasattr(os, "geteuid") else system
    if system != "Linux":
        return _problem(f"{text}: preforkd needs Linux; this package reads files by default= here")
    version = tuple(int(n) for n in re.findall(r"\d+", release)[:2])
    if version < (5, 4):
        return _problem(f"{text}: preforkd needs Linux 5.4 or newer")
    if version < (6, 7):
        return _ok(f"{text}; from 6.7 on the exact figures cost less")
    return _ok(text)


def _sealed(length: int, flags: int = 0) -> int:
    """A read-only descriptor of a sealed memfd, as workers get it; the caller closes it."""
    import fcntl

    writer = os.memfd_create("preforkd-doctor", _MFD_CLOEXEC | _MFD_ALLOW_SEALING | flags)
    try:
        os.ftruncate(writer, length)
        os.pwrite(writer, b"doctor", 0)
        fcntl.fcntl(writer, _F_ADD_SEALS, _ALL_SEALS)
        if _contract.seals(writer) & _ALL_SEALS != _ALL_SEALS:
            raise OSError("the seals do not hold")
        return os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writer)


def _segments() -> list[Finding]:
    try:
        fd = _sealed(mmap.PAGESIZE)
    except (OSError, AttributeError) as e:
        return [
            _problem(
                f"memfd_create with seals: {e}; a container's seccomp profile must allow memfd_create, and mount /proc"
            )
        ]
    found = [_ok("memfd_create with seals: data that nobody can change")]
    try:
        with mmap.mmap(fd, mmap.PAGESIZE, access=mmap.ACCESS_READ) as content:
            if content[:6] != b"doctor":
                raise OSError("it reads as something else")
        found.append(_ok("read-only shared map of a sealed memfd"))
    except OSError as e:
        found.append(_problem(f"read-only shared map of a sealed memfd: {e}"))
    finally:
        os.close(fd)
    try:
        os.close(_sealed(mmap.PAGESIZE, _MFD_NOEXEC_SEAL))
        found.append(_ok("MFD_NOEXEC_SEAL: data cannot be made executable"))
    except OSError:
        state = _read("/proc/sys/vm/memfd_noexec").strip()
        if state == "2":
            found.append(_problem("MFD_NOEXEC_SEAL is refused, and vm.memfd_noexec=2 demands it"))
        else:
            found.append(_ok("MFD_NOEXEC_SEAL: not before Linux 6.3; preforkd does without"))
    return found


def _huge() -> Finding:
    """Whether data in huge pages is mapped by them, tried with 4 MiB."""
    from . import _mapping

    setting = "".join(re.findall(r"\[(\w+)\]", _read("/sys/kernel/mm/transparent_hugepage/shmem_enabled"))) or "unknown"
    length = 2 * _mapping.HUGE
    try:
        fd = _sealed(length)
        try:
            view = _mapping.map(fd, length)
            collapsed = _collapse(view)
            mapped = view[0] == ord("d") and view[length - 1] == 0 and mapped_huge(fd)
        finally:
            os.close(fd)
    except (OSError, Error) as e:
        return _warning(f"huge pages (shmem_enabled={setting}): cannot be tried ({e}); data will be in small pages")
    if mapped:
        return _ok(f"huge pages (shmem_enabled={setting}): this package maps data by them")
    why = "this kernel makes none (MADV_COLLAPSE is of Linux 6.1)" if not collapsed else "they are not mapped as such"
    return _warning(f"huge pages (shmem_enabled={setting}): {why}; 2 MiB of page tables for each GiB in each worker")


def _collapse(view: memoryview) -> bool:
    """Ask the kernel to make huge pages of what a view maps."""
    import ctypes

    array = view.obj
    if not isinstance(array, ctypes.Array):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return bool(libc.madvise(ctypes.addressof(array), len(view), _MADV_COLLAPSE) == 0)


def mapped_huge(fd: int) -> int:
    """Bytes that this process has mapped of a descriptor's file by huge pages."""
    from ._memory import maps_of

    status = os.fstat(fd)
    place = [word.decode() for word in maps_of(status.st_dev, status.st_ino)]
    total, ours = 0, False
    for line in _read("/proc/self/smaps").splitlines():
        if re.match(r"[0-9a-f]+-", line):
            ours = line.split(maxsplit=5)[3:5] == place
        elif ours and line.startswith(("ShmemPmdMapped:", "FilePmdMapped:")):
            total += int(line.split()[1]) * 1024
    return total


def _measuring() -> list[Finding]:
    try:
        with open("/proc/self/pagemap", "rb") as file:
            file.read(8)
        found = [_ok("/proc/self/pagemap can be read: exact figures, page by page")]
    except OSError as e:
        found = [_warning(f"/proc/self/pagemap: {e.strerror}; figures come from smaps")]
    if _read("/proc/self/smaps_rollup"):
        return [*found, _ok("/proc/self/smaps_rollup can be read: PSS")]
    return [*found, _warning("/proc/self/smaps_rollup cannot be read: no PSS")]


def _looking() -> Finding:
    """Whether processes of this user may look into each other, which the paths of datasets go through."""
    options = next(
        (line.split()[3] for line in _read("/proc/mounts").splitlines() if line.split()[1:3] == ["/proc", "proc"]), ""
    )
    hidden = re.search(r"hidepid=(\w+)", options)
    scope = _read("/proc/sys/kernel/yama/ptrace_scope").strip() or "none"
    seccomp = re.search(r"^Seccomp:\s*(\d)", _read("/proc/self/status"), re.MULTILINE)
    text = (
        f"/proc/{os.getppid()}/fd of the parent (ptrace_scope {scope}, seccomp {seccomp[1] if seccomp else 'unknown'}"
    )
    text += f", hidepid {hidden[1]})" if hidden and hidden[1] not in ("0", "off") else ")"
    try:
        os.listdir(f"/proc/{os.getppid()}/fd")
    except OSError as e:
        why = "where that is preforkd, paths lead through /proc/self/fd, and what a worker spawns needs the descriptor"
        return _warning(f"{text}: {e.strerror}; {why}")
    return _ok(f"{text} can be opened")


def _reaching() -> Finding:
    """Whether a descriptor of a child can be duplicated: what preforkd does with its workers' (docs/reload.md)."""
    import errno

    what = "pidfd_getfd on a child"
    try:
        _duplicate_of_child()
    except OSError as e:
        scope = _read("/proc/sys/kernel/yama/ptrace_scope").strip()
        if e.errno == errno.ENOSYS:
            todo = "it needs Linux 5.6 and no seccomp profile against it"
        elif scope == "3":
            todo = "kernel.yama.ptrace_scope is 3, which only a boot of the host takes back"
        elif scope == "2" and not _capable(_CAP_SYS_PTRACE):
            todo = "give preforkd CAP_SYS_PTRACE, or set kernel.yama.ptrace_scope to 1"
        else:
            todo = "Docker: --cap-add SYS_PTRACE; elsewhere a seccomp profile that allows it"
        return _warning(
            f"{what}: {e.strerror or e}; event loops (uvicorn) may then drop connections when they are replaced, "
            f"and --ready auto sees less: {todo}"
        )
    return _ok(f"{what}: workers with an event loop are replaced without loss, --ready auto sees what they accept")


def _duplicate_of_child() -> None:
    """Take the standard input of a process that waits for it; OSError where that is refused."""
    import ctypes
    import subprocess

    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *words: int) -> int:
        fd = int(libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, words)))
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return fd

    # A program, not a bare fork: this process may have threads.
    command = [sys.executable, "-ISc", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:  # noqa: S603 (our own interpreter)
        pidfd = call(_SYS_PIDFD_OPEN, child.pid, 0)
        try:
            fd = call(_SYS_PIDFD_GETFD, pidfd, 0, 0)
        finally:
            os.close(pidfd)
        try:
            # Both ends of a pipe have one inode.
            if child.stdin is None or not os.path.sameopenfile(fd, child.stdin.fileno()):
                raise OSError("it is another file")
        finally:
            os.close(fd)


def _users() -> Finding:
    """What this uid means for --user."""
    if not (_capable(_CAP_SETUID) and _capable(_CAP_SETGID)):
        return _ok(f"workers are of this user (uid {os.geteuid()}): --user is not to be had without root")
    if _capable(_CAP_SYS_PTRACE):
        return _ok("workers may be of another user (--user)")
    return _warning(
        "workers may be of another user (--user), but then preforkd may not reach into them as it may into its own: "
        "give it CAP_SYS_PTRACE (Docker: --cap-add SYS_PTRACE)"
    )


def _capable(capability: int) -> bool:
    """Whether this process has a capability; False where /proc does not say."""
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)", _read("/proc/self/status"), re.MULTILINE)
    return effective is not None and bool(int(effective[1], 16) >> capability & 1)


def _limits() -> list[Finding]:
    found = []
    if _read("/proc/sys/vm/overcommit_memory").strip() == "2":
        found.append(
            _warning(
                "vm.overcommit_memory=2: mode='c' and tensor() are charged in full in each worker, mode='r' is not"
            )
        )
    else:
        found.append(_ok("memory may be overcommitted: mode='c' costs what is written"))
    limit, used, where = _cgroup()
    if limit is None:
        found.append(_ok("no memory limit by a cgroup"))
    else:
        what = f"memory limit {size(limit)}, {size(used)} in use ({where})"
        found.append(_ok(f"{what}: the data must fit, while it is reloaded the old and the new version"))
    import resource

    lock = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    amount = "unlimited" if lock == resource.RLIM_INFINITY else size(lock)
    found.append(_ok(f"RLIMIT_MEMLOCK {amount}: what --lock-memory may keep in RAM without CAP_IPC_LOCK"))
    found.append(_ok("the size of /dev/shm does not matter: data is not in it"))
    return found


def _cgroup() -> tuple[int | None, int, str]:
    """The tightest memory limit of this process and what is used of it; None: there is none."""
    best: tuple[int | None, int, str] = (None, 0, "")
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = "/sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root, names = "/sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        while True:  # up to the root; in a container the path may be one of the host, and only the root be there
            limit, used = (_read(os.path.join(root, path.strip("/"), name)).strip() for name in names)
            # "max", or in version 1 a number that no machine has
            if (
                limit.isdigit()
                and used.isdigit()
                and int(limit) < 1 << 60
                and (best[0] is None or int(limit) < best[0])
            ):
                best = (int(limit), int(used), f"cgroup {path}")
            if path in ("", "/"):
                break
            path = os.path.dirname(path)
    return best


def _python() -> Finding:
    from importlib import metadata

    from . import __version__

    there = []
    for name in _LIBRARIES:
        try:
            there.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    text = f"Python {platform.python_version()} ({sys.executable}), preforkd {__version__}"
    return _ok(", ".join([text, *there]))


def _binary() -> list[Finding]:
    import shutil

    path = shutil.which("preforkd")
    if path is not None:
        return [_ok(f"the program: {path}")]
    if _contract.worker_id() is not None:
        return []
    return [_warning("no program preforkd in PATH: this package finds its data only in workers that it starts")]


def _datasets() -> list[Finding]:
    try:
        entries = _contract.entries()
    except Error as e:
        return [_problem(str(e))]
    if not entries:
        return [_ok("not a worker of preforkd: no datasets to check")]
    return [_dataset(name) for name in entries]


def _dataset(name: str) -> Finding:
    from . import _dataset as datasets

    entry = _contract.entries()[name]
    try:
        dataset = datasets.current(name)
        path = datasets.path(name)
        if entry.direct:
            return _ok(f"dataset {name}: {path}, opened directly")
        if entry.size:
            dataset.buffer()[0]
    except (Error, OSError) as e:
        return _problem(f"dataset {name}: {e}")
    huge = mapped_huge(dataset.fd) if dataset.fd is not None else 0
    what = f"version {dataset.version}, {dataset.format}, {size(dataset.size)}, sealed"
    return _ok(f"dataset {name}: {what}, mapped by {'huge' if huge else 'small'} pages, {path}")
