# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""`make demo`: the example with one copy of its data for four workers, then with four copies, measured side by side.

Both runs are the same: preforkd, app.py, four workers, the same queries, the same files in the page cache. Only the
sharing differs: the second run has no --data, and app.py --copy reads the files into its own memory. Every figure that
is printed was measured in this run. It ends with an error if a worker does not answer, if the answers of the two runs
differ, if preforkd's figures are not the kernel's, or if a process is left.
"""

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import prepare

HERE = os.path.dirname(os.path.abspath(__file__))
PREFORKD = os.path.normpath(f"{HERE}/../../bin/preforkd")
WORKERS = 4
WORDS = ["king", "frog", "guitar", "physics", "lisbon"]
MIB = 1 << 20


class Failure(Exception):
    """Something did not work; the text says what."""


class Fleet:
    """A running preforkd. It answers for its own end: leaving the `with` block stops it and every worker."""

    def __init__(self, folder, *arguments):
        self.stats_socket = f"{folder}/stats.sock"
        self.log = open(f"{folder}/log", "w+")
        self.pids = set()
        command = ["-w", str(WORKERS), "-l", "127.0.0.1:0", *arguments]
        say("   $ preforkd " + shlex.join(command).replace(f"{HERE}/", "").replace(sys.executable, "python"))
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [PREFORKD, "--stats", f"unix:{self.stats_socket}", "--run-dir", f"{folder}/run", *command],
            stdin=subprocess.DEVNULL,
            stderr=self.log,
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        died = self.process.poll()
        self.process.terminate()
        try:
            code = self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        left = [pid for pid in self.pids if os.path.exists(f"/proc/{pid}")]
        if kind is not None and issubclass(kind, (Failure, OSError)) or code != 0 or left:
            self.log.seek(0)
            sys.stderr.writelines(["preforkd's log ends with:\n", *self.log.readlines()[-20:]])
        if died is not None or kind is None and (code != 0 or left):
            raise Failure(f"preforkd ended with code {code} and left {left or 'nothing'}")

    def until(self, what, fact, deadline):
        """Wait until fact() is true. Between two looks it waits for preforkd to end, which would be the end of all."""
        give_up = time.monotonic() + deadline
        while not (value := fact()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.02)
                raise Failure("preforkd ended")
            if time.monotonic() > give_up:
                raise Failure(f"not within {deadline} s: {what}")
        return value

    def get(self, path):
        """Ask preforkd's own endpoint; (0, b"") when nobody is there."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        try:
            connection.sock.connect(self.stats_socket)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def stats(self):
        status, body = self.get("/stats")
        if status != 200:
            raise Failure(f"/stats answered {status}")
        stats = json.loads(body)
        self.pids.update(pid for worker in stats["workers"] for pid in worker["pids"] or [])
        return stats

    def wait_ready(self):
        """Seconds until the first and until the last worker was ready."""
        self.until("a ready worker", lambda: self.get("/readyz")[0] == 200, 60)
        first = time.monotonic() - self.started

        def ready():
            return sum(worker["status"] == "ready" for worker in self.stats()["workers"])

        self.until(f"{WORKERS} ready workers", lambda: ready() == WORKERS, 60)
        return first, time.monotonic() - self.started


def ask(address, word):
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request("GET", f"/neighbours?word={word}&k=5")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise Failure(f"/neighbours?word={word} answered {answer.status}: {body.decode(errors='replace')}")
    return json.loads(body)


def ask_everything(fleet):
    """Send all words, again and again, until every worker has answered. Each answer reads the whole matrix."""
    stats = fleet.stats()
    address = stats["listen"][0]["address"]
    silent = {worker["pid"] for worker in stats["workers"]}
    answers, count, give_up = {}, 0, time.monotonic() + 30
    with ThreadPoolExecutor(2 * WORKERS) as clients:
        while silent:
            if time.monotonic() > give_up:
                raise Failure(f"no answer within 30 s from worker(s) {silent}")
            for answer in clients.map(lambda word: ask(address, word), WORDS * WORKERS):
                count += 1
                silent.discard(answer["pid"])
                if answers.setdefault(answer["word"], answer["neighbours"]) != answer["neighbours"]:
                    raise Failure(f"two workers disagree about {answer['word']}")
    return answers, count


