"""A worker that leaves ORPHANS grandchildren behind. Each of them ends when it gets a byte from the FIFO gate."""

import os
import signal

from notify import say

for _ in range(int(os.environ["ORPHANS"])):
    if os.fork() == 0:
        if os.fork() == 0:
            os.read(os.open("gate", os.O_RDONLY), 1)
        os._exit(0)
    os.wait()
say("READY=1")
signal.pause()
