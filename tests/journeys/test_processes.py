"""The process tree: workers die, hang and run out; the gateway is told to stop; and what clients see of it."""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.upstream import OK, Upstream, Wire
from tests.support.wait import until

Serve = Callable[..., Gateway]
Start = Callable[..., Upstream]

PING = "routes: [{name: ping, match: /ping, respond: {status: 200, body: pong}}]\n"


def proxying(upstream: Upstream, more: str = "") -> str:
    return f'{more}\nupstreams: {{u: "{upstream.url}"}}\nroutes: [{{name: all, match: "/*", to: u}}]\n'


def get(port: int, path: str = "/ping") -> http.client.HTTPResponse:
    """A whole exchange on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Connection": "close"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


class Hold:
    """An upstream script that answers when the test lets it."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.release = threading.Event()

    async def __call__(self, wire: Wire) -> None:
        await wire.request()
        self.arrived.set()
        while not self.release.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.01)
        await wire.send(OK)


@pytest.fixture
def hold() -> Hold:
    return Hold()


class Client:
    """One request in flight, on a thread."""

    def __init__(self, port: int) -> None:
        self.answer: http.client.HTTPResponse | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(port,))
        self._thread.start()

    def _run(self, port: int) -> None:
        try:
            self.answer = get(port, "/slow")
        except (OSError, http.client.HTTPException) as error:
            self.error = error

    def join(self) -> "Client":
        self._thread.join(20)
        return self


