"""A server that takes a gigabyte of memory when it is asked for /gigabyte."""

import stdlib

kept = []


class Hungry(stdlib.Handler):
    def do_GET(self):
        if self.path == "/gigabyte":
            kept.append(bytearray(b"x") * (1 << 30))
        super().do_GET()


stdlib.serve(Hungry)
