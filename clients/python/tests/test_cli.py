# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""python -m preforkd, run as people run it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import preforkd

from .conftest import SOURCE

if TYPE_CHECKING:
    from pathlib import Path

numpy = pytest.importorskip("numpy")


def run(where: Path, *words: str, code: int = 0) -> str:
    env = {**os.environ, "PYTHONPATH": SOURCE}
    command = [sys.executable, "-m", "preforkd", *words]
    done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_pickle_is_packed_and_what_stays_private_told(tmp_path: Path) -> None:
    made = {"a": numpy.zeros(1_000_000), "ts": numpy.arange(1_000_000).astype("M8[s]")}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(made))
    text = run(tmp_path, "pack", "x.pkl", "x.pk5")
    assert "private: ['ts'] (datetime64[s] array): 8.0 MB per worker; converting shares it" in text
    text = run(tmp_path, "pack", "x.pkl", "x.pk5", "--convert")
    assert "next to nothing" in text
    assert "shared as int64" in text
    run(tmp_path, "pack", "x.pkl", "one.pk5", "--name", "a")
    got: Any = preforkd.load("x", default=tmp_path / "one.pk5")
    assert got.shape == (1_000_000,)
    assert "cannot find 'b'" in run(tmp_path, "pack", "x.pkl", "one.pk5", "--name", "b", code=1)


def test_an_object_of_a_module_is_packed(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "class Model:\n    def __call__(self): raise SystemExit(9)\n"
        "class Shelf:\n    model = Model()\n"
        "def make(): return [1, 2, 3]\n"
    )
    run(tmp_path, "pack", "shop:make", "x.pk5")
    assert preforkd.load("x", default=tmp_path / "x.pk5") == [1, 2, 3]
    run(tmp_path, "pack", "shop:Shelf.model", "model.pk5")
    assert "cannot find 'other'" in run(tmp_path, "pack", "shop:other", "x.pk5", code=1)
    assert "No module named 'nowhere'" in run(tmp_path, "pack", "nowhere:x", "x.pk5", code=1)


def test_arrays_and_tables_are_packed(tmp_path: Path) -> None:
    numpy.save(tmp_path / "a.npy", numpy.arange(10))
    numpy.savez(tmp_path / "a.npz", x=numpy.arange(10), y=numpy.arange(3))
    run(tmp_path, "pack", "a.npy", "n.pk5")
    run(tmp_path, "pack", "a.npz", "z.pk5")
    n: Any = preforkd.load("n", default=tmp_path / "n.pk5")
    z: Any = preforkd.load("z", default=tmp_path / "z.pk5")
    assert n.tolist() == list(range(10))
    assert z["y"].tolist() == [0, 1, 2]
    pytest.importorskip("pyarrow")
    (tmp_path / "a.csv").write_text("id,word\n1,a\n2,b\n")
    run(tmp_path, "pack", "a.csv", "c.arrow")
    c: Any = preforkd.load("c", default=tmp_path / "c.arrow")
    assert [str(word) for word in c["word"]] == ["a", "b"]


def test_what_cannot_be_packed_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1]))
    assert "must end in .pk5 or .arrow" in run(tmp_path, "pack", "x.pkl", "x.bin", code=1)
    assert "cannot write a list as Arrow" in run(tmp_path, "pack", "x.pkl", "x.arrow", code=1)
    assert "cannot tell what 'x.pdf' is" in run(tmp_path, "pack", "x.pdf", "x.pk5", code=1)
    assert "No such file" in run(tmp_path, "pack", "no.pkl", "x.pk5", code=1)
    assert sorted(os.listdir(tmp_path)) == ["x.pkl"]


def test_inspect_and_doctor(tmp_path: Path) -> None:
    numpy.save(tmp_path / "a.npy", numpy.arange(10))
    text = run(tmp_path, "inspect", "a.npy", "no.npy", code=1)
    assert "a.npy: npy" in text
    assert "no.npy: " in text
    if sys.platform == "linux":
        assert "memfd_create" in run(tmp_path, "doctor")


def test_usage(tmp_path: Path) -> None:
    assert "usage" in run(tmp_path, code=2)
    assert "usage" in run(tmp_path, "pack", "x.pkl", code=2)
    assert "unpickled" in " ".join(run(tmp_path, "pack", "--help").split())
    assert preforkd.__version__ in run(tmp_path, "--version")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["pack", "model.pkl", "x.pk5"], "put it into a module"),
        (["pack", "text.pkl", "x.pk5"], "cannot read text.pkl: UnpicklingError"),
        (["pack", "empty.pkl", "x.pk5"], "cannot read empty.pkl: EOFError"),
        (["pack", "shop:bad", "x.pk5"], "cannot read shop:bad: ValueError: sold out"),
        (["pack", "shop:lock", "x.pk5"], "cannot write x.pk5: TypeError"),
        (["pack", "shop:good", "nowhere/x.pk5"], "cannot write nowhere/x.pk5: there is no directory nowhere"),
        (["inspect", "text.pkl"], "damaged pickle"),
        (["inspect", "fifo"], "no regular file"),
        (["pack", "fifo.pkl", "x.pk5"], "cannot read fifo.pkl: it is a pipe"),
        (["pack", "folder.pkl", "x.pk5"], "Is a directory: 'folder.pkl'"),
        (["pack", "no.parquet", "x.pk5"], "No such file or directory: 'no.parquet'"),
        (["pack", "shop:leave", "x.pk5"], "cannot read shop:leave: SystemExit: closed"),
        (["pack", "sys:exit", "x.pk5"], "cannot read sys:exit: SystemExit"),
        (["pack", "shop:odd", "x.pk5", "--name", "k"], "cannot find 'k' in shop:odd: its type is Odd"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04\x8c\x08__main__\x8c\x05Model\x93.")
    (tmp_path / "text.pkl").write_text("hello")
    (tmp_path / "empty.pkl").write_bytes(b"")
    (tmp_path / "shop.py").write_text(
        "import threading\ngood, lock = [1], threading.Lock()\ndef bad(): raise ValueError('sold out')\n"
        "def leave(): raise SystemExit('closed')\n"
        "class Odd:\n    def __getattr__(self, _): raise ZeroDivisionError\nodd = Odd()\n"
    )
    os.mkfifo(tmp_path / "fifo")
    os.mkfifo(tmp_path / "fifo.pkl")
    (tmp_path / "folder.pkl").mkdir()
    text = run(tmp_path, *words, code=1)
    assert told in text
    assert text.count("\n") == 1
    assert "cannot " in text
    assert not (tmp_path / "x.pk5").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("verb", [["doctor"], ["inspect", "a.npy"]])
def test_what_cannot_be_printed_is_one_line(tmp_path: Path, verb: list[str]) -> None:
    numpy.save(tmp_path / "a.npy", numpy.arange(10))
    env = {**os.environ, "PYTHONPATH": SOURCE}
    env.pop("PYTHONUNBUFFERED", None)
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "preforkd", *verb]
        done = subprocess.run(command, cwd=tmp_path, env=env, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, f"cannot {verb[0]}: [Errno 28] No space left on device\n")


def test_an_interrupt_is_one_line_and_ends_it_as_the_signal_does(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("import signal\ndef make(): signal.raise_signal(signal.SIGINT)\n")
    assert run(tmp_path, "pack", "shop:make", "x.pk5", code=-signal.SIGINT) == "cannot pack: interrupted\n"


def test_the_advice_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert "python -m preforkd pack t.csv OUT.arrow" in run(tmp_path, "inspect", "t.csv")
