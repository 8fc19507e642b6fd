# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""New versions in place with an event loop, and with something that is made of the data: here the length of each row.

    preforkd -w 4 -d emb=emb.npy --watch -l :8000 -- uvicorn --fd {fd:http} in_place_asgi:app
    curl http://127.0.0.1:8000/3

Callbacks run on a thread of the package. What only the loop's thread may touch is changed there: the callback does the
work, and loop.call_soon_threadsafe has the loop put the result in place. A step that may fail belongs in the callback.
"""

import asyncio
import json
import os

import numpy as np
import preforkd


class Index:
    """What the service works with: one version, and what was made of it. A request takes `current` once."""

    current = None

    def __init__(self, dataset):
        self.version = dataset.version
        self.rows = dataset.array()
        self.lengths = np.linalg.norm(self.rows, axis=1)  # private: each worker has its own


def start():
    loop = asyncio.get_running_loop()

    def put(index):
        Index.current = index

    def new_version(dataset):
        index = Index(dataset)  # what fails here refuses the version
        loop.call_soon_threadsafe(put, index)

    preforkd.on_new_version("emb", new_version)
    put(Index(preforkd.data("emb", default="emb.npy")))


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    index, row = Index.current, int(scope["path"][1:] or 0)
    answer = {
        "pid": os.getpid(),
        "version": index.version,
        "row": index.rows[row].tolist(),
        "length": float(index.lengths[row]),
    }
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode() + b"\n"})
