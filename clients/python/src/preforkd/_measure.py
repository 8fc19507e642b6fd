# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Measures what a worker that loads a packed file has private: in a fresh process that maps it and loads it."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import mmap
import os
import re
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _inband

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SMALL = 0.01  # of all that is private: smaller parts are told in one
_REST = 0.02  # of all: what no name was found for is told from here on
_FREE = re.compile(rb"^(?:# bytes in available blocks +=|[\d,]+ unused pools \* \d+ bytes +=) +([\d,]+)$", re.MULTILINE)


class Measured(NamedTuple):
    """What one process that loads a file has private by it, in bytes."""

    private: int | None  # None: this system does not tell
    parts: list[_inband.Part]
    error: str  # why it could not be loaded, or ""
    shared: int | None = None  # bytes of the file that it uses as they lie there


def measure(path: str, form: str) -> Measured:
    """Load the file in a process of its own. form: pk5 or arrow. Takes as long, and as much memory, as two loads."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    command = [sys.executable, "-c", "from preforkd._measure import child; child()", path, form]
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603
    except OSError:  # an interpreter within another program has no executable
        return Measured(None, [], "")
    try:
        told = json.loads(done.stdout)
    except ValueError:
        words = done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with code {done.returncode}"]
        return Measured(None, [], words[-1])
    parts = [_inband.Part(*p) for p in told.get("parts", [])]
    return Measured(told.get("private"), parts, told.get("error", ""), told.get("shared"))


def read(content: memoryview, form: str) -> object:
    """Load the content as a worker does."""
    if form == "pk5":
        from . import pk5

        return pk5.load(content)
    from . import _arrow

    return _arrow.to_object(content, form == "arrow-stream")


def child() -> None:
    """The fresh process: it writes what it finds to its standard output, as JSON."""
    out = os.dup(1)
    os.dup2(2, 1)  # what modules print while they are imported goes elsewhere
    path, form = sys.argv[1:]
    told: dict[str, Any] = {}
    with open(path, "rb") as file, os.fdopen(out, "w") as answer:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        imports = _elsewhere(lambda: _imported_by(content, form))
        if "error" in imports:
            told["error"] = imports["error"]
        else:
            # A worker imports these too: what they take for themselves is not the data's.
            for name in imports["modules"]:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
            if "pyarrow" in sys.modules:  # its pool takes some 4 MB at its first use
                sys.modules["pyarrow"].array([1])
            before, free = rss_anon(), _free()
            obj = read(content, form)
            after, free = rss_anon(), _free() - free
            trim()
            free += max((after or 0) - (rss_anon() or 0), 0)
            if before is not None and after is not None:
                told["private"] = private = max(after - before, 0)
                gc.disable()  # the walk makes millions of objects, and none to collect
                parts, told["shared"] = _inband.parts(obj, _inband.ranges(file.fileno()), private * _SMALL)
                told["parts"] = [*parts, *_rest(private, parts, free)]
        json.dump(told, answer)
        answer.flush()
        os._exit(0)  # what a library does at its end is of no interest


def _rest(private: int, parts: list[_inband.Part], free: int) -> Iterator[_inband.Part]:
    """What of the private memory is none of the parts."""
    rest = private - sum(part.bytes for part in parts)
    free = min(free, rest)
    if free > private * _REST:
        yield _inband.Part("what loading used and left free, for Python's next objects", "", free, "")
        rest -= free
    if rest > private * _REST:
        yield _inband.Part("what has no name: of libraries in C, of the allocator", "", rest, "")


def _free() -> int:
    """What Python's own allocator has free and cannot give back, since objects lie between; 0 where nobody tells."""
    with contextlib.suppress(AttributeError, OSError), tempfile.TemporaryFile() as file:  # only CPython has it
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        file.seek(0)
        return sum(int(found.replace(b",", b"")) for found in _FREE.findall(file.read()))
    return 0


def _imported_by(content: memoryview, form: str) -> dict[str, Any]:
    read(content, form)
    return {"modules": list(sys.modules)}


def _elsewhere(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What call returns, run in a copy of this process that then ends."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            told = call()
        except Exception as e:  # noqa: BLE001  (whatever unpickling raises)
            told = {"error": f"{type(e).__name__}: {e}"}
        with os.fdopen(there, "w") as answer:
            json.dump(told, answer)
        os._exit(0)
    os.close(there)
    with os.fdopen(here) as answer:
        text = answer.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(text) if text else {"error": f"the process that loaded it ended with status {status}"}


def rss_anon() -> int | None:
    """The private memory of this process in bytes; None where nobody tells."""
    gc.collect()
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next((int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:")), None)
    except OSError:
        return None


def trim() -> None:
    """Give back what the allocator holds free, where it is glibc's."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
