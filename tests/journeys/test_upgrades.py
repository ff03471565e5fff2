"""WebSockets and other upgrades through the real gateway."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.corpus import request
from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import Upstream, Wire
from tests.support.wait import until


class Echo:
    """A WebSocket server that says back what it hears; on a loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)
        self.closed: list[int | None] = []
        """Close codes of the connections that ended."""
        self.fields: list[dict[str, str]] = []

    async def _run(self) -> None:
        async with serve(
            self._handle,
            "127.0.0.1",
            0,
            max_size=1 << 24,
            select_subprotocol=lambda _, offered: offered[0] if offered else None,
        ) as server:
            self.port = self._port(server)
            self._ready.set()
            await self._stop.wait()

    @staticmethod
    def _port(server: Server) -> int:
        return int(next(iter(server.sockets)).getsockname()[1])

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.fields.append({name.lower(): value for name, value in connection.request.headers.raw_items()})
        try:
            async for message in connection:
                if message == "close":
                    await connection.close(4001, "as asked")
                else:
                    await connection.send(message)
        except ConnectionClosed:
            pass
        self.closed.append(connection.close_code)

    def __enter__(self) -> "Echo":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


async def _switching(wire: Wire) -> None:
    """Speaks a protocol of its own behind an upgrade: says back what it hears in capitals, until EOF."""
    recorded = await wire.request()
    protocol = (recorded.fields("upgrade") or ["none"])[0]
    if protocol == "none":
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nplain"[:-1])
        return
    await wire.send(f"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\nhello ".encode())
    while data := await wire.reader.read(65536):
        await wire.send(data.upper())


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with Echo() as echo:
        yield echo


@pytest.fixture(scope="module")
def switching() -> Iterator[Upstream]:
    with Upstream(_switching) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(echo: Echo, switching: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = f"""
limits: {{header_timeout: 1s, body_timeout: 1s, keep_alive: 1s}}
upstreams:
  echo: {{targets: ["http://127.0.0.1:{echo.port}"], timeout: {{idle: off}}}}
  impatient: {{targets: ["http://127.0.0.1:{echo.port}"], timeout: {{idle: 600ms}}}}
  own: "{switching.url}"
routes:
  - {{name: echo, match: /echo, to: echo, timeout: 1s}}
  - {{name: impatient, match: /impatient, to: impatient}}
  - {{name: own, match: "/own", to: own}}
"""
    with Gateway(config, Path(tmp_path_factory.mktemp("gateway"))) as gateway:
        yield gateway


@pytest.fixture
async def socket(gateway: Gateway) -> AsyncIterator[ClientConnection]:
    async with connect(_url(gateway, "/echo"), max_size=1 << 24, proxy=None) as connection:
        yield connection


def _url(gateway: Gateway, path: str) -> str:
    return f"ws://127.0.0.1:{gateway.port}{path}"


async def _until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(until, condition)


async def test_messages_go_both_ways(socket: ClientConnection) -> None:
    for message in ("hello", b"\x00\xff" * 1000, "", "grüße"):
        await socket.send(message)
        assert await socket.recv() == message


async def test_large_messages(socket: ClientConnection) -> None:
    message = bytes(range(256)) * 16_384  # 4 MiB
    await socket.send(message)
    assert await socket.recv() == message


async def test_many_messages_in_order(socket: ClientConnection) -> None:
    async def send() -> None:
        for number in range(2000):
            await socket.send(str(number))

    sending = asyncio.create_task(send())
    assert [await socket.recv() for _ in range(2000)] == [str(number) for number in range(2000)]
    await sending


async def test_a_tunnel_outlives_the_timeouts_of_requests(socket: ClientConnection) -> None:
    await socket.send("before")
    assert await socket.recv() == "before"
    await asyncio.sleep(1.5)  # longer than every timeout of the route and of the client's connection
    await socket.send("after")
    assert await socket.recv() == "after"


async def test_pings_and_closes_cross(gateway: Gateway, echo: Echo) -> None:
    async with connect(_url(gateway, "/echo"), proxy=None) as connection:
        await (await connection.ping())
        await connection.close(4002, "bye")
    await _until(lambda: 4002 in echo.closed)
    async with connect(_url(gateway, "/echo"), proxy=None) as connection:
        await connection.send("close")
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        assert (connection.close_code, connection.close_reason) == (4001, "as asked")


async def test_a_client_that_vanishes_is_told_to_the_upstream(gateway: Gateway, echo: Echo) -> None:
    connection = await connect(_url(gateway, "/echo"), proxy=None)
    await connection.send("x")
    assert await connection.recv() == "x"
    ended = len(echo.closed)
    connection.transport.abort()
    await asyncio.wait_for(_until(lambda: len(echo.closed) > ended), 2)
    until(lambda: gateway.metric("gateway_http_requests_in_flight", route="echo") == 0)


async def test_a_silent_tunnel_ends(gateway: Gateway) -> None:
    async with connect(_url(gateway, "/impatient"), proxy=None, ping_interval=None) as connection:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(connection.recv(), 5)


async def test_subprotocols_and_fields_cross(gateway: Gateway, echo: Echo) -> None:
    async with connect(
        _url(gateway, "/echo"),
        subprotocols=["chat"],
        additional_headers={"X-Mine": "1"},
        proxy=None,  # type: ignore[list-item]
    ) as connection:
        assert connection.subprotocol == "chat"
        assert connection.response is not None
        assert "x-request-id" in connection.response.headers
    assert echo.fields[-1]["x-mine"] == "1"
    assert echo.fields[-1]["x-forwarded-for"] == "127.0.0.1"


async def test_a_tunnel_is_logged_when_it_ends(gateway: Gateway) -> None:
    async with connect(_url(gateway, "/echo"), proxy=None, user_agent_header="twelve") as connection:
        await connection.send("twelve bytes")
        await connection.recv()
    await _until(lambda: _tunnels(gateway, "twelve"))
    (logged,) = _tunnels(gateway, "twelve")
    assert (logged["status"], logged["reason"], logged["source"]) == (101, None, "upstream")
    assert logged["bytes_out"] > 12
    assert logged["bytes_in"] > 12


def _tunnels(gateway: Gateway, client: str) -> list[dict[str, Any]]:
    return [each for each in gateway.access_log() if each["stream"] == "websocket" and each["user_agent"] == client]


def test_a_protocol_that_the_route_does_not_take_is_dropped(gateway: Gateway, switching: Upstream) -> None:
    for lines in (
        [b"Connection: Upgrade", b"Upgrade: foo/2"],
        [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"],
    ):
        switching.requests.clear()
        with Raw(gateway.port) as raw:
            answer = raw.send(request(*lines, line=b"GET /own HTTP/1.1")).answer()
            assert (answer.status, answer.body) == (200, b"plai")
        (seen,) = switching.requests
        assert seen.fields("upgrade") == seen.fields("connection") == seen.fields("http2-settings") == []


def test_bytes_behind_the_request_go_through_the_tunnel_and_the_last_are_not_lost(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(b"Connection: Upgrade", b"Upgrade: WebSocket", line=b"GET /own HTTP/1.1") + b"early ")
        head = raw.until(b"\r\n\r\n").lower()
        assert head.startswith(b"http/1.1 101 switching protocols\r\n")
        assert b"\r\nupgrade: websocket\r\n" in head
        raw.until(b"hello ")
        raw.until(b"EARLY ")
        raw.send(b"late")
        raw.until(b"LATE")
