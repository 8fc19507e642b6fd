# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""What the tests share: sealed memfds as preforkd makes them, a process that was told of them, and a real preforkd."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from preforkd import _contract, _dataset, _sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCE = str(Path(__file__).parents[1] / "src")
PATIENCE = 60.0  # seconds that a test waits for what must come
SEALS = 0x1 | 0x2 | 0x4 | 0x8  # SEAL, SHRINK, GROW, WRITE


def until(fact: Callable[[], Any], what: str) -> Any:
    """Poll for a fact that must come true."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = fact()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.01)


def maps(word: str) -> list[str]:
    """The lines of this process's maps that have the word."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if word in line]


class Segments:
    """Sealed memfds, read-only descriptors of them, and the variables that tell of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.fds: list[int] = []
        self.told: dict[str, dict[str, Any]] = {}

    def memfd(self, content: bytes, name: str = "emb", *, seal: bool = True) -> int:
        """A memfd with this content, open for reading only."""
        if not hasattr(os, "memfd_create"):
            pytest.skip("needs memfd_create")
        writer = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(writer, "wb") as file:
            file.write(content)
            file.flush()
            if seal:
                fcntl.fcntl(writer, 1033, SEALS)
            self.fds.append(os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC))
        return self.fds[-1]

    def entry(self, content: bytes, name: str = "emb", **fields: Any) -> dict[str, Any]:
        """What PREFORKD_DATA would say of a segment with this content."""
        fd = fields.pop("fd", None)
        fd = self.memfd(content, name) if fd is None else fd
        told = {"fd": fd, "path": f"/proc/{os.getpid()}/fd/{fd}", "size": len(content), "version": 1, "sha256": None}
        if not fields.get("direct"):
            told["ino"] = os.fstat(fd).st_ino
        return {**told, "format": "raw", "offset": 0, **fields}

    def give(self, content: bytes, name: str = "emb", **fields: Any) -> dict[str, Any]:
        """Make this process a worker that was given such a dataset."""
        self.told[name] = self.entry(content, name, **fields)
        self.monkeypatch.setenv("PREFORKD_DATA", json.dumps(self.told))
        self.monkeypatch.setenv("PREFORKD_DATA_EMB", self.told[name]["path"])
        return self.told[name]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test is a process that has not used the package yet, outside preforkd."""
    for key in list(os.environ):
        if key.startswith(("PREFORKD_DATA", "LISTEN_")) or key in ("NOTIFY_SOCKET", "PREFORKD_WORKER_ID"):
            monkeypatch.delenv(key)
    _dataset._process.__init__()  # type: ignore[misc]
    _contract._Told.text, _contract._Told.entries = None, {}
    yield
    _dataset._process.__init__()  # type: ignore[misc]
    while _sockets._Bound.sockets:
        _sockets._Bound.sockets.popitem()[1].close()


@pytest.fixture
def segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[Segments]:
    made = Segments(monkeypatch)
    yield made
    for fd in made.fds:
        with contextlib.suppress(OSError):  # the test has closed it
            os.close(fd)


def run(code: str, **options: Any) -> str:
    """What a new interpreter prints that runs this code with the package."""
    env = {**os.environ, "PYTHONPATH": SOURCE, **options.pop("env", {})}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=PATIENCE, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Fleet:
    """A real preforkd, whose workers run Python code. `tell(x)` there is a line of `told()` here."""

    PROLOGUE = """
import hashlib, json, os, signal, subprocess, sys, threading
import preforkd
def read(name="emb"):
    content = preforkd.buffer(name)
    with open(preforkd.path(name), "rb") as file:
        assert file.read() == content
    return [hashlib.sha256(content).hexdigest(), preforkd.data(name).version]
def tell(value):
    sys.stdout.write("TOLD" + json.dumps(value) + "\\n")
    sys.stdout.flush()
def wait():
    signal.pause()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if __name__ == "__main__":
"""

    def __init__(self, binary: str, folder: Path) -> None:
        self.binary, self.folder = binary, folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, flags: list[str], code: str, python: str = sys.executable, workers: int = 1) -> None:
        """Start it; code runs in each worker, as the main module of a file (so that it can be spawned)."""
        self.folder.chmod(0o755)
        script = self.folder / "worker.py"
        script.write_text(self.PROLOGUE + "".join(f"    {line}\n" for line in code.splitlines()))
        own = ["run", "-w", str(workers), "--stats", "off", "--name", f"pytest-{os.getpid()}"]
        if "--run-dir" not in flags:
            own += ["--run-dir", str(self.folder / "run")]
        command = [self.binary, *own, *flags, "--", python, str(script)]
        self.log = self.folder / "log"
        env = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=subprocess.STDOUT)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def told(self, count: int = 1) -> list[Any]:
        """What the workers have told, once it is `count` lines."""
        assert self.process is not None

        def lines() -> list[str]:
            text = self.output()
            assert self.process.poll() is None, f"preforkd ended:\n{text}"
            assert "Traceback" not in text, text
            return [part.partition("\n")[0] for part in text.split("TOLD")[1:] if "\n" in part]

        until(lambda: len(lines()) >= count, f"{count} lines of the workers:\n{self.output()}")
        return [json.loads(line) for line in lines()]

    def stats(self) -> dict[str, Any]:
        """/stats, by the control socket."""
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.folder / "run" / "control.sock"))
        connection.request("GET", "/stats")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return found

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    repository = Path(__file__).parents[3] / "bin" / "preforkd"
    binary = os.environ.get("PREFORKD_TEST_BIN") or (
        str(repository) if repository.exists() else shutil.which("preforkd")
    )
    if binary is None or sys.platform != "linux":
        pytest.skip("needs preforkd: make build, or PREFORKD_TEST_BIN=…")
    made = Fleet(binary, tmp_path)
    yield made
    made.stop()


@pytest.fixture
def executable(tmp_path: Path) -> Callable[[str], str]:
    """Finds an interpreter that another user may run, with the package."""

    def find(user: str) -> str:
        if os.geteuid() != 0:
            pytest.skip("needs root, to start workers of another user")
        for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
            options = {"user": user, "group": "nogroup", "env": {"PYTHONPATH": SOURCE}, "cwd": "/"}
            code = "import sys, preforkd; sys.exit(sys.version_info < (3, 9))"
            try:
                if subprocess.run([python, "-c", code], capture_output=True, **options).returncode == 0:
                    return python
            except (OSError, LookupError):
                continue
        pytest.skip(f"needs a python3 and a checkout that the user {user} may read")

    return find
