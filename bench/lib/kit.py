# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""What the benches share: helper processes that take orders, medians and ratios, tables, and the file of results."""

import argparse
import datetime
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys

MIB, GIB = 1 << 20, 1 << 30
FOLDER, TMPFS, TOOL = (os.environ[name] for name in ("BENCH_FOLDER", "BENCH_TMPFS", "BENCH_TOOL"))


class Failure(Exception):
    """Something did not work; the text says what."""


class Helper:
    """A process that carries out orders, one JSON object a line each way. It ends when its input does."""

    def __init__(self, *command):
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, do, **fields):
        try:
            print(json.dumps({"do": do, **fields}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            name = os.path.basename(self.command[0])
            raise Failure(f"{name} ended in the middle of {do!r} (code {self.process.wait()})")
        answer = json.loads(line) or {}
        if "error" in answer:
            raise Failure(f"{do} {fields.get('path', '')}: {answer['error']}")
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Table:
    """Figures, printed aligned and appended to bench/results as JSON lines."""

    def __init__(self, bench, **where):
        self.bench, self.where, self.rows = bench, where, []

    def add(self, figure, values, unit, ratios=None, goal=None, at_most=False, note=""):
        """A figure with the values of its rounds. The goal is for the median of the ratios, of the values without any."""
        got = statistics.median(ratios or values)
        ok = None if goal is None else got <= goal if at_most else got >= goal
        self.rows.append((figure, values, unit, ratios, goal, at_most, ok, note))
        self._record(figure, values, unit, ratios, goal, at_most, ok, note)

    def print(self, title, ratio):
        """Prints the figures; `ratio` says to what the ratios are."""
        say(f"\n{title}\n")
        lines = [("", "median", "min – max", "", ratio, "min – max", "goal", "")]
        for figure, values, unit, ratios, goal, at_most, ok, note in self.rows:
            lines.append(
                (
                    figure,
                    number(statistics.median(values)),
                    spread(values),
                    unit,
                    number(statistics.median(ratios)) if ratios else "",
                    spread(ratios) if ratios else "",
                    "" if goal is None else f"{'≤' if at_most else '≥'} {number(goal)}",
                    " ".join(word for word in ("" if ok is None else "ok" if ok else "MISSED", note) if word),
                )
            )
        columns(lines, left=(0, 3, 7))
        self.rows = []

    def _record(self, figure, values, unit, ratios, goal, at_most, ok, note):
        record = {
            "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "host": platform.node(),
            "kernel": platform.release(),
            "cpus": os.cpu_count(),
            "bench": self.bench,
            **self.where,
            "figure": figure,
            "unit": unit,
            "values": values,
            "ratios": ratios,
            "goal": goal,
            "at_most": at_most,
            "ok": ok,
            "note": note,
        }
        os.makedirs("bench/results", exist_ok=True)
        with open(f"bench/results/{self.bench}.jsonl", "a") as file:
            print(json.dumps(record), file=file)


def columns(lines, left=(0,)):
    """Prints lines of cells aligned; the columns of `left` begin where they begin, the others end where they end."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        cells = [cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))]
        say(("  " + "  ".join(cells)).rstrip())


def say(text):
    print(text, flush=True)


def number(value):
    """Three digits that count."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:,.{digits}f}"


def spread(values):
    return f"{number(min(values))} – {number(max(values))}" if len(values) > 1 else ""


def size_text(size):
    return f"{size / GIB:g} GiB"


def memory():
    """MemAvailable and other lines of /proc/meminfo, in bytes."""
    with open("/proc/meminfo") as file:
        return {line.split(":")[0]: int(line.split()[1]) << 10 for line in file}


def disk_free():
    free = os.statvfs(FOLDER)
    return free.f_bavail * free.f_frsize


def fits(size, memory_times, disk_times, spare=GIB):
    """Why a size cannot be measured here, or ""."""
    need, have = int(size * memory_times) + spare, memory()["MemAvailable"]
    if have < need:
        return f"{need / GIB:.1f} GiB of memory are needed, {have / GIB:.1f} GiB are free"
    need, have = int(size * disk_times) + spare, disk_free()
    if have < need:
        return f"{need / GIB:.1f} GiB are needed in {FOLDER}, {have / GIB:.1f} GiB are free"
    return ""


def threads():
    """As many as preforkd loads with."""
    return min(max(len(os.sched_getaffinity(0)), 2), 4)


def shuffled(things, turn):
    """The same things in another order in each round, the same orders in each run: nobody is always first, nor always
    behind the same one, whose memory it would get."""
    return random.Random(turn).sample(things, len(things))


def environment(name, default, kind):
    return kind(os.environ.get(name, default))


def main(run):
    """Runs a bench: its failures are one line, and a signal ends it as an exception, so that helpers are ended."""

    def end(number, _):
        raise SystemExit(128 + number)

    for number_of in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number_of, end)
    parser = argparse.ArgumentParser()
    parser.add_argument("--shmem", default="")
    try:
        run(parser.parse_args())
    except Failure as failure:
        sys.exit(f"cannot go on: {failure}")
