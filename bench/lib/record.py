# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Puts what the benches printed (standard input) into docs/performance.md, with the machine that it was measured on:

make bench BENCH=bench/ | tee /dev/stderr | python3 bench/lib/record.py
"""

import datetime
import os
import platform
import re
import sys

PAGE, BEGIN, END = "docs/performance.md", "<!-- run -->\n", "<!-- end of run -->\n"


def processor():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"model name\s*: (.*)", file.read())
    return found[1] if found else platform.machine()


def main():
    printed = sys.stdin.read()
    printed = printed[max(printed.find("== bench/"), 0) :].strip()
    missing = [name for name in ("codec", "load", "pages", "reload", "stats") if f"== bench/{name}.sh" not in printed]
    if missing or "cannot go on" in printed:
        sys.exit(f"cannot record an incomplete run: {', '.join(missing) or 'a bench has failed'}")
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / (1 << 20)
    settings = " ".join(
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith("BENCH_") and "/" not in value
    )
    head = (
        f"{datetime.date.today()}, {os.cpu_count()} CPUs ({processor()}), {memory:.0f} GiB, Linux {platform.release()}"
        f"{', ' + settings if settings else ''}; load average at the end {os.getloadavg()[0]:.1f}."
    )
    with open(PAGE) as file:
        before, rest = file.read().split(BEGIN)
    after = rest.split(END)[1]
    with open(PAGE, "w") as file:
        file.write(f"{before}{BEGIN}{head}\n\n```text\n{printed}\n```\n{END}{after}")


if __name__ == "__main__":
    main()
