"""The scripted upstream records and answers byte for byte."""

import contextlib
import socket

import pytest

from tests.support.upstream import Upstream, Wire, in_turn


def _talk(port: int, *sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        for piece in sent:
            sock.sendall(piece)
        with contextlib.suppress(OSError):  # reset already: what is read next says so
            sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_records_heads_and_raw_bodies_in_order() -> None:
    chunked = b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n"
    with Upstream(in_turn(b"one", b"two")) as upstream:
        assert _talk(upstream.port, b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", chunked) == b"onetwo"
    assert [each.line for each in upstream.requests] == [b"POST /a HTTP/1.1", b"POST /b HTTP/1.1"]
    assert [each.body for each in upstream.requests] == [b"hi", b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n"]
    assert upstream.requests[0].fields("content-LENGTH") == ["2"]


def test_reset_is_seen_as_a_reset() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        wire.reset()

    with Upstream(script) as upstream, pytest.raises(ConnectionResetError):
        _talk(upstream.port, b"GET / HTTP/1.1\r\n\r\n")


def test_a_script_that_raises_fails_the_with() -> None:
    async def script(wire: Wire) -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"), Upstream(script) as upstream:
        assert _talk(upstream.port) == b""
