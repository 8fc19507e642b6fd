"""Servers of the standard library, one a loop: python3 loops.py NAME. The listener is descriptor 3."""

import socket
import sys

import gate  # noqa: F401

listener = socket.socket(fileno=3)
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nready"


def answer(wait):
    while True:
        wait()
        conn, _ = listener.accept()
        conn.recv(4096)
        conn.sendall(ANSWER)
        conn.close()


def http_server():
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.wfile.write(ANSWER)

    server = http.server.HTTPServer(("", 0), Handler, bind_and_activate=False)
    server.socket = listener
    server.serve_forever()


def accept():
    answer(lambda: None)


def accept_timeout():
    listener.settimeout(60)  # then accept polls first
    answer(lambda: None)


def accept_in_thread():
    import threading

    thread = threading.Thread(target=accept)
    thread.start()
    thread.join()


def select_():
    import os
    import select

    pipe, _keep = os.pipe()
    answer(lambda: select.select([pipe, listener], [], []))


def poll():
    import select

    p = select.poll()
    p.register(2, select.POLLERR)
    p.register(listener, select.POLLIN)
    answer(p.poll)


def nested_epoll():
    import select

    inner, outer = select.epoll(), select.epoll()
    inner.register(listener, select.EPOLLIN)
    outer.register(inner, select.EPOLLIN)
    answer(outer.poll)


def asyncio_():
    import asyncio

    async def handle(reader, writer):
        await reader.readline()
        writer.write(ANSWER)
        writer.close()

    async def main():
        server = await asyncio.start_server(handle, sock=listener)
        await server.serve_forever()

    asyncio.run(main())


globals()[sys.argv[1]]()
