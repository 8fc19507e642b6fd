# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Listeners are found by name, in the worker and its children, and are never some other socket."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

import preforkd
from preforkd import _sockets

from .conftest import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWER = """
import preforkd
s = preforkd.socket(NAME)
s.setblocking(True)
connection, _ = s.accept()
connection.sendall(NAME.encode())
connection.close()
"""


def talk(listener: socket.socket) -> bytes:
    """What who accepts from this listener says."""
    with socket.socket(listener.family) as client:
        client.settimeout(60)
        client.connect(listener.getsockname())
        return client.recv(100)


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[list[socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as http, socket.socket(socket.AF_UNIX) as admin:
        admin.bind(str(tmp_path / "admin.sock"))
        admin.listen()
        yield [http, admin]


def worker(code: str, listeners: list[socket.socket], pid: str = "os.getpid()", **env: str) -> str:
    """Run code as the process that was given these listeners, as systemd and preforkd give them."""
    first = "\n".join(f"os.dup2({s.fileno()}, {3 + i})" for i, s in enumerate(listeners) if s.fileno() != 3 + i)
    prologue = f"import os\n{first}\nos.environ['LISTEN_PID'] = str({pid})\n"
    env = {"LISTEN_FDS": str(len(listeners)), "LISTEN_FDNAMES": "http:admin", **env}
    return run(prologue + code, env=env, pass_fds=[s.fileno() for s in listeners])


@pytest.mark.parametrize("name", ["http", "admin"])
def test_listeners_are_found_by_name(listeners: list[socket.socket], name: str) -> None:
    chosen = listeners[["http", "admin"].index(name)]
    said: list[bytes] = []
    client = threading.Thread(target=lambda: said.append(talk(chosen)))
    client.start()
    worker(f"NAME = {name!r}\n" + ANSWER, listeners)
    client.join()
    assert said == [name.encode()]


def test_family_and_type_are_found_out_and_closing_one_leaves_the_listener(listeners: list[socket.socket]) -> None:
    code = """
import preforkd, socket
for _ in range(2):
    for name in ("http", "admin"):
        with preforkd.socket(name) as s:
            print(s.family == socket.AF_UNIX, s.type == socket.SOCK_STREAM, s.get_inheritable())
"""
    assert worker(code, listeners).splitlines() == ["False True False", "True True False"] * 2


def test_a_socketserver_takes_it(listeners: list[socket.socket]) -> None:
    code = """
import preforkd, socketserver
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"served")
server = socketserver.TCPServer(("", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = preforkd.socket()
server.handle_request()
server.server_close()
"""
    said: list[bytes] = []
    client = threading.Thread(target=lambda: said.append(talk(listeners[0])))
    client.start()
    worker(code, listeners)
    client.join()
    assert said == [b"served"]


def test_in_a_forked_child(listeners: list[socket.socket]) -> None:
    code = """
import preforkd, sys
pid = os.fork()
if not pid:
    try:
        print(preforkd.socket("admin").getsockname(), flush=True)
    except BaseException as e:
        print(repr(e), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""
    assert worker(code, listeners, PREFORKD_WORKER_ID="0").endswith("admin.sock")
    assert "NotFound" in worker(code, listeners), "sockets of systemd were meant for the process with that pid alone"


def test_another_socket_with_the_same_number_is_not_believed(listeners: list[socket.socket]) -> None:
    other = """
import preforkd, socket
fake = socket.socket(socket.AF_UNIX)
fake.bind("\\0preforkd-test-%d" % os.getpid())
KIND
os.dup2(fake.fileno(), 4)
try:
    preforkd.socket("admin")
except preforkd.Error as e:
    print(e)
"""
    # The worker above is this test's process, whose descriptor 4 is another one.
    for kind in ("fake.listen()", ""):
        text = worker(other.replace("KIND", kind), listeners, pid="os.getppid()", PREFORKD_WORKER_ID="0")
        assert text.startswith("cannot use listener 'admin': descriptor 4 of process"), text


def ipv6() -> bool:
    """Whether this machine has the address: containers often have not."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_outside_preforkd_the_default_is_bound(tmp_path: Path) -> None:
    for default in ("127.0.0.1:0", "[::1]:0", ":0", f"unix:{tmp_path / 's'}", f"unix:@preforkd-test-{os.getpid()}"):
        if "::1" in default and not ipv6():
            continue
        with preforkd.socket("web", default=default) as s, preforkd.socket("web", default=default) as same:
            assert s.getsockname() == same.getsockname()
            assert s.fileno() != same.fileno()
            with socket.socket(s.family) as client:
                client.connect(s.getsockname())
                s.accept()[0].close()


def test_what_cannot_be_bound_or_found_is_an_error(listeners: list[socket.socket]) -> None:
    taken = f"127.0.0.1:{listeners[0].getsockname()[1]}"
    for address in (taken, "nowhere.invalid:0", "127.0.0.1:99999", "unix:/no/such/dir/s"):
        with pytest.raises(preforkd.Error, match=r"^cannot listen at .*: give a free one"):
            preforkd.socket("web", default=address)
    with pytest.raises(
        preforkd.NotFound, match=r"^cannot find listener 'http': preforkd gave none.*preforkd -l http=:8000"
    ):
        preforkd.socket()
    text = worker("import preforkd\ntry: preforkd.socket('web')\nexcept LookupError as e: print(e)", listeners)
    assert text.startswith("cannot find listener 'web': preforkd gave this worker http, admin.")


@pytest.mark.parametrize(
    "address",
    [
        "8000", "0", "", ":", "localhost", "localhost:", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1: 0",
        "127.0.0.1:0_0", ":٣", "::1:0", "::1", "[::1:0", "[::1]0", "http://127.0.0.1:0", "fd://3", "unix:", "unix:@",
        0, 8000, b"127.0.0.1:0", ("127.0.0.1", 0),
    ],
)  # fmt: skip
def test_an_address_is_written_in_full(address: Any) -> None:
    kind = preforkd.Error if isinstance(address, str) else TypeError
    with pytest.raises(kind, match="^cannot listen at .*: write '127.0.0.1:8000'") as e:
        preforkd.socket("web", default=address)
    assert isinstance(e.value, preforkd.Error)


def test_an_address_without_a_host_is_every_address_as_with_preforkd() -> None:
    with preforkd.socket("web", default=":0") as s:
        port = s.getsockname()[1]
        for host in ["127.0.0.1", *(["::1"] if ipv6() else [])]:
            with socket.create_connection((host, port), 60):
                s.accept()[0].close()


def test_names_may_be_missing(listeners: list[socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    with pytest.raises(preforkd.NotFound, match="gave this worker unknown, unknown"):
        preforkd.socket()
    monkeypatch.setenv("LISTEN_FDS", "many")
    with pytest.raises(preforkd.NotFound, match="gave none"):
        preforkd.socket()


def test_a_number_that_is_no_socket_costs_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/null") as null:
        monkeypatch.setattr(_sockets, "_FIRST", null.fileno())
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_FDNAMES", "http")
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with pytest.raises(preforkd.Error, match="^cannot use listener 'http'"):
                preforkd.socket("http")
        assert len(os.listdir("/proc/self/fd")) == before


def test_threads_that_ask_at_once_bind_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real, other = _sockets._bind, threading.Event()
    bound: list[str] = []

    def slow(name: str, address: str) -> socket.socket:
        bound.append(name)
        if len(bound) > 1:
            other.set()
        other.wait(0.5)
        return real(name, address)

    monkeypatch.setattr(_sockets, "_bind", slow)
    found: list[socket.socket] = []
    threads = [threading.Thread(target=lambda: found.append(preforkd.socket(default="127.0.0.1:0"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bound == ["http"]
    assert len({s.getsockname() for s in found}) == 1
    for s in found:
        s.close()
