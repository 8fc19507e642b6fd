# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A service that takes new versions of its data while it runs: no worker is restarted, no request waits.

    preforkd -w 4 -d emb=emb.npy --watch -l :8000 -- python in_place.py
    curl http://127.0.0.1:8000/3            row 3, its version, and the process that answered

    mv new.npy emb.npy                      a moment later all workers answer with version 2, as the same processes

Install numpy and ../../clients/python by pip. It runs without preforkd too: python in_place.py, in a folder with emb.npy.
docs/in-place.md has the rules; in_place_asgi.py is the same for an event loop.
"""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import preforkd


def check(new):
    """Called with each new version before it is current. What it raises refuses it: the old one stays."""
    if new.array().ndim != 2:
        raise ValueError(f"version {new.version} has {new.array().ndim} dimensions, not 2")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        # Once for each request: it keeps to this version, and the version lives as long as the request. An array in a
        # global would keep its version for ever.
        emb = preforkd.data("emb", default="emb.npy")
        try:
            row = emb.array()[int(self.path[1:])].tolist()
        except (ValueError, IndexError):
            self.send_error(404)
            return
        body = json.dumps({"pid": os.getpid(), "version": emb.version, "row": row}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    preforkd.on_new_version("emb", check)

    server = ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
    server.daemon_threads = False  # server_close waits for the requests in hand
    server.socket.close()
    server.socket = preforkd.socket(default="127.0.0.1:8000")
    server.socket.setblocking(False)  # a sibling may win the race to accept: then go back to waiting
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
