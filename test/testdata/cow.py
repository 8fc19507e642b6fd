"""Workers that read all of the array emb. Worker 0 maps it copy-on-write and writes a byte to each of PAGES pages."""

import mmap
import os
import signal

import numpy

from notify import say

writes = os.environ["PREFORKD_WORKER_ID"] == "0"
emb = numpy.load(os.environ["PREFORKD_DATA_EMB"], mmap_mode="c" if writes else "r")
offset = emb.offset  # of the array in the file, and so in the mapping
emb.sum()
if writes:
    for n in range(1, int(os.environ["PAGES"]) + 1):
        emb[2 * n * mmap.PAGESIZE - offset] ^= 1
say("READY=1")
signal.pause()