class Load(threading.Thread):
    """Requests one after the other, each on a new connection, until stopped."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._stopping = False
        self.served = 0
        self.failed = 0
        self.slowest_s = 0.0

    def run(self) -> None:
        while not self._stopping:
            begun = time.monotonic()
            try:
                self.served += get(self._port, "/x").status == 200
            except (OSError, http.client.HTTPException):
                self.failed += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - begun)

    def stop(self) -> None:
        self._stopping = True
        self.join(20)


def test_killing_a_worker_costs_only_what_it_held(serve: Serve, upstream: Start) -> None:
    gateway = serve(proxying(upstream(), "workers: 2"))
    loads = [Load(gateway.port) for _ in range(3)]
    for load in loads:
        load.start()
    until(lambda: sum(load.served for load in loads) > 50)
    seen: list[float] = []

    def counted() -> float:
        seen.append(gateway.metric("gateway_http_requests_total"))
        return seen[-1]

    until(counted)
    victim, survivor = gateway.workers()
    os.kill(victim, signal.SIGKILL)
    begun = time.monotonic()
    assert get(gateway.port, "/x").status == 200
    assert time.monotonic() - begun < 1
    until(lambda: counted() and len(gateway.workers()) == 2)
    enough = sum(load.served for load in loads) + 50
    until(lambda: sum(load.served for load in loads) > enough)
    for load in loads:
        load.stop()
    assert sum(load.failed for load in loads) <= len(loads), "each load has one request in flight"
    assert max(load.slowest_s for load in loads) < 2, "a connect hung"
    assert survivor in gateway.workers()
    served = sum(load.served for load in loads)
    # The victim's last half second is lost; everything else is counted.
    until(lambda: counted() >= served * 0.5)
    assert seen == sorted(seen), "a counter went backwards"
    assert gateway.metric("gateway_worker_restarts_total", reason="killed") == 1


def test_no_connect_hangs_while_a_worker_is_stopped_and_it_is_replaced(serve: Serve) -> None:
    gateway = serve(PING + "workers: 2\n", hung_after_s=3.0)
    stopped = gateway.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    for _ in range(30):
        begun = time.monotonic()
        assert get(gateway.port).status == 200
        assert time.monotonic() - begun < 1
    until(lambda: len(gateway.workers()) == 2 and stopped not in gateway.workers(), 15, gateway.errors)
    assert gateway.metric("gateway_worker_restarts_total", reason="hung") == 1
    assert f"(pid {stopped}) does not answer" in gateway.errors


def test_a_second_gateway_on_the_same_address_is_refused(serve: Serve) -> None:
    first = serve(PING)
    second = serve(f"listen: 127.0.0.1:{first.port}\n{PING}", wait=False)
    assert second.process.wait(15) == 1
    assert f"127.0.0.1:{first.port} is already in use by " in second.errors
    assert "Traceback" not in second.errors
    assert get(first.port).status == 200


def test_sigterm_finishes_what_is_in_flight(serve: Serve, upstream: Start, hold: Hold) -> None:
    gateway = serve(proxying(upstream(hold), "workers: 2"))
    client = Client(gateway.port)
    assert hold.arrived.wait(10)
    gateway.signal(signal.SIGTERM)
    until(lambda: is_refused(gateway.port), what="the address closed")
    assert gateway.admin("/readyz")[0] == 503
    assert gateway.process.poll() is None
    hold.release.set()
    answer = client.join().answer
    assert answer is not None, client.error
    assert (answer.status, answer.getheader("connection")) == (200, "close")
    assert gateway.process.wait(5) == 0


def test_connections_queued_at_the_end_are_served(serve: Serve) -> None:
    gateway = serve(PING)
    worker = gateway.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    queued = [socket.create_connection(("127.0.0.1", gateway.port), 5) for _ in range(20)]
    for sock in queued:
        sock.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
    gateway.signal(signal.SIGTERM)
    until(lambda: "draining" in gateway.errors)
    os.kill(worker, signal.SIGCONT)
    for sock in queued:
        with sock, sock.makefile("rb") as answer:
            whole = answer.read()
            assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
            assert whole.endswith(b"pong")
    assert gateway.process.wait(5) == 0


def test_shutdown_wait_keeps_accepting(serve: Serve) -> None:
    gateway = serve(PING + "shutdown: {wait: 1500ms}\n")
    gateway.signal(signal.SIGTERM)
    until(lambda: gateway.admin("/readyz")[0] == 503)
    begun = time.monotonic()
    assert get(gateway.port).status == 200
    assert gateway.metric("gateway_draining") == 1
    assert gateway.process.wait(10) == 0
    assert time.monotonic() - begun > 0.8


def test_a_second_signal_ends_at_once(serve: Serve, upstream: Start, hold: Hold) -> None:
    gateway = serve(proxying(upstream(hold), "shutdown: {wait: 60s}"))
    client = Client(gateway.port)
    assert hold.arrived.wait(10)
    gateway.signal(signal.SIGINT)
    until(lambda: gateway.admin("/readyz")[0] == 503)
    begun = time.monotonic()
    gateway.signal(signal.SIGTERM)
    assert gateway.process.wait(5) == 0
    assert time.monotonic() - begun < 2
    hold.release.set()
    assert client.join().error is not None


def test_what_is_not_done_in_time_is_cut_and_said(serve: Serve, upstream: Start, hold: Hold) -> None:
    gateway = serve(proxying(upstream(hold), "shutdown: {drain: 500ms}"))
    client = Client(gateway.port)
    assert hold.arrived.wait(10)
    assert gateway.stop(5) == 0
    assert "1 requests were cut after 0.5 s" in gateway.errors
    hold.release.set()
    assert client.join().error is not None


def test_without_a_supervisor_workers_finish_and_end(serve: Serve, upstream: Start, hold: Hold) -> None:
    gateway = serve(proxying(upstream(hold), "workers: 2"))
    workers = gateway.workers()
    client = Client(gateway.port)
    assert hold.arrived.wait(10)
    gateway.kill()
    until(lambda: is_refused(gateway.port), what="the address closed")
    hold.release.set()
    assert client.join().answer is not None, client.error
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_out_of_descriptors_it_pauses_without_spinning_and_recovers(serve: Serve) -> None:
    gateway = serve(PING, descriptors=64)
    assert "limits.connections is 20000, but a process may have only 64 files open" in gateway.errors
    worker = gateway.workers()[0]
    held = [socket.create_connection(("127.0.0.1", gateway.port), 5) for _ in range(80)]
    until(lambda: gateway.metric("gateway_accept_paused_total") >= 1)
    before = _cpu_s(worker)
    time.sleep(1.0)  # the time over which its CPU is measured
    assert _cpu_s(worker) - before < 0.2
    assert gateway.metric("gateway_connections_open") < 64
    for sock in held:
        sock.close()
    assert get(gateway.port).status == 200
    assert gateway.workers() == [worker]
    assert gateway.errors.count("accepting is paused") <= 5


def test_the_connection_cap_holds_over_all_workers(serve: Serve) -> None:
    gateway = serve(PING + "workers: 2\nlimits: {connections: 4}\n")
    held = []
    for count in range(1, 5):
        held.append(socket.create_connection(("127.0.0.1", gateway.port), 5))
        until(lambda: sum(each["connections"] for each in gateway.status()["workers"]) == count)  # noqa: B023
    answer = get(gateway.port)
    assert (answer.status, answer.getheader("x-gateway-reason")) == (503, "shed_overload")
    assert answer.getheader("x-request-id")
    until(lambda: gateway.metric("gateway_connections_rejected_total", reason="connection_limit") == 1)
    held.pop().close()
    until(lambda: get(gateway.port).status == 200)
    for sock in held:
        sock.close()


def _has_open(pid: int, path: Path) -> bool:
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(each) == str(path):
                return True
    return False


def test_sigusr1_reopens_the_access_log(serve: Serve, tmp_path: Path) -> None:
    log, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    gateway = serve(f"{PING}workers: 2\naccess_log: {{path: {log}}}\n")
    get(gateway.port)
    until(lambda: log.read_text().count("\n") == 1)
    log.rename(rotated)
    workers = gateway.workers()
    assert [_has_open(pid, rotated) for pid in workers] == [True, True]
    gateway.signal(signal.SIGUSR1)
    until(lambda: not any(_has_open(pid, rotated) for pid in workers))
    get(gateway.port)
    until(lambda: log.read_text().count("\n") == 1)
    assert rotated.read_text().count("\n") == 1


def test_sighup_is_answered_and_harmless(serve: Serve) -> None:
    gateway = serve(PING)
    workers = gateway.workers()
    gateway.signal(signal.SIGHUP)
    until(lambda: "reloaded: nothing changed" in gateway.errors)
    assert get(gateway.port).status == 200
    assert gateway.workers() == workers


def test_signals_to_the_whole_group_are_the_supervisors_affair(serve: Serve) -> None:
    gateway = serve(PING + "shutdown: {wait: 1s}\n")
    worker = gateway.workers()[0]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(worker, number)
    assert get(gateway.port).status == 200
    assert gateway.workers() == [worker]


def test_a_wrong_config_ends_with_2_and_says_where(serve: Serve) -> None:
    gateway = serve("rutes: []\n" + PING, wait=False)
    assert gateway.process.wait(15) == 2
    assert "gateway.yaml:" in gateway.errors
    assert "did you mean" in gateway.errors
    assert "Traceback" not in gateway.errors


def test_unix_and_inherited_sockets_are_served(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    gateway = serve(f'listen: ["unix:{path}", "127.0.0.1:0"]\n{PING}')
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        with sock.makefile("rb") as answer:
            assert answer.read().endswith(b"pong")
    assert get(int(gateway.base_urls[1].rpartition(":")[2])).status == 200
    assert gateway.stop() == 0
    assert not path.exists()


def _command(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words], capture_output=True, text=True, timeout=20, check=False
    )


def test_status_and_drain_talk_to_a_running_gateway(serve: Serve) -> None:
    gateway = serve(PING)
    get(gateway.port)
    admin = gateway.admin_url.removeprefix("http://")
    until(lambda: gateway.metric("gateway_http_requests_total") == 1)
    shown = _command("status", "--admin", admin)
    assert shown.returncode == 0
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert any(line[:3] == ["0", str(gateway.workers()[0]), "serving"] for line in lines), lines
    assert _command("drain", "--admin", admin).returncode == 0
    assert gateway.process.wait(5) == 0
    gone = _command("status", "--admin", admin)
    assert gone.returncode == 1
    assert gone.stderr == (
        f"no gateway answers at {admin} ([Errno 111] Connection refused); is it running, and is --admin its address?\n"
    )


def test_commands_ask_an_admin_address_that_is_a_unix_socket(tmp_path: Path) -> None:
    socket_path = tmp_path / "admin.sock"
    admin = f"unix:{socket_path}"
    with Gateway(f"admin: {admin}\n{PING}", tmp_path, wait=False) as gateway:
        until(lambda: socket_path.exists() and "serving" in _command("status", "--admin", admin).stdout)
        assert _command("reload", "--admin", admin).returncode == 0
        assert _command("top", "--once", "--admin", admin).returncode == 0
        assert _command("drain", "--admin", admin).returncode == 0
        assert gateway.process.wait(5) == 0
    gone = _command("status", "--admin", admin)
    assert gone.returncode == 1
    assert gone.stderr.startswith(f"no gateway answers at {admin} (")
    assert "descriptor" in _command("status", "--admin", "fd:3").stderr
