# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors of torch can be written, without a warning and without a crash, and nobody else sees it."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import preforkd

from .conftest import PATIENCE
from .test_arrays import SHAPES, fields, npy, safetensors

torch = pytest.importorskip("torch", reason="needs torch (Debian: python3-torch)")
np = pytest.importorskip("numpy")

if TYPE_CHECKING:
    from .conftest import Segments


@pytest.mark.parametrize("name", ["matrix", "fortran", "scalar", "empty", "bool", "large"])
def test_npy(segments: Segments, name: str) -> None:
    want = SHAPES[name].astype("<i4") if name == "scalar" else SHAPES[name]
    content = npy(want)
    segments.give(content, **fields(want, content))
    tensor = preforkd.tensor("emb")
    assert tuple(tensor.shape) == want.shape
    assert np.array_equal(tensor.numpy(), want)
    tensor.fill_(1)
    assert np.array_equal(preforkd.array("emb"), want)


def test_safetensors_with_bf16(segments: Segments) -> None:
    ones = ("F32", [1, 2], b"\0\0\x80\x3f" * 2)
    content, members = safetensors({"half": ("BF16", [2], b"\x80\x3f\x00\x40"), "f": ones})
    segments.give(content, "model", format="safetensors", members=members)
    half = preforkd.tensor("model.half")
    assert half.dtype == torch.bfloat16
    assert half.tolist() == [1.0, 2.0]
    half.add_(1)
    assert preforkd.tensor("model.half").tolist() == [2.0, 3.0]
    assert preforkd.data("model").tensor("f").tolist() == [[1.0, 1.0]]


def test_raw(segments: Segments) -> None:
    segments.give(np.arange(6, dtype="<f4").tobytes())
    assert preforkd.tensor("emb", dtype=torch.float32, shape=(2, -1)).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert preforkd.tensor("emb", dtype="<f4").shape == (6,)
    assert preforkd.tensor("emb", dtype=torch.bfloat16)[:4].tolist() == [0, 0, 0, 1]


def test_what_torch_has_no_type_for(segments: Segments) -> None:
    for name in ("big-endian", "structured"):
        content = npy(SHAPES[name])
        segments.give(content, name, **fields(SHAPES[name], content))
        with pytest.raises(preforkd.Error, match=f"^cannot make a tensor of '{name}'"):
            preforkd.tensor(name)


# docs/troubleshooting.md, which test/python_messages_test.go holds to these words.
WARNING = "UserWarning: The given NumPy array is not writable"
AWAY_FROM_THE_PACKAGE = """
import sys, numpy, torch
tensor = torch.from_numpy(numpy.load(sys.argv[1], mmap_mode=sys.argv[2]))
tensor.fill_(1)
print(int(tensor.sum()))
"""


@pytest.mark.parametrize(("mode", "code", "printed"), [("r", -signal.SIGSEGV, ""), ("c", 0, "12")])
def test_what_the_page_says_of_torch_over_numpy(segments: Segments, mode: str, code: int, printed: str) -> None:
    content = npy(np.zeros((3, 4), "<f4"))
    path = segments.give(content)["path"]
    command = [sys.executable, "-c", AWAY_FROM_THE_PACKAGE, path, mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout.strip()) == (code, printed), done.stderr
    assert (WARNING in done.stderr) == (mode == "r"), done.stderr
