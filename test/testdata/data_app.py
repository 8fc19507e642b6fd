"""A gunicorn application that maps the array emb, in gunicorn's child, and reads all of it."""

import os

import numpy

emb = numpy.load(os.environ["PREFORKD_DATA_EMB"], mmap_mode="r")
total = int(emb.sum())


def wsgi(environ, start_response):
    body = f"{os.getpid()} {total}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
