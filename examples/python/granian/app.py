# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A row of the dataset emb for each request: an ASGI application under granian, on the socket that preforkd hands over.

preforkd -w 4 -l :8000 -d emb=emb.npy -- python app.py
python app.py                                             alone, on 127.0.0.1:8000
"""

import asyncio
import json
import signal
from urllib.parse import parse_qs

import preforkd
from granian.constants import Interfaces
from granian.net import SocketHolder
from granian.server.embed import Server

emb = preforkd.array("emb", default="emb.npy")


async def app(scope, receive, send):
    row = int(parse_qs(scope["query_string"]).get(b"row", [b"0"])[0])
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


class Inherited(Server):
    """granian on a socket that is listening already: its own options know only an address or a path to bind."""

    def __init__(self, app, sock, **options):
        super().__init__(app, **options)
        self.sock = sock

    def _init_shared_socket(self):
        self._shd = SocketHolder(self.sock.fileno(), False, self.backlog)


async def main():
    server = Inherited(app, preforkd.socket("http", default="127.0.0.1:8000"), interface=Interfaces.ASGINL)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()


if __name__ == "__main__":
    asyncio.run(main())
