# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""The Python of a page of docs/, as files.

pieces.py PAGE           writes each ```python NAME.py block into the file NAME.py, and all without a name into guide.py
pieces.py --check FILE   runs FILE as python does; each line `value  # → text` must have that repr
```python needs=MODULE blocks are left out where the module is not installed.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path


def write(page: str) -> None:
    guide = ""
    for info, text in re.findall(r"^```python *(.*)\n((?:.*\n)*?)```$", Path(page).read_text(), re.MULTILINE):
        if info.endswith(".py"):
            Path(info).write_text(text)
        elif info == "" or importlib.util.find_spec(info.removeprefix("needs=")):
            guide += text
    Path("guide.py").write_text(guide)


def same(value: object, text: str, line: int) -> None:
    if repr(value) != text:
        raise AssertionError(f"line {line}: {value!r}, not {text}")


def run(file: str) -> None:
    text = Path(file).read_text()
    lines, tree, checks = text.splitlines(), ast.parse(text), 0
    for statement in tree.body:
        _, arrow, want = lines[statement.end_lineno - 1].partition("# → ")
        if arrow and isinstance(statement, ast.Expr):
            more = [ast.Constant(want), ast.Constant(statement.lineno)]
            statement.value = ast.Call(ast.Name("same", ast.Load()), [statement.value, *more], [])
            checks += 1
    if checks == 0 or checks != text.count("→"):
        raise AssertionError(f"{file} tells {text.count('→')} values, {checks} of them where they can be checked")
    sys.path.insert(0, ".")
    exec(compile(ast.fix_missing_locations(tree), file, "exec"), {"__name__": "__main__", "same": same})


if sys.argv[1] == "--check":
    run(sys.argv[2])
else:
    write(sys.argv[1])