def rollup(pid):
    """What the kernel says that a process holds: bytes by field of /proc/PID/smaps_rollup."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        fields = (line.split() for line in lines)
        return {field[0].rstrip(":"): int(field[1]) << 10 for field in fields if field[-1] == "kB"}


def measure(fleet):
    """The figures of the table: the kernel's own, and those of preforkd's /stats, taken after the last query."""
    asked = time.time()
    seen = {}

    def settled():
        """Both, once they agree. preforkd reads the kernel's exact figures now and then, not at every moment."""
        stats = fleet.stats()
        samples = [worker["sample"] for worker in stats["workers"]]
        if not all(each["exact"] and datetime.fromisoformat(each["at"]).timestamp() > asked for each in samples):
            return False
        workers = [rollup(pid) for worker in stats["workers"] for pid in worker["pids"]]
        seen.update({name: sum(worker[name] for worker in workers) for name in ("Rss", "Pss", "Anonymous")})
        seen["total"] = seen["Pss"] + rollup(fleet.process.pid)["Pss"]
        seen["memory"] = stats["memory"]
        seen["used"] = stats["memory"]["used"]
        return abs(seen["Pss"] - stats["memory"]["pss"]) < 0.02 * seen["Pss"]

    fleet.until("preforkd's figures agree with the kernel's", settled, 90)
    return seen


def run(*arguments):
    with tempfile.TemporaryDirectory(prefix="preforkd-demo-") as folder, Fleet(folder, *arguments) as fleet:
        first, last = fleet.wait_ready()
        answers, count = ask_everything(fleet)
        say(f"   {WORKERS} workers ready after {last:.1f} s; {count} queries answered, by all of them")
        return answers, measure(fleet) | {"first": first, "last": last}


def say(text=""):
    print(text, flush=True)


def mib(value):
    return f"{value / MIB:,.1f} MiB"


def table(shared, copies):
    rows = [
        ("RSS, sum of the workers", "Rss", mib),
        ("PSS, sum of the workers", "Pss", mib),
        ("private (anonymous) memory of the workers", "Anonymous", mib),
        ("total: PSS of the workers and preforkd", "total", mib),
        ("total: preforkd's `used`, as said below", "used", mib),
        ("first worker ready after", "first", "{:.2f} s".format),
        ("last worker ready after", "last", "{:.2f} s".format),
    ]
    say(f"\n{'':44}{'one copy':>14}{f'{WORKERS} copies':>14}")
    for title, key, show in rows:
        say(f"{title:44}{show(shared[key]):>14}{show(copies[key]):>14}")


def main():
    say("Data: GloVe word vectors (Stanford NLP, public domain), from the Python index, made into .npy once")
    prepare.main()
    data = {name: f"{HERE}/data/{name}.npy" for name in ("emb", "words")}
    size = sum(os.path.getsize(path) for path in data.values())
    for path in data.values():
        say(f"   {os.path.relpath(path)}  {mib(os.path.getsize(path))}")

    app = ["--", sys.executable, f"{HERE}/app.py"]
    say(f"\n1. One copy for {WORKERS} workers")
    handed = [part for name, path in data.items() for part in ("-d", f"{name}={path}")]
    answers, shared = run(*handed, *app)
    for word, near in answers.items():
        say(f"   {word:8} → " + ", ".join(f"{other} {score:.2f}" for other, score in near))

    say("\n2. The same program, a copy in each worker")
    same, copies = run(*app, "--copy")
    if answers != same:
        raise Failure("the two runs gave different answers")
    say("   the same answers")

    table(shared, copies)
    less, said = copies["used"] - shared["used"], shared["memory"]
    say(
        f"\nSharing {mib(size)} of data among {WORKERS} workers saved {mib(less)} ({less / copies['used']:.0%}):"
        f" {mib(shared['used'])} instead of {mib(copies['used'])}.\n"
        "RSS and PSS are the kernel's (/proc/PID/smaps_rollup). `used` is preforkd's (/stats) and the figure above: unlike\n"
        "PSS it counts page tables, and all of the data, touched or not. From the first run alone preforkd had said: saved\n"
        f"{mib(said['saved'])} by the pages now mapped, {mib(said['saved_full'])} had every worker loaded all of the data."
    )
    if less <= 0:
        raise Failure("sharing saved nothing")


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; everything is stopped")
    except (Failure, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"the demo failed: {error}")
