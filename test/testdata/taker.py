# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""As versions.py, upon the package: a random row of the array emb for each request, as "PID ANSWERS VERSION ROW VALUE".

TAKES names the workers that take new versions in place. While the working directory has a file "refuse" they refuse them,
with "hang" they do not answer as long as it is there.
"""

import os
import random
import time

import preforkd

import stdlib

answers = 0


def check(new):
    while os.path.exists("hang"):
        time.sleep(0.01)
    if os.path.exists("refuse"):
        raise ValueError("these are not my columns")
    emb = new.array()
    for row in 0, len(emb) - 1:  # whole from the first to the last
        if emb[row, 0] >> 32 != new.version or emb[row, 0] & 0xFFFFFFFF != row:
            raise ValueError(f"row {row} of version {new.version} holds {emb[row, 0]}")


class Handler(stdlib.Handler):
    def do_GET(self):
        global answers
        emb = preforkd.data("emb")
        array = emb.array()
        row = random.randrange(len(array))
        answers += 1
        self.body = f"{os.getpid()} {answers} {emb.version} {row} {array[row, 0]}".encode()
        super().do_GET()


if __name__ == "__main__":
    if str(preforkd.worker_id()) in os.environ["TAKES"].split():
        preforkd.on_new_version("emb", check)
    stdlib.serve(Handler)
