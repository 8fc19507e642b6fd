"""A server that reads a random row of the array emb for each request and answers with: its pid, how many answers it has given,
the version it was told of, the row, and what stands there. Alone, or gunicorn's versions:wsgi.

TAKES names the workers that take new versions themselves, by the protocol of in_place.py. Files in the working
directory change what a worker does: while there is "hold" it does not start; with "refuse" it takes no new version; with
"die-STEP-N" worker N removes that file and dies at that STEP of taking one.
"""

import os
import random
import socket
import time

import in_place
import stdlib

me = os.environ["PREFORKD_WORKER_ID"]


def reached(step):
    try:
        os.remove(f"die-{step}-{me}")
    except FileNotFoundError:
        return
    os._exit(1)


class Emb(in_place.Current):
    def load(self, fd, entry):
        if os.path.exists("refuse") and "emb" in self.data:
            raise ValueError("these are not my columns")
        if entry["format"] != "npy":  # another dataset
            return None, entry["version"]
        if "emb" not in self.data:  # gunicorn's master may have given the descriptor back
            fd = os.open(entry["path"], os.O_RDONLY)
        emb, version = super().load(fd, entry)
        if "emb" not in self.data:
            os.close(fd)
        for row in 0, len(emb) - 1:  # whole from the first to the last
            if emb[row, 0] >> 32 != emb[0, 0] >> 32 or emb[row, 0] & 0xFFFFFFFF != row:
                raise ValueError(f"row {row} holds {emb[row, 0]}")
        reached("loaded")
        return emb, version

    def put(self, new):
        super().put(new)
        if new.get("emb", (None, 0))[1] > 1:
            reached("put")


def hooked(f, before=None, after=None):
    """f, with a step of taking a new version before or after it: what the example's `take` calls."""

    def call(*args, **named):
        if before:
            reached(before)
        result = f(*args, **named)
        if after:
            reached(after)
        return result

    return call


# One packet has been answered when the next one is waited for.
socket.socket.recvmsg = hooked(socket.socket.recvmsg, before="answered", after="received")
os.dup2 = hooked(os.dup2, after="moved")

while os.path.exists("hold"):
    time.sleep(0.01)
emb = Emb()
answers = 0
if me in os.environ.get("TAKES", "").split():
    in_place.take(["emb"], emb.load, emb.put)


def answer():
    global answers
    array, version = emb.data["emb"]
    row = random.randrange(len(array))
    answers += 1
    return f"{os.getpid()} {answers} {version} {row} {array[row, 0]}".encode()


class Handler(stdlib.Handler):
    def do_GET(self):
        self.body = answer()
        super().do_GET()


def wsgi(environ, start_response):
    body = answer()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    stdlib.serve(Handler)
