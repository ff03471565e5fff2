"""Accepting on real sockets: batches, the cap, holding back, and running out of descriptors."""

import asyncio
import errno
import os
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
import uvloop

from gateway.transport.accept import BATCH, Acceptor
from gateway.transport.settings import CertificateSettings, ListenTlsSettings
from gateway.transport.tls import read_pem, server_tls


class Greeter(asyncio.Protocol):
    """Says who the client is and keeps the connection."""

    open: set["Greeter"]

    def __init__(self, peer: str | None = None) -> None:
        self.peer = peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.open.add(self)
        address = self.peer or transport.get_extra_info("peername")[0]
        self.transport.write(f"hello {address}".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.discard(self)


class Gate:
    """An Admission whose answers the test sets."""

    def __init__(self) -> None:
        self.left = 1000
        self.is_ahead = False
        self.asked = 0

    def room(self) -> int:
        return self.left

    def ahead(self) -> bool:
        self.asked += 1
        return self.is_ahead


class Events:
    """Remembers what was counted."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def accept_paused(self) -> None:
        self.seen.append("paused")

    def rejected(self, reason: str) -> None:
        self.seen.append(f"rejected {reason}")

    def handshake_failed(self, reason: str) -> None:
        self.seen.append(f"handshake {reason}")


class Bench:
    """An acceptor on a loop of its own, and clients that the test drives without blocking it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stack: ExitStack) -> None:
        self.loop = loop
        self.stack = stack
        self.gate = Gate()
        self.events = Events()
        self.protocols: set[Greeter] = set()
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))

    def acceptor(self, **options: Any) -> Acceptor:
        greeter = type("G", (Greeter,), {"open": self.protocols})
        acceptor = Acceptor(self.loop, self.listener, greeter, admission=self.gate, events=self.events, **options)
        self.stack.callback(acceptor.close)
        acceptor.start()
        return acceptor

    def client(self) -> socket.socket:
        sock = self.stack.enter_context(socket.create_connection(self.listener.getsockname(), 5))
        sock.setblocking(False)
        return sock

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.005)

    async def greeting(self, sock: socket.socket) -> bytes:
        async with asyncio.timeout(10):
            return await self.loop.sock_recv(sock, 1000)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        loop = uvloop.new_event_loop()
        stack.callback(loop.close)
        yield Bench(loop, stack)


def test_more_connections_than_a_batch_are_all_served(bench: Bench) -> None:
    async def story() -> None:
        clients = [bench.client() for _ in range(3 * BATCH)]
        bench.acceptor()
        for client in clients:
            assert await bench.greeting(client) == b"hello 127.0.0.1"
            client.close()
        await bench.until(lambda: not bench.protocols)

    bench.loop.run_until_complete(story())


def test_a_connection_beyond_the_cap_is_refused_and_counted(bench: Bench) -> None:
    async def story() -> None:
        bench.gate.left = 0
        bench.acceptor(refusal=lambda: b"HTTP/1.1 503 Full\r\n\r\n")
        client = bench.client()
        assert await bench.greeting(client) == b"HTTP/1.1 503 Full\r\n\r\n"
        assert await bench.greeting(client) == b""
        assert bench.events.seen == ["rejected connection_limit"]
        bench.gate.left = 1
        assert await bench.greeting(bench.client()) == b"hello 127.0.0.1"

    bench.loop.run_until_complete(story())


def test_a_worker_that_is_ahead_holds_back_but_lets_nobody_wait_for_long(bench: Bench) -> None:
    async def story() -> None:
        bench.gate.is_ahead = True
        bench.acceptor()
        client = bench.client()
        begun = bench.loop.time()
        assert await bench.greeting(client) == b"hello 127.0.0.1"
        assert 0.004 <= bench.loop.time() - begun < 1
        assert bench.gate.asked == 1

    bench.loop.run_until_complete(story())


def test_out_of_descriptors_it_pauses_and_goes_on(bench: Bench) -> None:
    async def story() -> None:
        acceptor = bench.acceptor()
        clients = [bench.client() for _ in range(2)]
        assert await bench.greeting(clients[0]) == b"hello 127.0.0.1"
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        next_fd = os.dup(0)
        os.close(next_fd)
        waiting = bench.client()  # takes the last descriptor below the limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_fd + 1, before[1]))
        try:
            await bench.until(lambda: acceptor.state == "paused")
            spent = os.times()
            await asyncio.sleep(0.5)  # the time over which its CPU is measured
            used = os.times().user + os.times().system - spent.user - spent.system
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert used < 0.1, "it spins"
        assert await bench.greeting(waiting) == b"hello 127.0.0.1"
        assert bench.events.seen == ["paused"]
        assert acceptor.state == "accepting"

    bench.loop.run_until_complete(story())


