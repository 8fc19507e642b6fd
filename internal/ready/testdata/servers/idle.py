"""Programs that have the listener open as descriptor 3 and wait for something else: python3 idle.py NAME."""

import os
import select
import socket
import sys
import time

listener = socket.socket(fileno=3)
pipe, _keep = os.pipe()
own = socket.socket()
own.bind(("127.0.0.1", 0))
own.listen()
# Connections that were not accepted from the listener: one of its own, both ends, and the client's end of one to it.
_near = socket.create_connection(own.getsockname())
_far = own.accept()
_client = socket.socket(listener.family)
_client.connect(listener.getsockname())


def sleep():
    time.sleep(3600)


def read():
    os.read(pipe, 1)


def accept():
    own.accept()


def poll():
    p = select.poll()
    p.register(pipe, select.POLLIN)
    p.register(own, select.POLLIN)
    p.register(listener, select.POLLPRI)
    p.poll()


def select_():
    select.select([pipe, own], [], [listener])


def epoll():
    e = select.epoll()
    e.register(pipe, select.EPOLLIN)
    e.register(own, select.EPOLLIN)
    e.poll()


def epoll_disarmed():
    e = select.epoll()
    e.register(listener, select.EPOLLIN)
    e.modify(listener, 0)
    e.poll()


def closed():
    listener.close()
    os.dup2(own.fileno(), 3)
    socket.socket(fileno=3).accept()


print("waiting", flush=True)
globals()[sys.argv[1]]()
