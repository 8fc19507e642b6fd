# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A row of the dataset emb for each request: a WSGI application under waitress.

    preforkd -w 4 -l :8000 -d emb=emb.npy -- python app.py
    python app.py                                             alone, on 127.0.0.1:8000

waitress.serve() has no graceful end: it drops the requests that it has accepted. serve() below finishes them.
"""

import json
import signal
import time
from urllib.parse import parse_qs

import preforkd
import waitress
from waitress import wasyncore

emb = preforkd.array("emb", default="emb.npy")


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


def done(channel):
    """Whether nothing is under way on a connection. One that has never said anything gets a second to do so."""
    if channel.requests or channel.request or channel.total_outbufs_len:
        return False
    return channel.last_activity > channel.creation_time or time.time() > channel.creation_time + 1


def serve(app, sock, timeout=20, **options):
    """Run waitress on sock until SIGTERM; then finish what it has accepted, in at most timeout seconds."""
    server = waitress.create_server(app, sockets=[sock], **options)

    def stop(*_):
        server.accepting = False  # the next connections are the other workers'
        server.pull_trigger()  # wakes the loop

    signal.signal(signal.SIGTERM, stop)
    while server.accepting:
        wasyncore.loop(timeout=1, use_poll=True, map=server._map, count=1)
    deadline = time.monotonic() + timeout
    while server.active_channels and time.monotonic() < deadline:
        for channel in list(server.active_channels.values()):
            channel.will_close = channel.will_close or done(channel)
        wasyncore.loop(timeout=0.05, use_poll=True, map=server._map, count=1)
    server.close()


if __name__ == "__main__":
    serve(app, preforkd.socket("http", default="127.0.0.1:8000"), threads=4)
