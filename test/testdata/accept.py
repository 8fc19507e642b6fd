"""A worker that accepts on all of its listeners and answers with its pid and the listener's name."""

import os
import select
import socket

assert os.environ["LISTEN_PID"] == str(os.getpid()), os.environ["LISTEN_PID"]
names = os.environ["LISTEN_FDNAMES"].split(":")
assert len(names) == int(os.environ["LISTEN_FDS"])
listeners = {socket.socket(fileno=3 + i): name for i, name in enumerate(names)}
for listener in listeners:
    listener.setblocking(False)  # a worker that was second to an accept must not hang in it
while True:
    for listener in select.select(list(listeners), [], [])[0]:
        try:
            conn, _ = listener.accept()
        except BlockingIOError:
            continue
        with conn:
            conn.setblocking(True)
            conn.recv(4096)
            body = f"{os.getpid()} {listeners[listener]}".encode()
            conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
