# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A service whose workers compute with joblib: each has a pool of processes (loky) over the same one copy of the data.

README.md says how to run it. What is handed to the pool is the Dataset, pickled as a name of some 350 bytes.
"""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import preforkd
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

JOBS = int(os.environ.get("JOBS", "2"))


def part(emb, begin, end):
    """Runs in a process of the pool, which maps the same memory."""
    return float(emb.array()[begin:end].sum(dtype="f8"))


def total(emb):
    """One version for the whole computation: all parts are of this Dataset, or it fails."""
    rows = len(emb.array())
    step = -(-rows // JOBS)
    parts = (delayed(part)(emb, begin, min(begin + step, rows)) for begin in range(0, rows, step))
    return sum(Parallel(n_jobs=JOBS)(parts))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        emb = preforkd.data("emb", default="emb.npy")
        rows = len(emb.array())
        answer = {"worker": preforkd.worker_id(), "version": emb.version, "rows": rows, "sum": total(emb)}
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        preforkd.requests()

    def log_message(self, *_):
        pass


def main():
    preforkd.on_new_version("emb")  # new data in place: the pool stays; without this line it comes with a new worker
    total(preforkd.data("emb", default="emb.npy"))  # starts the pool, before this worker counts as ready

    server = HTTPServer(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = preforkd.socket(default="127.0.0.1:8000")
    server.socket.setblocking(False)  # a sibling may win the race to accept: then go back to waiting
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    get_reusable_executor().shutdown()  # the request in hand is answered: end the pool


if __name__ == "__main__":
    main()
