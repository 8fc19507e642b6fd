# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Every kind of child of a real worker reads the right version of the right data, or gets an error."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Fleet

FORK = """
def fork(then):
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            text = json.dumps(then())
        except BaseException as e:
            text = json.dumps(repr(e))
        os.write(into, text.encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as file:
        found = json.load(file)
    os.waitpid(pid, 0)
    return found
"""

KINDS = {
    "fork before its first use": FORK + "tell(fork(read))",
    "fork after its first use": FORK + "read()\ntell(fork(read))",
    "fork of a fork": FORK + "tell(fork(lambda: fork(read)))",
    "fork while threads read": FORK
    + """
go = True
def busy():
    from preforkd import _dataset
    while go:
        _dataset._process.current.clear()
        preforkd.buffer("emb")
threads = [threading.Thread(target=busy) for _ in range(3)]
[t.start() for t in threads]
found = [fork(read) for _ in range(30)]
go = False
[t.join() for t in threads]
tell(found[0] if all(f == found[0] for f in found) else found)
""",
    "fork after a daemon closed everything": FORK
    + """
read()
pid = os.fork()
if not pid:
    os.closerange(3, 1000)
    os.open("/dev/null", os.O_RDONLY)
    tell(read())
    os._exit(0)
os.waitpid(pid, 0)
""",
    "subprocess": """
code = "import runpy; m = runpy.run_path(%r); m['tell'](m['read']())" % __file__
held = [open("/dev/null") for _ in range(20)]
done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
tell(json.loads(done.stdout[4:] or repr(done.stderr)))
""",
    **{
        f"multiprocessing {kind}": f"""
import multiprocessing as m
with m.get_context({kind!r}).Pool(2) as p: tell(p.apply(read))
"""
        for kind in ("fork", "spawn", "forkserver")
    },
    "loky": """
import joblib
tell(joblib.Parallel(n_jobs=2)(joblib.delayed(read)() for _ in range(2))[1])
""",
}


@pytest.mark.parametrize("run_dir", ["a run dir", "off"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_child_reads_the_data(fleet: Fleet, kind: str, run_dir: str) -> None:
    if kind == "loky":
        pytest.importorskip("joblib")
    content = os.urandom(3 << 20)
    (fleet.folder / "emb").write_bytes(content)
    (fleet.folder / "other").write_bytes(os.urandom(3 << 20))
    flags = ["-d", f"other={fleet.folder / 'other'}", "-d", f"emb={fleet.folder / 'emb'}", "--ready", "alive:10ms"]
    fleet.start([*flags, *(["--run-dir", "off"] if run_dir == "off" else [])], KINDS[kind] + "\nwait()")
    assert fleet.told()[0] == [hashlib.sha256(content).hexdigest(), 1]


def test_a_child_of_a_user_without_the_descriptor_gets_an_error(fleet: Fleet, executable: Callable[[str], str]) -> None:
    python = executable("nobody")
    for folder in (fleet.folder, fleet.folder.parent, fleet.folder.parent.parent):
        folder.chmod(0o755)  # pytest's are their user's only
    content = os.urandom(3 << 20)
    (fleet.folder / "emb").write_bytes(content)
    code = """
os.chdir("/")
child = "import hashlib, preforkd; print(hashlib.sha256(preforkd.buffer('emb')).hexdigest())"
for keep in ((), (int(os.environ["PREFORKD_DATA_EMB_FD"]),)):
    files = [open("/dev/null") for _ in range(20)]
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, pass_fds=keep)
    tell(done.stdout.strip() or done.stderr.strip().splitlines()[-1])
tell(read())
wait()
"""
    flags = ["-d", f"emb={fleet.folder / 'emb'}", "--ready", "alive:10ms", "--user", "nobody"]
    fleet.start(flags, code, python)
    lost, kept, mine = fleet.told(3)
    digest = hashlib.sha256(content).hexdigest()
    assert lost.startswith("preforkd._contract.Error: cannot reach version 1 of dataset 'emb'"), lost
    assert "pass_fds=(3,)" in lost
    assert (kept, mine) == (digest, [digest, 1])


def test_a_child_of_an_old_worker_gets_the_version_of_its_worker_or_an_error(fleet: Fleet) -> None:
    """The worker takes version 2 in its own way, without this package; the variables still name version 1."""
    file = fleet.folder / "emb"
    first, second = os.urandom(1 << 20), os.urandom(1 << 20)
    file.write_bytes(first)
    code = f"""
tell(read())
code = "import hashlib, preforkd; print(hashlib.sha256(preforkd.buffer('emb')).hexdigest())"
child = [sys.executable, "-c", code]
def check(*_):
    fd = os.memfd_create("emb", os.MFD_ALLOW_SEALING)
    os.write(fd, open({str(file)!r}, "rb").read())
    import fcntl
    fcntl.fcntl(fd, 1033, 15)
    number = int(os.environ["PREFORKD_DATA_EMB_FD"])
    os.dup2(fd, number)
    done = subprocess.run(child, capture_output=True, text=True, pass_fds=(number,))
    tell(done.stdout.strip() or done.stderr.strip().splitlines()[-1])
signal.signal(signal.SIGUSR1, check)
tell(os.getpid())
while True: wait()
"""
    fleet.start(["-d", f"emb={file}", "--ready", "alive:10ms", "--run-dir", "off"], code)
    digest, pid = fleet.told(2)
    assert digest == [hashlib.sha256(first).hexdigest(), 1]
    file.write_bytes(second)
    os.kill(pid, 10)
    assert fleet.told(3)[2] == hashlib.sha256(first).hexdigest(), "the path still leads to version 1"