def test_it_leaves_descriptors_to_others(bench: Bench) -> None:
    async def story() -> None:
        first, second = bench.client(), bench.client()
        acceptor = bench.acceptor(highest_fd=second.fileno())
        assert await bench.greeting(first) == b"hello 127.0.0.1"
        assert acceptor.state == "paused"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await bench.loop.sock_recv(second, 100)
        first.close()
        assert await bench.greeting(second) == b"hello 127.0.0.1"

    bench.loop.run_until_complete(story())


def test_errors_of_one_connection_are_passed_over(bench: Bench) -> None:
    class Aborting(socket.socket):
        """The first connection is gone when it is accepted."""

        aborted = False

        def _accept(self) -> tuple[int, Any]:
            fd, address = super()._accept()  # type: ignore[misc]
            if not self.aborted:
                self.aborted = True
                os.close(fd)
                raise OSError(errno.ECONNABORTED, "aborted")
            return fd, address

    async def story() -> None:
        bench.listener = Aborting(fileno=bench.listener.detach())
        clients = [bench.client(), bench.client()]
        bench.acceptor()
        with suppress(ConnectionResetError):
            assert await bench.greeting(clients[0]) == b""
        assert await bench.greeting(clients[1]) == b"hello 127.0.0.1"

    bench.loop.run_until_complete(story())


def test_stop_serves_what_is_queued_and_nothing_later(bench: Bench) -> None:
    async def story() -> None:
        queued = [bench.client() for _ in range(2 * BATCH)]
        acceptor = bench.acceptor()
        acceptor.stop()
        late = bench.client()
        for client in queued:
            assert await bench.greeting(client) == b"hello 127.0.0.1"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await bench.loop.sock_recv(late, 100)
        assert acceptor.state == "stopped"

    bench.loop.run_until_complete(story())


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    cert = ca.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    cert.private_key_pem.write_to_path(str(tmp_path / "key"))
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert"))
    client = ssl.create_default_context()
    ca.configure_trust(client)
    pair = CertificateSettings(read_pem(str(tmp_path / "cert")), read_pem(str(tmp_path / "key")))
    return server_tls(ListenTlsSettings((pair,))), client


async def _tls_greeting(bench: Bench, client: ssl.SSLContext, sock: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(sock=sock, ssl=client, server_hostname="localhost")
    try:
        return await reader.read(1000)
    finally:
        writer.transport.abort()


def test_tls_is_served_and_failures_are_counted(bench: Bench, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def story() -> None:
        acceptor = bench.acceptor(tls=tls[0], handshake_s=0.5)
        assert await _tls_greeting(bench, tls[1], bench.client()) == b"hello 127.0.0.1"
        plain, silent, gone = bench.client(), bench.client(), bench.client()
        plain.send(b"GET / HTTP/1.1\r\n\r\n")
        gone.close()
        await bench.until(lambda: len(bench.events.seen) == 3)
        assert sorted(bench.events.seen) == [
            "handshake client_closed",
            "handshake plain_http",
            "handshake timeout",
        ]
        with suppress(ConnectionResetError):
            assert await bench.greeting(silent) == b""
        await bench.until(lambda: acceptor.handshaking == 0)

    bench.loop.run_until_complete(story())


def test_the_proxy_header_comes_before_tls(bench: Bench, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def story() -> None:
        bench.acceptor(tls=tls[0], proxy_protocol=True, handshake_s=1)
        client = bench.client()
        client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n")
        assert await _tls_greeting(bench, tls[1], client) == b"hello 192.0.2.7"
        wrong = bench.client()
        wrong.send(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(ConnectionResetError):
            assert await bench.greeting(wrong) == b""
        assert bench.events.seen == ["rejected proxy_protocol"]

    bench.loop.run_until_complete(story())


def test_the_proxy_header_of_a_plain_connection(bench: Bench) -> None:
    async def story() -> None:
        bench.acceptor(proxy_protocol=True)
        client = bench.client()
        client.send(b"PROXY UNKNOWN\r\n")
        assert await bench.greeting(client) == b"hello 127.0.0.1"

    bench.loop.run_until_complete(story())
