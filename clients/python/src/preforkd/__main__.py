# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""python -m preforkd pack|inspect|doctor: makes data that workers can share, and says what they can.

Exit code 0: done; 1: cannot, or a problem was found; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import stat
import sys
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from . import __version__
from ._contract import Error

_FILES = (".pkl", ".pickle", ".joblib", ".npy", ".npz", ".csv", ".parquet", ".feather")
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType)


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    args = _parser().parse_args(argv)
    try:
        try:
            return int(args.run(args))
        finally:
            _flush()
    except (Error, OSError, ImportError) as e:
        text = str(e) if str(e).startswith("cannot") else f"cannot {args.verb}: {e}"
        print(text, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # ended as by the signal itself: a shell's loop ends too
        print(f"cannot {args.verb}: interrupted", file=sys.stderr)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
        raise


def _flush() -> None:
    """Write what was printed, or raise OSError here: at the end Python would complain in its own way."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m preforkd", description=__doc__)
    parser.add_argument("--version", action="version", version=f"preforkd (Python) {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="pack|inspect|doctor")

    pack = verbs.add_parser(
        "pack",
        help="write an object to a file that workers can share",
        description="Writes an object to OUT, whose name ends in .pk5 (any Python object) or .arrow (a DataFrame or a "
        "table), and reports what each worker will have private all the same.",
    )
    pack.add_argument(
        "input",
        metavar="IN",
        help="a .pkl, .pickle or .joblib that you wrote yourself (it is unpickled, which runs what it says); a .csv, "
        ".parquet, .feather, .npy or .npz; or MODULE:NAME, an object or a function that makes one (from the current "
        "directory too)",
    )
    pack.add_argument("out", metavar="OUT")
    pack.add_argument(
        "--convert", action="store_true", help="share dates, strings of DataFrames and strided arrays too"
    )
    pack.add_argument("--name", metavar="KEY", help="of a dict or an npz: pack only what it holds under KEY")
    pack.set_defaults(run=_pack)

    inspect = verbs.add_parser("inspect", help="say what of a file workers would share (nothing is unpickled)")
    inspect.add_argument("files", metavar="FILE", nargs="+")
    inspect.set_defaults(run=_inspect)

    doctor = verbs.add_parser(
        "doctor", help="say what this kernel, container and user allow, and in a worker check its data"
    )
    doctor.set_defaults(run=_doctor)
    return parser


def _pack(args: argparse.Namespace) -> int:
    from ._pack import pack

    obj = _taken(args.input)
    if args.name is not None:
        try:
            obj = obj[args.name]
        except Exception as e:
            keys = f"its type is {type(obj).__name__}"
            if hasattr(type(obj), "keys"):
                keys = ", ".join(map(str, list(obj)[:20]))
            raise Error(f"cannot find {args.name!r} in {args.input}: {keys}") from e
    try:
        report = pack(obj, args.out, convert=args.convert)
    except (Error, OSError):
        raise
    except Exception as e:  # whatever an object's own methods raise
        raise Error(f"cannot write {args.out}: {_why(e)}") from e
    print(report)
    return 1 if report.problem else 0


def _taken(source: str) -> Any:
    """The object that IN names, or an Error, whatever its reader or maker raises."""
    try:
        return _take(source)
    except (Error, OSError):
        raise
    except (Exception, SystemExit) as e:  # a module that is a program may end it
        hint = ""
        if isinstance(e, AttributeError) and "__main__" in str(e):
            hint = "; its class was defined in the program that wrote it: put it into a module, and write it again"
        raise Error(f"cannot read {source}: {_why(e)}{hint}") from e


def _why(e: BaseException) -> str:
    return f"{type(e).__name__}: {str(e)[:300]}"


def _take(source: str) -> Any:
    """The object that IN names."""
    kind = os.path.splitext(source)[1].lower()
    if kind in _FILES:
        mode = os.stat(source).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe's open waits for a writer, for ever
            raise Error(f"cannot read {source}: it is a pipe, a socket or a device")
    if kind in (".pkl", ".pickle"):
        import pickle

        with open(source, "rb") as file:
            return pickle.load(file)
    if kind == ".joblib":
        return _library("joblib").load(source)
    if kind == ".npy":
        return _library("numpy").load(source, mmap_mode="r").view(_library("numpy").ndarray)
    if kind == ".npz":
        with _library("numpy").load(source) as arrays:
            return dict(arrays)
    if kind in (".csv", ".parquet", ".feather"):
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            return _table(source, kind)
        return getattr(pandas, f"read_{kind[1:]}")(source)
    module, colon, name = source.partition(":")
    if not colon or os.path.exists(source):
        raise Error(f"cannot tell what {source!r} is: it must end in .pkl, .csv, .parquet, .npy …, or be MODULE:NAME")
    sys.path.insert(0, os.getcwd())
    obj: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(obj, part):
            raise Error(f"cannot find {name!r} in module {module!r}")
        obj = getattr(obj, part)
    return obj() if isinstance(obj, _FUNCTIONS) else obj  # models are often callable too


def _table(source: str, kind: str) -> Any:
    """A table by pyarrow alone."""
    _library("pyarrow")
    if kind == ".csv":
        return importlib.import_module("pyarrow.csv").read_csv(source)
    if kind == ".parquet":
        return importlib.import_module("pyarrow.parquet").read_table(source)
    return importlib.import_module("pyarrow.feather").read_table(source)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise Error(f"cannot import {name}: {sys.executable} -m pip install {name}") from e


def _inspect(args: argparse.Namespace) -> int:
    from ._inspect import inspect

    code = 0
    for path in args.files:
        try:
            print(inspect(path))
        except (Error, OSError) as e:
            print(f"{path}: {e}")
            code = 1
    return code


def _doctor(_: argparse.Namespace) -> int:
    from ._doctor import doctor

    findings = doctor()
    print("\n".join(str(finding) for finding in findings))
    return 1 if any(finding.state == "problem" for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
