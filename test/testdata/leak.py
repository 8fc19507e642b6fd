"""A server that maps all of the dataset blob and keeps LEAK more bytes with each request: alone, or gunicorn's leak:wsgi."""

import mmap
import os

import stdlib

with open(os.environ["PREFORKD_DATA_BLOB"], "rb") as f:
    blob = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
for page in range(0, len(blob), mmap.PAGESIZE):
    blob[page]
kept = []


def leak():
    kept.append(bytearray(b"x") * int(os.environ["LEAK"]))


class Leaking(stdlib.Handler):
    def do_GET(self):
        leak()
        super().do_GET()


def wsgi(environ, start_response):
    leak()
    start_response("200 OK", [("Content-Length", str(len(Leaking.body)))])
    return [Leaking.body]


if __name__ == "__main__":
    stdlib.serve(Leaking)
