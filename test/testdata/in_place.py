# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A service that takes new versions of its data while it runs, by the protocol alone.

That is what a program does that has not the package `preforkd`, or is written in another language. docs/in-place.md shows
`take` and explains it; a test keeps the two equal. examples/python/in_place.py is the same service upon the package.
"""

import array
import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np


def take(names, load, put):
    """From now on this process takes new versions of the datasets `names` (["*"]: all) itself.

    load(fd, entry) maps one version and checks it; whatever it raises refuses the offer, and the old version stays.
    put({name: what load returned}) then makes the new ones current. Both run on a thread of their own.
    """
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect("\0" + os.environ["NOTIFY_SOCKET"][1:])
        socket.send_fds(notify, [b"X_PREFORKD_TAKES=" + " ".join(names).encode()], [theirs.fileno()])

    def serve():
        while True:
            # Not socket.recv_fds: it passes no flags on, and a program that is started then would inherit what comes.
            packet, control, _, _ = mine.recvmsg(65536, socket.CMSG_LEN(253 * 4), socket.MSG_CMSG_CLOEXEC)
            if not packet:  # preforkd has closed it
                return
            fds = array.array("i", b"".join(data for _, _, data in control))
            offer = json.loads(packet)
            entries = [offer["data"][name] for name in offer["fds"]]
            answer = {"offer": offer["offer"], "taken": True}
            try:
                if len(fds) < len(entries):
                    raise OSError("the kernel kept some descriptors back: too many open files")
                put({name: load(fd, entry) for name, fd, entry in zip(offer["fds"], fds, entries)})
                for fd, entry in zip(fds, entries):
                    os.dup2(fd, entry["fd"])  # the number stays, and lets go of the old version
            except Exception as e:
                answer = {"offer": offer["offer"], "taken": False, "error": repr(e)}
            for fd in fds:
                os.close(fd)
            mine.send(json.dumps(answer).encode())

    threading.Thread(target=serve, daemon=True).start()


class Current:
    """What the service works with. A request reads `data` once and keeps to it: versions never mix in one answer.

    An old version is freed with its last user: an array that is kept anywhere (a cache, a global) keeps all of it.
    """

    def __init__(self):
        self.data = {}
        entry = json.loads(os.environ["PREFORKD_DATA"])["emb"]
        self.put({"emb": self.load(entry["fd"], entry)})

    def load(self, fd, entry):
        emb = np.load(f"/proc/self/fd/{fd}", mmap_mode="r")
        if emb.ndim != 2:
            raise ValueError(f"version {entry['version']} has {emb.ndim} dimensions, not 2")
        return emb, entry["version"]

    def put(self, new):
        self.data = {**self.data, **new}  # one assignment: no request sees some old and some new ones


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        emb, version = self.current.data["emb"]
        try:
            row = emb[int(self.path[1:])].tolist()
        except (ValueError, IndexError):
            return self.send_error(404)
        body = json.dumps({"pid": os.getpid(), "version": version, "row": row}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    current = Handler.current = Current()
    take(["emb"], current.load, current.put)

    server = HTTPServer(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=3)  # systemd's convention: listening sockets from descriptor 3 on
    server.socket.setblocking(False)  # a sibling may win the race to accept: then go back to waiting
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
