"""A plain loop around a blocking accept: no poll, no thread, nothing that says it is ready."""

import os
import socket

import slow  # noqa: F401

listener = socket.socket(fileno=3)
while True:
    conn, _ = listener.accept()
    with conn:
        conn.recv(4096)
        body = str(os.getpid()).encode()
        conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
