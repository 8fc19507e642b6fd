# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A row of the dataset emb for each request, with nothing but the standard library's http.server.

preforkd -w 4 -l :8000 -d emb=emb.npy -- python app.py
python app.py                                             alone, on 127.0.0.1:8000
"""

import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import preforkd

emb = preforkd.array("emb", default="emb.npy")


class Handler(BaseHTTPRequestHandler):
    timeout = 10  # seconds until a client that says nothing is hung up on: a stop waits for it

    def do_GET(self):
        row = int(parse_qs(urlsplit(self.path).query).get("row", ["0"])[0])
        body = json.dumps(
            {
                "worker": preforkd.worker_id(),
                "version": preforkd.data("emb", default="emb.npy").version,
                "rows": len(emb),
                "row": row,
                "sum": float(emb[row].sum()),
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # the default, True: server_close() waits for no request, a stop loses those in hand


server = Server(("", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = preforkd.socket("http", default="127.0.0.1:8000")
server.socket.setblocking(False)  # a sibling may win the race to accept: then go back to waiting
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(poll_interval=0.1)
server.server_close()
