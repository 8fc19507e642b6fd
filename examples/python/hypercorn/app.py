# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A row of the dataset emb for each request: an ASGI application, as hypercorn runs it."""

import json
from urllib.parse import parse_qs

import preforkd

emb = preforkd.array("emb", default="emb.npy")  # outside preforkd: the file, so that the same code runs alone


async def app(scope, receive, send):
    if scope["type"] != "http":  # lifespan: nothing to begin or end
        return
    row = int(parse_qs(scope["query_string"].decode()).get("row", ["0"])[0])
    body = json.dumps(
        {
            "worker": preforkd.worker_id(),
            "version": preforkd.data("emb", default="emb.npy").version,
            "rows": len(emb),
            "row": row,
            "sum": float(emb[row].sum()),
        }
    ).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
