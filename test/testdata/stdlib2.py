"""stdlib.py, but it says so."""

import stdlib


class Second(stdlib.Handler):
    body = stdlib.Handler.body.replace(b"\n", b" of the second program\n")


stdlib.serve(Second)
