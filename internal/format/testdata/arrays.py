# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Writes arrays of many kinds with numpy and prints for each: file, shape (or "object"), order."""

import os
import sys
import warnings

import numpy as np

os.chdir(sys.argv[1])
warnings.simplefilter("ignore")  # numpy tells that it chose a later version of the format

nested = np.dtype([("a", "<f4"), ("b", [("x", "<i2"), ("y", "S3")], (2,)), ("c", "U4")], align=True)
titled = np.dtype([(("a title", "a"), "<f8"), ("O", "<i4", (2, 3))])
arrays = {
    "f4": np.zeros((3, 4), "<f4"),
    "fortran": np.asfortranarray(np.zeros((3, 4), "<f8")),
    "big-endian": np.zeros(5, ">i4"),
    "scalar": np.array(7),
    "empty": np.zeros((0, 128), "<f4"),
    "unicode": np.array(["häuser", "maus"]),
    "bytes": np.array([b"abc", b"d"]),
    "no-bytes": np.zeros(3, "S0"),
    "time": np.zeros(3, "<M8[ns]"),
    "span": np.zeros((2, 2), "<m8[25us]"),
    "void": np.zeros(3, "V7"),
    "bool": np.zeros((2, 2), bool),
    "half": np.zeros(3, "f2"),
    "long": np.zeros(3, np.longdouble),
    "clong": np.zeros(3, np.clongdouble),
    "nested": np.zeros(4, nested),
    "titled": np.zeros((2, 2), titled),
    "unicode-name": np.zeros(3, [("größe 日本", "<f4"), ("it's \"q\"", "u1")]),
    "many-fields": np.zeros(2, [(f"field{i:04}", "<f4") for i in range(2500)]),
    "deep": np.zeros((1,) * 30, "u1"),
    "object": np.array([{}, None], dtype=object),
    "object-field": np.zeros(2, [("a", "<f4"), ("b", "O")]),
}
for name, array in arrays.items():
    np.save(name + ".npy", array, allow_pickle=True)
    shape = "object" if array.dtype.hasobject else str(array.shape)
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    print(name + ".npy", shape, order, sep="\t")
