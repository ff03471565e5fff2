"""WebSockets without I/O: the same messages whatever the cuts, and no bytes that it cannot take."""

import base64
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gateway.core.errors import GatewayError
from gateway.wire.websocket import WebSocket

KEY = base64.b64encode(b"the sample nonce").decode()
LINES = [
    ("Host", "gateway.test"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
]
FRAGMENTS = st.lists(st.binary(max_size=300), min_size=1, max_size=4)


def made(max_bytes: int | None = 4096) -> WebSocket:
    return WebSocket("/", LINES, max_bytes)


def frames(opcode: Opcode, fragments: list[bytes]) -> bytes:
    """One message as a client sends it, with a ping behind each fragment."""
    last = len(fragments) - 1
    return b"".join(
        Frame(Opcode.CONT if number else opcode, data, number == last).serialize(mask=True)
        + Frame(Opcode.PING, b"p").serialize(mask=True)
        for number, data in enumerate(fragments)
    )


def test_the_accept_of_the_standard() -> None:
    lines = [line for line in LINES if line[0] != "Sec-WebSocket-Key"]
    websocket = WebSocket("/", [*lines, ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")], None)
    assert websocket.accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3


@pytest.mark.parametrize("missing", ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_handshakes_that_lack_something(missing: str) -> None:
    with pytest.raises(GatewayError, match="bad_request: the WebSocket handshake is not valid"):
        WebSocket("/", [line for line in LINES if line[0] != missing], None)


@given(st.lists(st.tuples(st.booleans(), FRAGMENTS), max_size=4), st.lists(st.integers(0, 3000), max_size=8))
def test_any_cut_gives_the_same_messages(messages: list[tuple[bool, list[bytes]]], cuts: list[int]) -> None:
    sent = [[b"".join(parts).hex().encode()] if is_text else parts for is_text, parts in messages]
    data = b"".join(
        frames(Opcode.TEXT if is_text else Opcode.BINARY, parts)
        for (is_text, _), parts in zip(messages, sent, strict=True)
    )
    websocket = made()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    received = [message for start, end in pairwise(places) for message in websocket.feed(data[start:end])]
    whole = [b"".join(parts) for parts in sent]
    assert received == [part.decode() if is_text else part for (is_text, _), part in zip(messages, whole, strict=True)]
    assert websocket.unfinished == 0
    pongs, ends = websocket.to_send()
    assert not ends
    assert pongs == b"\x8a\x01p" * sum(map(len, sent))


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_no_bytes_that_it_cannot_take(first: bytes, second: bytes) -> None:
    """Whatever comes: messages within the limit, or one close and nothing behind it."""
    websocket = made(1000)
    for data in (first, second):
        assert all(len(message) <= 1000 for message in websocket.feed(data))
    _, ends = websocket.to_send()
    if ends:
        assert websocket.feed(frames(Opcode.TEXT, [b"late"])) == []
        assert websocket.to_send() == (b"", False)
        assert not websocket.is_open
    websocket.eof()


@pytest.mark.parametrize("cut", range(1, 5))
def test_text_is_checked_where_it_is_whole(cut: int) -> None:
    data = "ü€".encode()
    assert made().feed(frames(Opcode.TEXT, [data[:cut], data[cut:]])) == ["ü€"]
    websocket = made()
    assert websocket.feed(frames(Opcode.TEXT, [data[:cut], b"\xff"])) == []
    assert websocket.ended_by == (1007, "a text message is not UTF-8")


def test_many_empty_fragments_hold_nothing() -> None:
    websocket = made()
    websocket.feed(Frame(Opcode.BINARY, b"", False).serialize(mask=True))
    for _ in range(1000):
        websocket.feed(Frame(Opcode.CONT, b"", False).serialize(mask=True))
    assert websocket.unfinished == 0
    assert websocket.feed(Frame(Opcode.CONT, b"end", True).serialize(mask=True)) == [b"end"]


def test_the_limit_holds_over_all_fragments() -> None:
    websocket = made(10)
    websocket.feed(frames(Opcode.BINARY, [b"12345", b"67890"]))
    assert websocket.is_open
    websocket.feed(frames(Opcode.BINARY, [b"12345", b"678901"]))
    assert websocket.ended_by[0] == 1009


def test_a_close_is_answered_with_the_same_code() -> None:
    websocket = made()
    assert websocket.feed(Frame(Opcode.CLOSE, b"\x0f\xa2bye").serialize(mask=True)) == []
    assert websocket.to_send() == (b"\x88\x05\x0f\xa2bye", True)
    assert websocket.ended_by == (4002, "bye")


def test_our_own_close() -> None:
    websocket = made()
    for code, reason in ((1005, ""), (1006, ""), (999, ""), (5000, ""), (1000, "x" * 124)):
        with pytest.raises(ValueError, match=f"is not closed with {code}"):
            websocket.close(code, reason)
    assert websocket.is_open
    websocket.close(1001, "")
    websocket.close(1000, "a second one is not sent")
    assert websocket.to_send() == (b"\x88\x02\x03\xe9", False)
    assert websocket.feed(frames(Opcode.TEXT, [b"on its way"])) == ["on its way"]
    websocket.deafen()
    assert websocket.feed(frames(Opcode.TEXT, [b"too late"])) == []
    websocket.feed(Frame(Opcode.CLOSE, b"\x03\xe9").serialize(mask=True))
    assert websocket.to_send()[1]


def test_an_end_without_a_close_is_1006() -> None:
    websocket = made()
    websocket.eof()
    assert websocket.ended_by == (1006, "")
