"""WebSockets of ASGI applications through the real gateway."""

import asyncio
import base64
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from tests.support.corpus import request
from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.wait import until

APPS = Path(__file__).parents[1] / "support" / "apps"
SITE, PLAIN = APPS / "fastapi_site.py", APPS / "plain_asgi.py"
CONFIG = f"""
limits: {{header_timeout: 1s, body_timeout: 1s, keep_alive: 1s}}
routes:
  - {{name: site, match: /site/*, strip: /site, timeout: 1s, app: {{asgi: "{SITE}:app"}}}}
  - {{name: plain, match: /plain/*, strip: /plain, app: {{asgi: "{PLAIN}:app"}}}}
  - {{name: small, match: /small/*, strip: /small, body_limit: 1KiB, app: {{asgi: "{SITE}:app"}}}}
  - {{name: none, match: /none/*, strip: /none, upgrade: [], app: {{asgi: "{PLAIN}:app"}}}}
"""
KEY = base64.b64encode(bytes(16))
HANDSHAKE = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(CONFIG, tmp_path_factory.mktemp("websocket")) as gateway:
        yield gateway


@pytest.fixture
async def socket(gateway: Gateway) -> AsyncIterator[ClientConnection]:
    async with open_socket(gateway, "/site/echo") as connection:
        yield connection


