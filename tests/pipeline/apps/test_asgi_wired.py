"""ASGI exchanges on byte wires: what takes too long for sockets, or must happen at one moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from gateway.pipeline.apps import asgi, asgi_websocket
from gateway.pipeline.settings import AppSettings
from tests.support.corpus import request
from tests.support.wired import ByteWire, Wired, proxy

PLAIN = Path(__file__).parents[2] / "support" / "apps" / "plain_asgi.py"
HANDSHAKE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


@pytest.fixture
async def wired() -> AsyncIterator[Wired]:
    wired = Wired(proxy(route={"answer": AppSettings("asgi", f"{PLAIN}:app")}))
    await wired.gateway.start()
    yield wired
    await wired.gateway.stop()


async def happens(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the wires have no event
            await asyncio.sleep(0.005)


async def open_socket(wired: Wired, path: bytes = b"/mute") -> ByteWire:
    client = wired.client()
    client.send(request(*HANDSHAKE, line=b"GET %s HTTP/1.1" % path))
    await happens(lambda: client.received.endswith(b"\r\n\r\n"))
    assert client.clear().startswith(b"HTTP/1.1 101 ")
    return client


def frame(opcode: Opcode, data: bytes = b"") -> bytes:
    return Frame(opcode, data).serialize(mask=True)


async def test_a_client_that_is_silent_is_asked_and_given_up(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_websocket, "PING_S", 0.05)
    client = await open_socket(wired)
    for _ in range(3):
        await happens(lambda: b"\x89\x00" in client.received)
        client.clear()
        client.send(frame(Opcode.PONG))
    await happens(lambda: b"\x89\x00" in client.received)
    await happens(lambda: b"\x88\x15\x03\xf3no answer to a ping" in client.received)
    assert client.ended
    assert (wired.log[-1].status, wired.log[-1].stream) == (101, "websocket")


async def test_who_says_something_is_not_asked(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_websocket, "PING_S", 0.05)
    client = await open_socket(wired)
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < began + 0.2:
        client.send(frame(Opcode.PONG))
        await asyncio.sleep(0.01)  # shorter than the time after which it would be asked
    assert b"\x89\x00" not in client.received


async def test_a_close_that_is_not_answered(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_websocket, "CLOSE_S", 0.05)
    client = await open_socket(wired)
    wired.gateway.begin_drain()
    await happens(lambda: client.received == b"\x88\x02\x03\xe9")
    assert wired.gateway.in_flight == 1
    await happens(lambda: wired.gateway.in_flight == 0)
    assert client.ended


async def test_all_that_was_held_is_given_back(wired: Wired) -> None:
    buffered = wired.gateway.buffered
    for end in ("reset", "eof", "close"):
        client = await open_socket(wired)
        client.send(frame(Opcode.BINARY, bytes(100_000)) + frame(Opcode.BINARY, bytes(1000))[:500])
        assert buffered.value > 100_000
        assert client.paused, "the application does not receive"
        if end == "reset":
            client.reset()
        elif end == "eof":
            client.send_eof()
        else:
            wired.gateway.begin_drain()
            client.send(frame(Opcode.BINARY, bytes(1000))[500:] + frame(Opcode.CLOSE, b"\x03\xe9"))
        await happens(lambda: wired.gateway.in_flight == 0)
        assert buffered.value == 0, end


@pytest.mark.parametrize("path", [b"/silent", b"/mute", b"/listens"])
async def test_a_client_that_leaves_at_any_time(wired: Wired, path: bytes) -> None:
    """Before the application began, in it, and while it answers a handshake."""
    for turns in range(8):
        client = wired.client()
        client.send(request(*HANDSHAKE, line=b"GET %s HTTP/1.1" % path))
        for _ in range(turns):
            await asyncio.sleep(0)
        client.reset()
        await happens(lambda: wired.gateway.in_flight == 0)
        assert wired.gateway.buffered.value == 0


async def test_a_stream_that_does_not_hear_of_its_clients_end(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "LEAVE_S", 0.05)
    client = wired.client()
    client.send(request(line=b"GET /silent-behind-the-head HTTP/1.1"))
    await happens(lambda: client.received.endswith(b"1\r\nx\r\n"))
    client.reset()
    other = wired.client()

    def is_cancelled() -> bool:
        other.send(request(line=b"GET /notes HTTP/1.1"))
        return b"/silent-behind-the-head cancelled" in other.received

    await happens(is_cancelled)
