# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the Python of a page of docs/.

guide.py PAGE           every ```python block, in their order, as one program; `value  # → text` must have that repr
guide.py PAGE --files   writes each ```python NAME.py block into the file NAME.py of the working directory
```python needs=MODULE blocks are passed over where the module is not installed.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import signal
import sys
from pathlib import Path


def blocks(page: Path) -> list[tuple[str, int, str]]:
    """(what follows ```python, line of the first line, text) of each block."""
    text = page.read_text()
    found = re.finditer(r"^```python *(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    return [(m[1], text.count("\n", 0, m.start(2)) + 1, m[2]) for m in found]


def run(page: Path, line: int, text: str, names: dict[str, object]) -> None:
    tree = ast.increment_lineno(ast.parse(text), line - 1)
    lines = text.splitlines()
    for statement in tree.body:
        _, arrow, want = lines[statement.end_lineno - line].partition("# → ")
        if arrow and isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), page, "eval"), names)
            if repr(value) != want:
                raise AssertionError(f"{page}:{statement.lineno}: {value!r}, not {want}")
        else:
            exec(compile(ast.Module([statement], []), page, "exec"), names)


def main() -> None:
    page = Path(sys.argv[1])
    sys.path.insert(0, ".")
    if "--files" in sys.argv:
        for info, _, text in blocks(page):
            if info.endswith(".py"):
                Path(info).write_text(text)
        return
    names: dict[str, object] = {"__name__": "__guide__"}
    ran = 0
    for info, line, text in blocks(page):
        needs = info.removeprefix("needs=")
        if info == "" or (needs != info and importlib.util.find_spec(needs)):
            run(page, line, text, names)
            ran += 1
    import preforkd  # the page is about it

    preforkd.status(f"ran {ran} pieces")
    signal.pause()  # until preforkd says TERM


if __name__ == "__main__":
    main()