def open_socket(gateway: Gateway, path: str, **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{gateway.port}{path}", max_size=1 << 24, proxy=None, **options)


async def soon(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(until, condition)


def notes(gateway: Gateway, app: str = "site") -> list[str]:
    told = httpx.get(f"{gateway.base_url}/{app}/notes", trust_env=False).json()
    return list(told["notes"] if app == "site" else told)


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    """As a client sends it."""
    return Frame(opcode, data, fin).serialize(mask=True)


def raw_socket(gateway: Gateway, path: bytes = b"/site/echo", *, early: bytes = b"") -> Raw:
    """A WebSocket whose frames are the test's own; `early` comes with the handshake."""
    raw = Raw(gateway.port)
    raw.send(request(*HANDSHAKE, line=b"GET %s HTTP/1.1" % path) + early)
    assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
    return raw


def close_code(data: bytes) -> int:
    """Of what ends in a close frame of the server's."""
    at = data.rindex(b"\x88")
    assert len(data) == at + 2 + data[at + 1]
    return int.from_bytes(data[at + 2 : at + 4], "big")


# --- messages -------------------------------------------------------------------------------------------------------


async def test_messages_go_both_ways(socket: ClientConnection) -> None:
    for message in ("hello", b"\x00\xff" * 1000, "", b"", "grüße", bytes(range(256)) * 16_384):
        await socket.send(message)
        assert await socket.recv() == message


async def test_many_messages_in_order(socket: ClientConnection) -> None:
    async def send() -> None:
        for number in range(2000):
            await socket.send(str(number))

    sending = asyncio.create_task(send())
    assert [await socket.recv() for _ in range(2000)] == [str(number) for number in range(2000)]
    await sending


async def test_fragments_become_one_message(socket: ClientConnection) -> None:
    await socket.send(["gr", "üß", "e"])
    assert await socket.recv() == "grüße"


async def test_a_ping_is_answered(socket: ClientConnection) -> None:
    await asyncio.wait_for(await socket.ping(b"there?"), 5)
    await socket.send("after")
    assert await socket.recv() == "after"


async def test_it_outlives_the_timeouts_of_requests(socket: ClientConnection) -> None:
    await asyncio.sleep(1.5)  # longer than every timeout of the route and of the client's connection
    await socket.send("after")
    assert await socket.recv() == "after"


def test_frames_that_come_with_the_handshake_are_not_lost(gateway: Gateway) -> None:
    text = frame(Opcode.TEXT, "grüße".encode())
    with raw_socket(gateway, early=text[:3]) as raw:
        for byte in text[3:]:
            raw.send(bytes([byte]))
        raw.until("grüße".encode())


# --- the handshake --------------------------------------------------------------------------------------------------


async def test_subprotocol_and_fields_of_the_accept(gateway: Gateway) -> None:
    offered = [Subprotocol("chat"), Subprotocol("other")]
    async with open_socket(gateway, "/site/echo", subprotocols=offered) as connection:
        assert connection.subprotocol == "chat"
        assert connection.response is not None
        assert connection.response.headers["x-mine"] == "1"
        assert connection.response.headers["x-request-id"]
        assert "sec-websocket-extensions" not in connection.response.headers


@pytest.mark.parametrize(("path", "status"), [("refused", 403), ("denied", 401), ("raises", 500), ("missing", 403)])
async def test_an_application_refuses(gateway: Gateway, path: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await open_socket(gateway, f"/site/{path}")
    response = refused.value.response
    assert response.status_code == status
    if path == "denied":
        assert response.headers["www-authenticate"] == "Basic"
        assert response.body == b'{"detail":"who are you?"}'
    if path == "raises":
        assert response.headers["x-gateway-reason"] == "handler_error"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((*HANDSHAKE[:2], b"Sec-WebSocket-Version: 8", HANDSHAKE[3]), 426),
        (HANDSHAKE[:3], 400),
        ((*HANDSHAKE[:3], b"Sec-WebSocket-Key: short"), 400),
        ((*HANDSHAKE, b"Content-Length: 5"), 400),
        ((*HANDSHAKE[:2], HANDSHAKE[3]), 400),
    ],
)
def test_bad_handshakes(gateway: Gateway, lines: tuple[bytes, ...], status: int) -> None:
    with Raw(gateway.port) as raw:
        answer = raw.send(request(*lines, line=b"GET /site/echo HTTP/1.1")).answer()
        assert answer.status == status
        if status == 426:
            assert answer.get("sec-websocket-version") == "13"
        else:
            assert answer.reason == "bad_request"


@pytest.mark.parametrize("line", [b"POST /plain/x HTTP/1.1", b"GET /plain/x HTTP/1.0", b"GET /none/x HTTP/1.1"])
def test_what_does_not_become_a_websocket(gateway: Gateway, line: bytes) -> None:
    with Raw(gateway.port) as raw:
        answer = raw.send(request(*HANDSHAKE, line=line)).answer()
    assert answer.status == 200
    assert b'"type": "http"' in answer.body


def test_the_scope(gateway: Gateway) -> None:
    lines = (*HANDSHAKE, b"Sec-WebSocket-Protocol: a, b", b"Origin: http://x.test")
    with Raw(gateway.port) as raw:
        answer = raw.send(request(*lines, line=b"GET /plain/early?x=1 HTTP/1.1")).answer()
    assert answer.reason == "handler_error", "http.response.start is no answer to a websocket"
    with httpx.Client(base_url=gateway.base_url, trust_env=False) as client:
        until(lambda: "http.response.start was sent where websocket.accept or websocket.close is due" in gateway.errors)
        assert client.get("/plain/x").json()["type"] == "http"


# --- the end --------------------------------------------------------------------------------------------------------


async def test_the_client_closes(gateway: Gateway) -> None:
    async with open_socket(gateway, "/site/echo") as connection:
        await connection.close(4002, "bye")
        assert connection.close_code == 4002
    await soon(lambda: "closed 4002 bye" in notes(gateway))


@pytest.mark.parametrize(
    ("said", "code", "reason"), [("close", 4001, "as asked"), ("return", 1000, ""), ("raise", 1011, "")]
)
async def test_the_application_closes(socket: ClientConnection, said: str, code: int, reason: str) -> None:
    await socket.send(said)
    with pytest.raises(ConnectionClosed):
        await socket.recv()
    assert (socket.close_code, socket.close_reason) == (code, reason)


async def test_a_client_that_vanishes(gateway: Gateway) -> None:
    connection = await open_socket(gateway, "/site/echo")
    await connection.send("x")
    assert await connection.recv() == "x"
    connection.transport.abort()
    await soon(lambda: any(note.startswith("closed 1006") for note in notes(gateway)))
    await soon(lambda: gateway.metric("gateway_http_requests_in_flight", route="site") == 0)


async def test_after_its_close_an_application_hears_of_the_end_and_may_say_no_more(gateway: Gateway) -> None:
    async with open_socket(gateway, "/plain/closes-and-waits") as connection:
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        assert (connection.close_code, connection.close_reason) == (4002, "done")
    expected = ["websocket.disconnect 4002"] * 2 + ["websocket.send was sent behind the end of the WebSocket"]
    await soon(lambda: notes(gateway, "plain")[-3:] == expected)


def test_a_client_that_does_not_answer_a_close_is_left(gateway: Gateway) -> None:
    with raw_socket(gateway) as raw:
        raw.send(frame(Opcode.TEXT, b"close"))
        assert close_code(raw.rest()) == 4001


async def test_codes_that_cannot_be_sent(gateway: Gateway) -> None:
    async with open_socket(gateway, "/plain/wrong-close") as connection:
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 1000, "of the end of the application"
    await soon(lambda: any("is not closed with 1006" in note for note in notes(gateway, "plain")))


@pytest.mark.parametrize("path", ["accept-twice", "send-first"])
def test_messages_out_of_order(gateway: Gateway, path: str) -> None:
    with Raw(gateway.port) as raw:
        raw.send(request(*HANDSHAKE, line=b"GET /plain/%s HTTP/1.1" % path.encode()))
        head = raw.until(b"\r\n\r\n")
        if path == "send-first":
            assert head.startswith(b"HTTP/1.1 500 ")
        else:
            assert close_code(raw.rest()) == 1011


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (Frame(Opcode.TEXT, b"not masked").serialize(mask=False), 1002),
        (frame(Opcode.CONT, b"of nothing"), 1002),
        (frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.TEXT, b"b"), 1002),
        (b"\xc1\x80\x00\x00\x00\x00", 1002),
        (b"\x83\x80\x00\x00\x00\x00", 1002),
        (b"\x89\xfe\x00\x7e" + bytes(4 + 126), 1002),
        (frame(Opcode.TEXT, b"\xff\xfe"), 1007),
        (frame(Opcode.TEXT, b"\xc3", fin=False) + frame(Opcode.CONT, b"("), 1007),
        (frame(Opcode.CLOSE, b"\x03"), 1002),
    ],
    ids=[
        "not masked",
        "continuation of nothing",
        "message within a message",
        "reserved bit",
        "unknown opcode",
        "large ping",
        "not UTF-8",
        "not UTF-8 in fragments",
        "half a close code",
    ],
)
def test_frames_that_break_the_protocol(gateway: Gateway, data: bytes, code: int) -> None:
    with raw_socket(gateway) as raw:
        assert close_code(raw.send(data).rest()) == code


