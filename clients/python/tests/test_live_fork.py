# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""on_new_version and os.fork: at any time, and in the child itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from .conftest import PATIENCE, SOURCE
from .offers import Preforkd, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Preforkd]:
    with serving(["emb", "users"], monkeypatch) as server:
        yield server


FORKS = """
import json, os, sys, threading
import preforkd
from preforkd import _live

preforkd.on_new_version("*", lambda new: new.buffer())
number = json.loads(os.environ["PREFORKD_DATA"])["emb"]["fd"]
preforkd.buffer("emb")

def child():
    # What a child has is of one version, whenever it was forked: the array, the descriptor, the variables.
    told = json.loads(os.environ["PREFORKD_DATA"])["emb"]["version"]
    seen = {preforkd.buffer("emb")[0], preforkd.data("emb").version % 256, os.pread(number, 1, 0)[0], told % 256}
    links = [os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd")
             if os.path.lexists("/proc/self/fd/" + fd)]
    sockets = sum(link.startswith("socket:") for link in links)
    files = sum(link.startswith("/memfd:emb") for link in links)  # the contract's, and that of the package
    p = _live._process
    clean = p.socket is None and p.names == set() and not p.steady._is_owned()
    if len(seen) == 1 and clean and (sockets, files) == (0, 2):
        os._exit(0)
    print(seen, sockets, files, clean, file=sys.stderr, flush=True)
    os._exit(1)

bad = forks = 0
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        child()
    bad += os.waitpid(pid, 0)[1] != 0
    forks += 1
    print(forks, bad, preforkd.data("emb").version, flush=True)
"""


def test_a_child_forked_at_any_time_has_one_version_and_no_registration(server: Preforkd) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKS], env={**os.environ, "PYTHONPATH": SOURCE},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=list(server.numbers.values()), text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    server.registered()
    done = threading.Event()

    def reload() -> None:
        version = 2
        while not done.is_set():
            assert server.offer(["emb"], version) == {"taken": True}
            version += 1

    reloads = threading.Thread(target=reload)
    reloads.start()
    try:
        for _ in range(200):
            process.stdin.write("fork\n")
            process.stdin.flush()
            forks, bad, version = process.stdout.readline().split()
    finally:
        done.set()
        reloads.join(PATIENCE)
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        process.stdout.close()
    assert (forks, bad) == ("200", "0")
    assert int(version) > 2, "there was no reload between the forks"


CHILD = """
import os
import preforkd

assert preforkd.on_new_version("emb")
pid = os.fork()
if pid == 0:
    taken = []
    assert preforkd.on_new_version("users", taken.append)
    while not taken:
        pass
    os._exit(preforkd.buffer("users")[0])
print(os.WEXITSTATUS(os.waitpid(pid, 0)[1]), preforkd.data("users").version)
"""


def test_a_forked_child_may_register_itself(server: Preforkd) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD], env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE, pass_fds=list(server.numbers.values()), text=True,
    )  # fmt: skip
    assert server.registered() == ["emb"]
    parent, server.channel = server.channel, None
    assert server.registered() == ["users"]
    server.send(["users"], 5)
    assert process.communicate(timeout=PATIENCE)[0].split() == ["5", "1"]
    assert parent is not None
    parent.close()


CALLBACK = """
import os, sys
import preforkd

def build(new):
    pid = os.fork()
    if pid == 0:
        os._exit(new.buffer()[0])
    print(os.WEXITSTATUS(os.waitpid(pid, 0)[1]), flush=True)

preforkd.on_new_version("emb", build)
sys.stdin.read()
"""


def test_a_callback_may_fork_children_that_use_what_it_was_given(server: Preforkd) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CALLBACK], env={**os.environ, "PYTHONPATH": SOURCE},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=list(server.numbers.values()), text=True,
    )  # fmt: skip
    server.registered()
    assert server.offer(["emb"], 2) == {"taken": True}
    assert server.offer(["emb"], 3) == {"taken": True}
    assert process.communicate("", timeout=PATIENCE)[0].split() == ["2", "3"]


NESTED = """
import os, signal
import preforkd

def handler(*_):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
signal.signal(signal.SIGUSR1, handler)
def interrupted():
    if os.getpid() == main and not seen:
        seen.append(1)
        signal.raise_signal(signal.SIGUSR1)
main, seen = os.getpid(), []
os.register_at_fork(before=interrupted)  # the last one that runs before the fork: what the package holds is held
preforkd.on_new_version("emb")
if os.fork() == 0:
    os._exit(0)
print(os.WEXITSTATUS(os.wait()[1]), len(seen), flush=True)
"""


def test_a_signal_handler_may_fork_in_the_middle_of_a_fork(server: Preforkd) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", NESTED], env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE, pass_fds=list(server.numbers.values()), text=True,
    )  # fmt: skip
    try:
        assert process.communicate(timeout=15)[0].split() == ["0", "1"]
    finally:
        process.kill()
        process.wait()
