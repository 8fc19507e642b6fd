# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A Celery application whose tasks search in an array that all pools share; README.md says how it is started."""

import os

import numpy as np
import preforkd
from celery import Celery, signals

app = Celery("tasks", broker=os.environ.get("CELERY_BROKER_URL", "redis://localhost"))
app.conf.update(
    task_acks_late=True,  # a task belongs to the broker until it is done,
    task_reject_on_worker_lost=True,  # and is given to another process when its own dies
    worker_prefetch_multiplier=1,  # take no more than can be begun at once
    broker_connection_retry_on_startup=True,
)


@signals.worker_ready.connect
def ready(**_):
    """Tasks are taken from now on: only now preforkd stops the worker that this one replaces."""
    preforkd.ready()


@app.task
def nearest(query, count=1):
    """The rows that are most like `query`, and the version of the data that says so."""
    emb = preforkd.data("emb", "emb.npy")
    scores = emb.array() @ np.asarray(query, np.float32)
    return {"version": emb.version, "rows": np.argsort(-scores)[:count].tolist()}
