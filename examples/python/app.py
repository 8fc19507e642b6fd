# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours of a word over HTTP, from one matrix that all workers share.

preforkd -w 4 -d emb=data/emb.npy -d words=data/words.npy -l :8000 -- python app.py
python app.py --port 8000               the same app alone; --copy reads the data into private memory

curl 'http://127.0.0.1:8000/neighbours?word=king&k=5'
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the workers are the parallelism; read when numpy is imported

import argparse
import json
import signal
import socket
import threading
from bisect import bisect_left
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def load(name, mode):
    """The array of dataset `name`: what preforkd hands over, or without preforkd the file itself."""
    path = os.environ.get(f"PREFORKD_DATA_{name.upper()}", f"{HERE}/data/{name}.npy")
    return np.load(path, mmap_mode=mode)


def neighbours(emb, words, row, k):
    """The k rows nearest to `row`. Rows have length 1, so one product over the whole matrix gives every cosine."""
    score = emb @ emb[row]
    score[row] = -1
    top = np.argpartition(-score, k)[:k]
    return [[words[i].decode(), round(float(score[i]), 4)] for i in top[np.argsort(-score[top])]]


class Handler(BaseHTTPRequestHandler):
    timeout = 10  # seconds until a client that says nothing is hung up on

    def do_GET(self):
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        word, k = query.get("word", ""), query.get("k", "10")
        if url.path != "/neighbours" or not word or not k.isdecimal() or not 1 <= int(k) <= 100:
            return self.answer(400, {"error": "try /neighbours?word=king&k=5 (k from 1 to 100)"})
        row = bisect_left(self.words, word.encode())
        if row == len(self.words) or self.words[row] != word.encode():
            return self.answer(404, {"error": f"unknown word: {word}"})
        near = neighbours(self.emb, self.words, row, int(k))
        self.answer(200, {"word": word, "pid": os.getpid(), "neighbours": near})

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000, help="where to listen when no socket is inherited")
    parser.add_argument("--copy", action="store_true", help="read the data into this process instead of mapping it")
    args = parser.parse_args()

    Handler.emb, Handler.words = (load(name, None if args.copy else "r") for name in ("emb", "words"))

    inherited = "LISTEN_FDS" in os.environ  # systemd's convention: listening sockets from descriptor 3 on
    server = HTTPServer(("127.0.0.1", args.port), Handler, bind_and_activate=not inherited)
    if inherited:
        server.socket.close()
        server.socket = socket.socket(fileno=3)
        server.socket.setblocking(False)  # a sibling may win the race to accept: then go back to waiting

    for number in (signal.SIGTERM, signal.SIGINT):  # shutdown() lets the request in hand finish
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
