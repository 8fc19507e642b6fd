"""A Celery application: its broker is a folder. Each task takes 0.2 s and notes its start and its end in the file journal."""

import os
import time

from billiard.pool import TaskHandler
from celery import Celery

app = Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={name: "queue" for name in ("data_folder_in", "data_folder_out", "control_folder")},
    broker_connection_retry_on_startup=True,
    worker_enable_remote_control=False,
)


def tell_others(self, original=TaskHandler.tell_others):
    self.pool = list(self.pool)
    original(self)


# billiard 4.3.2 goes through its list of processes to tell each to end, while another thread takes those out that have ended: one may
# be left out, and Celery's warm shutdown then waits for it for ever (pools of brokers without an event loop, as this one).
TaskHandler.tell_others = tell_others


def note(line):
    fd = os.open("journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (line + "\n").encode())
    os.close(fd)


@app.task
def work(n):
    note(f"start {n}")
    time.sleep(0.2)
    note(f"end {n}")