@pytest.mark.parametrize("fragments", [1, 8])
def test_a_message_beyond_the_limit(gateway: Gateway, fragments: int) -> None:
    size = 2048 // fragments
    with raw_socket(gateway, b"/small/echo") as raw:
        for number in range(fragments):
            opcode = Opcode.CONT if number else Opcode.BINARY
            raw.send(frame(opcode, bytes(size), fin=number == fragments - 1))
        assert close_code(raw.rest()) == 1009
    with raw_socket(gateway, b"/small/echo") as raw:
        raw.send(frame(Opcode.BINARY, bytes(1024)))
        raw.until(bytes(1024))


# --- pressure -------------------------------------------------------------------------------------------------------


async def test_an_application_that_does_not_receive_is_not_flooded(gateway: Gateway) -> None:
    async with open_socket(gateway, "/site/mute/a", write_limit=65536) as connection:
        sent = 0
        try:
            async with asyncio.timeout(0.5):
                while sent < 1000:
                    await connection.send(bytes(65536))
                    sent += 1
        except TimeoutError:
            pass
        assert sent < 500, "the rest waits with the client"
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(f"{gateway.base_url}/site/open/a")
        await connection.send(b"end")
        assert int(await connection.recv()) in (sent * 65536, (sent + 1) * 65536)


async def test_a_client_that_does_not_receive_slows_the_application(gateway: Gateway) -> None:
    with raw_socket(gateway, b"/site/pours") as raw:

        def made() -> int:
            return int(httpx.get(f"{gateway.base_url}/site/notes", trust_env=False).json()["made"])

        counts = [made() for _ in range(20)]
        assert counts[-1] < 256, "not all was made for a client that takes nothing"
        taken = 0
        for piece in raw.pieces():
            taken += len(piece)
            if taken > 256 * 65536:
                return


def test_it_is_logged_when_it_ends(gateway: Gateway) -> None:
    with raw_socket(gateway, b"/site/echo?logged") as raw:
        raw.send(frame(Opcode.TEXT, b"twelve bytes")).until(b"twelve bytes")
        raw.send(frame(Opcode.CLOSE, b"\x03\xe8"))
        assert close_code(raw.rest()) == 1000

    def line() -> dict[str, Any] | None:
        found = [each for each in gateway.access_log() if each.get("stream") == "websocket" and each["bytes_in"] == 26]
        return found[-1] if found else None

    logged = until(line)
    assert logged is not None
    assert (logged["status"], logged["reason"], logged["source"], logged["bytes_out"]) == (101, None, "app", 18)


async def test_draining_closes_with_1001(serve: Callable[..., Gateway]) -> None:
    gateway = serve(CONFIG)
    async with open_socket(gateway, "/site/echo") as connection:
        await connection.send("x")
        assert await connection.recv() == "x"
        gateway.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(connection.recv(), 5)
        assert connection.close_code == 1001
    assert await asyncio.to_thread(gateway.process.wait, 5) == 0
    assert "requests were cut" not in gateway.errors
