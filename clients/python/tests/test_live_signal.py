# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""on_new_version in a signal handler: it never waits for the code that the signal has interrupted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .conftest import PATIENCE, SOURCE
from .offers import serving

HANDLER = """
import signal
import preforkd
from preforkd import _live

seen = []
def handler(*_):
    try:
        seen.append(preforkd.on_new_version("users", print))
    except preforkd.Error as e:
        seen.append(str(e))
signal.signal(signal.SIGUSR1, handler)

real = _live.socket.send_fds
def interrupted(*args):
    if WHEN == "during" and not seen:
        signal.raise_signal(signal.SIGUSR1)
    return real(*args)
_live.socket.send_fds = interrupted
assert preforkd.on_new_version("emb")
if WHEN == "after":
    signal.raise_signal(signal.SIGUSR1)
print(seen[0], sorted(_live._process.names), len(_live._process.callbacks), sep="|")
"""


@pytest.mark.parametrize(
    ("when", "told", "names"),
    [
        ("during", "cannot register 'users': a signal handler has interrupted another registration", ["emb"]),
        ("after", "True", ["emb", "users"]),
    ],
)
def test_a_signal_handler_may_register_unless_it_interrupts_a_registration(
    when: str, told: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(["emb", "users"], monkeypatch) as server:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", f"WHEN = {when!r}\n{HANDLER}"],
            env={**os.environ, "PYTHONPATH": SOURCE}, stdout=subprocess.PIPE, text=True,
            pass_fds=list(server.numbers.values()),
        )  # fmt: skip
        try:
            answer, registered, callbacks = process.communicate(timeout=PATIENCE)[0].strip().split("|")
        finally:
            process.kill()
            process.wait()
        assert answer.startswith(told)
        assert (registered, callbacks) == (str(names), str(len(names) - 1))
        assert server.registered() == ["emb"]
        if when == "after":
            assert server.registered() == names
