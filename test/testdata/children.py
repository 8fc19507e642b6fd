# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A worker that has children of every kind read the array emb for it.

GET /KIND/HOW answers with what a child of that kind has found, as JSON: [its pid, the version it was told, the first row's
version, the last row's version], or the text of an error. HOW it gets there: "name" (the child asks the package), "dataset"
(it is handed the Dataset), "array" (it is handed the array). GET /bytes tells how long the latter two are when they are
pickled, and GET /file which file joblib's child maps when it is handed the one and the other.
"""

import concurrent.futures
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys

import preforkd

import stdlib


def name():
    return read(preforkd.data("emb"))


def dataset(handed):
    return read(handed)


def array(rows, version):
    return [os.getpid(), version, int(rows[0, 0] >> 32), int(rows[-1, 0] >> 32)]


def read(emb):
    return array(emb.array(), emb.version)


def file(rows):
    """Of a numpy.memmap its file."""
    return getattr(rows, "filename", "")


def file_of(emb):
    return file(emb.array())


def task(how):
    emb = preforkd.data("emb")
    return {"name": (name,), "dataset": (dataset, emb), "array": (array, emb.array(), emb.version)}[how]


def tried(function, *arguments):
    try:
        return function(*arguments)
    except preforkd.Error as e:
        return str(e)


def os_fork(function, *arguments):
    r, w = os.pipe()
    if os.fork() == 0:
        os.write(w, json.dumps(tried(function, *arguments)).encode())
        os._exit(0)
    os.close(w)
    with open(r) as answer:
        text = answer.read()
    os.wait()
    return json.loads(text)


def program(function, *arguments):
    code = """if True:
        import json, pickle, sys, children
        function, *arguments = pickle.load(sys.stdin.buffer)
        print(json.dumps(children.tried(function, *arguments)))
    """
    function = getattr(__import__("children"), function.__name__)  # not __main__'s, which that program has not
    task = pickle.dumps((function, *arguments))
    return json.loads(
        subprocess.run([sys.executable, "-c", code], input=task, stdout=subprocess.PIPE, check=True).stdout
    )


def begin():
    """A forked child has its parent's way to stop, which is none for it: Pool ends its children by TERM."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Pools:
    """Children that live on: each kind has one, started when it is first asked for."""

    def __init__(self):
        self.known = {}

    def __call__(self, kind, function, *arguments):
        if kind in ("fork", "spawn", "forkserver"):  # a new process for each task
            with multiprocessing.get_context(kind).Pool(1, begin) as pool:
                return pool.apply(tried, (function, *arguments))
        if kind == "loky":
            import joblib

            with joblib.parallel_config("loky", n_jobs=2):
                return joblib.Parallel()(joblib.delayed(tried)(function, *arguments) for _ in range(2))[0]
        if kind not in self.known:
            how = multiprocessing.get_context(kind.partition("-")[2])
            self.known[kind] = concurrent.futures.ProcessPoolExecutor(1, how, begin)
        return self.known[kind].submit(tried, function, *arguments).result()


pools = Pools()


class Handler(stdlib.Handler):
    def do_GET(self):
        emb = preforkd.data("emb")
        if self.path == "/bytes":
            result = [len(pickle.dumps(emb)), len(pickle.dumps(emb.array(), protocol=5))]
        elif self.path == "/file":
            result = [pools("loky", file_of, emb), pools("loky", file, emb.array())]
        elif self.path == "/":
            result = name()
        else:
            _, kind, how = self.path.split("/")
            kinds = {"os.fork": os_fork, "program": program}
            result = kinds[kind](*task(how)) if kind in kinds else pools(kind, *task(how))
        self.body = json.dumps(result).encode()
        super().do_GET()


def serve():
    preforkd.on_new_version("emb")
    stdlib.serve(Handler)
    for pool in pools.known.values():
        pool.shutdown()
    if "joblib" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown()


if __name__ == "__main__":
    serve()
