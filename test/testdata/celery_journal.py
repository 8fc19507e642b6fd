# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Loaded beside the tasks of examples/python/celery: notes in the file "journal" what begins and what was returned.

Each task takes TASK_SECONDS longer, and as long as there is a file "hold". BROKER_FOLDER makes the broker a folder,
VISIBILITY is that of redis in seconds. Run as a program it sends the tasks FROM to TO, one every PACE seconds: task i
asks for the row that is like unit vector i of COLUMNS.
"""

import json
import os
import sys
import time

from celery import signals

from tasks import app, nearest

COLUMNS = 64

if "BROKER_FOLDER" in os.environ:
    folder = os.environ["BROKER_FOLDER"]
    app.conf.broker_transport_options = dict.fromkeys(("data_folder_in", "data_folder_out", "control_folder"), folder)
    app.conf.worker_enable_remote_control = False
elif "VISIBILITY" in os.environ:
    app.conf.broker_transport_options = {
        "visibility_timeout": float(os.environ["VISIBILITY"]),
        "unacked_restore_interval": 1,  # look for such tasks every second, not every 100 seconds
        "unacked_restore_throttle": 1,
    }


def note(what, task_id, *more):
    fd = os.open("journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (" ".join([what, task_id, *more]) + "\n").encode())
    os.close(fd)


@signals.task_prerun.connect
def begun(task_id, **_):
    note("start", task_id, str(os.getpid()))
    time.sleep(float(os.environ.get("TASK_SECONDS", "0")))
    while os.path.exists("hold"):
        time.sleep(0.01)


@signals.task_postrun.connect
def ended(task_id, retval, **_):
    note("end", task_id, json.dumps(retval))


if __name__ == "__main__":
    for i in range(int(sys.argv[1]), int(sys.argv[2])):
        nearest.apply_async(([float(k == i % COLUMNS) for k in range(COLUMNS)],), task_id=str(i))
        time.sleep(float(sys.argv[3]))
