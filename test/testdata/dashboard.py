"""A worker for the dashboard's tests: it maps all of the dataset emb, keeps 8 MiB of its own, and says of itself what a page must
not take for HTML.

Files in the working directory change it: while there is "hold" it does not start; with "broken" it fails; worker 0 copies PAGES
pages by writing.
"""

import mmap
import os
import signal
import sys
import time

from notify import say

while os.path.exists("hold"):
    time.sleep(0.01)
if os.path.exists("broken"):
    sys.exit("<b>this release</b> is broken")
writes = os.environ["PREFORKD_WORKER_ID"] == "0"
with open(os.environ["PREFORKD_DATA_EMB"], "rb") as f:
    emb = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY if writes else mmap.ACCESS_READ)
for page in range(0, len(emb), mmap.PAGESIZE):
    emb[page]
for n in range(int(os.environ.get("PAGES", "0")) if writes else 0):
    emb[n * mmap.PAGESIZE] = 1
own = bytearray(b"x") * (8 << 20)
say("READY=1", "STATUS=<img src=x onerror=alert(1)> warm", "X_PREFORKD_REQUESTS=1234567")
signal.pause()
