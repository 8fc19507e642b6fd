# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A consumer without sockets: jobs are files in a folder, each worker takes one after the other.

README.md says how to run it. A job is a JSON file in spool/new, {"row": 3}; its result, of the same name in spool/done, is proven by the data.
"""

import fcntl
import json
import os
import signal
import time

import preforkd

SPOOL = os.environ.get("SPOOL", "spool")


def work(job):
    emb = preforkd.data("emb", default="emb.npy")  # one version for the whole job
    row = emb.array()[job["row"]]
    time.sleep(job.get("takes", 0))  # what your job does
    return {"worker": preforkd.worker_id(), "version": emb.version, "row": job["row"], "sum": float(row.sum())}


def claim(name):
    """The job's file, open and locked for this process; None where another one has it or has done it.

    The kernel gives the lock back when the process dies, however it dies: then another worker takes the job.
    """
    try:
        file = open(os.path.join(SPOOL, "new", name))
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_nlink:  # 0: it was done and removed after it was opened here
            return file
    except BlockingIOError:
        pass
    file.close()
    return None


def one(name):
    """Do this job, if it is to be had. The result is there, whole, before the job is removed: no job is ever lost."""
    file = claim(name)
    if file is None:
        return False
    with file:
        result = work(json.load(file))
        path = os.path.join(SPOOL, "done", name)
        with open(f"{path}.{os.getpid()}", "w") as out:
            json.dump(result, out)
        os.rename(f"{path}.{os.getpid()}", path)
        os.unlink(file.name)
    return True


def main():
    stopping = False

    def stop(*_):
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)  # the job in hand is finished, then the loop ends
    for name in ("new", "done"):
        os.makedirs(os.path.join(SPOOL, name), exist_ok=True)
    preforkd.on_new_version("emb")  # new data between two jobs; without this line it comes with a new worker
    preforkd.data("emb", default="emb.npy")  # what fails, fails before this worker counts as ready
    preforkd.ready()
    while not stopping:
        busy = False
        for name in sorted(os.listdir(os.path.join(SPOOL, "new"))):
            if not name.startswith(".") and one(name):
                busy = True
                preforkd.requests()  # jobs done, for /stats and --max-requests
            if stopping:
                break
        if not busy:
            time.sleep(0.1)


if __name__ == "__main__":
    main()
