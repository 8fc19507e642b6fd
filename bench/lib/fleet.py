# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A running preforkd, its stats, and the most memory that it and its workers have held."""

import contextlib
import glob
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from kit import FOLDER, Failure, memory

PREFORKD = os.environ.get("BENCH_PREFORKD", "bin/preforkd")
PATIENCE = 60.0  # seconds
# Where memory cgroups are made, version 1 and 2, and the file that tells the most that one has held.
GROUPS = [("/sys/fs/cgroup/memory", "memory.max_usage_in_bytes"), ("/sys/fs/cgroup", "memory.peak")]


class Fleet:
    """preforkd with a fleet of workers, in a memory cgroup of its own where one can be made."""

    def __init__(self, folder, arguments):
        self.folder, self.group = folder, Group()
        self.log = open(f"{folder}/log", "w+")
        death = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        command = [PREFORKD, "--stats", f"unix:{folder}/stats.sock", "--run-dir", f"{folder}/run", *arguments]
        self.process = subprocess.Popen(
            [*self.group.enter, *death, *command],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        died = self.process.poll()
        if died is None:
            self.process.terminate()
        try:
            code = self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            code = self.process.wait()
        self.group.remove()
        words = self.words()
        self.log.close()
        if kind is None and (died is not None or code):
            raise Failure(f"preforkd ended with code {code}:\n{words}")

    def words(self):
        """The end of preforkd's log."""
        self.log.seek(0)
        return "".join(self.log.readlines()[-8:])

    def stats(self):
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            connection.sock.connect(f"{self.folder}/stats.sock")
            connection.request("GET", "/stats")
            return json.load(connection.getresponse())

    def until(self, true, what):
        """Waits until the stats are as they should be, and returns them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if self.process.poll() is not None:
                raise Failure(f"preforkd ended with code {self.process.returncode}:\n{self.words()}")
            with contextlib.suppress(OSError):
                stats = self.stats()
                if true(stats):
                    return stats
            if time.monotonic() > deadline:
                raise Failure(f"{what} was not seen within {PATIENCE:.0f} s:\n{self.words()}")
            time.sleep(0.01)

    def order(self, *words):
        """Starts one of preforkd's verbs for this instance."""
        return subprocess.Popen(
            [PREFORKD, *words, "--run-dir", f"{self.folder}/run"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
        )


class Group:
    """A memory cgroup, version 1 or 2: `peak` is exact. Where none can be made enter is empty and peak is None."""

    def __init__(self):
        self.path, self.enter = "", []
        for place, self.file in GROUPS:
            path = f"{place}/preforkd-bench-{os.getpid()}"
            try:
                os.mkdir(path)
            except OSError:
                continue
            if os.path.exists(f"{path}/{self.file}"):
                self.path = path
                self.enter = ["sh", "-c", f'echo $$ >{path}/cgroup.procs && exec "$@"', "sh"]
                return
            os.rmdir(path)

    def peak(self):
        if not self.path:
            return None
        with open(f"{self.path}/{self.file}") as file:
            return int(file.read())

    def forget(self):
        """Begins anew: the peak is what is held now. Without effect on version 2 before Linux 6.12."""
        with contextlib.suppress(OSError):
            if self.path:
                with open(f"{self.path}/{self.file}", "w") as file:
                    file.write("0")

    def remove(self):
        deadline = time.monotonic() + 5
        while self.path:
            try:
                os.rmdir(self.path)
                return
            except OSError:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)


class Watch(threading.Thread):
    """Looks at the fleet's account in /stats and at the machine's shared memory, fifty times a second."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet, self.used, self.shmem, self.stop = fleet, 0, 0, threading.Event()
        self.before = memory()["Shmem"]

    def run(self):
        while not self.stop.wait(0.02):
            self.shmem = max(self.shmem, memory()["Shmem"])
            with contextlib.suppress(OSError):
                self.used = max(self.used, self.fleet.stats()["memory"]["used"] or 0)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()


def left_groups():
    """Removes groups that a bench left behind which was killed."""
    for path in (path for place, _ in GROUPS for path in glob.glob(f"{place}/preforkd-bench-*")):
        with contextlib.suppress(OSError):
            os.rmdir(path)  # fails where somebody still lives in it


def folder(name):
    path = f"{FOLDER}/{name}"
    os.mkdir(path)
    return path
