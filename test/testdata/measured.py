"""A server that maps all of the dataset blob, writes to a page of a private mapping of it, and counts its requests aloud."""

import mmap
import os

import stdlib
from notify import say

with open(os.environ["PREFORKD_DATA_BLOB"], "rb") as f:
    blob = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
for page in range(0, len(blob), mmap.PAGESIZE):
    blob[page]
blob[0] = 1
say("X_PREFORKD_REQUESTS=1", "STATUS=warm")
stdlib.serve(stdlib.Handler)
