# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A row of the dataset emb for each request: a WSGI application, as gunicorn runs it."""

import json
from urllib.parse import parse_qs

import preforkd

emb = preforkd.array("emb", default="emb.npy")  # outside preforkd: the file, so that the same code runs alone


def app(environ, start_response):
    row = int(parse_qs(environ["QUERY_STRING"]).get("row", ["0"])[0])
    body = json.dumps(
        {
            "worker": preforkd.worker_id(),
            "version": preforkd.data("emb", default="emb.npy").version,
            "rows": len(emb),
            "row": row,
            "sum": float(emb[row].sum()),
        }
    ).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
