"""A worker with something to look at: it reads the dataset blob, has private memory by its number, tells of requests, uses the
processor a little, and says a status that would colour the terminal. While a file called gate is there it is not ready yet."""

import mmap
import os
import time

from notify import say

number = int(os.environ["PREFORKD_WORKER_ID"])
data = mmap.mmap(int(os.environ["PREFORKD_DATA_BLOB_FD"]), 0, access=mmap.ACCESS_READ)
sum(data[::4096])
private = bytearray(os.urandom(8 << 20)) * (1 + number)
while os.path.exists("gate"):
    time.sleep(0.02)
say("READY=1", f"STATUS=serving \x1b[31mshard {number}\x1b[0m")
requests = 0
while True:
    until = time.thread_time() + 0.02 * (1 + number % 4)
    while time.thread_time() < until:
        pass
    requests += 5 * (1 + number)
    say(f"X_PREFORKD_REQUESTS={requests}")
    time.sleep(0.1)
