# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""numpy's own reading of a file, timed by the process that does it (a Helper of kit.py)."""

import json
import sys
import time

import numpy

for line in sys.stdin:
    order = json.loads(line)
    began = time.perf_counter()
    array = numpy.fromfile(order["path"], dtype=numpy.float32)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "bytes": array.nbytes}), flush=True)
    del array  # given back before the next method's turn
