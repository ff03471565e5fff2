"""The chunked coding: strict, bounded, and the same in every cut of the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import GatewayError
from gateway.wire.chunked import LAST_CHUNK, ChunkDecoder, encode_chunk
from gateway.wire.limits import HeadLimits
from tests.support.corpus import SIZES

LIMITS = HeadLimits()
Result = tuple[bytes, bytes, tuple[tuple[str, str, str], ...] | None] | str
"""(body, what is behind, trailer lines), `refused` or `unfinished`"""


def _decode(*pieces: bytes, limits: HeadLimits = LIMITS) -> Result:
    decoder = ChunkDecoder(limits)
    body, rest = b"", b""
    try:
        for piece in pieces:
            if decoder.done:
                rest += piece
            else:
                body += decoder.feed(piece)
    except GatewayError as error:
        return "refused" if error.status in (400, 431) else f"refused with {error.status}"
    if not decoder.done:
        return "unfinished"
    return body, decoder.rest + rest, decoder.trailers and decoder.trailers.lines


def _bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


GOOD = [
    (b"0\r\n\r\n", b"", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
    (b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", b"hello", b"GET / HTTP/1.1\r\n"),
    (b"5;a\r\nhello\r\n00;b=c\r\n\r\nx", b"hello", b"x"),
    (b"5;" + b"a" * 255 + b"\r\nhello\r\n0000000000000000\r\n\r\n", b"hello", b""),
    (b"000000000000000A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", b""),
    (b"2\r\n\r\n\r\n3\r\n0\r\n\r\n0\r\n\r\n", b"\r\n0\r\n", b""),
    (b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", b"abc", b""),
    (b"1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\nrest", b"a", b"rest"),
]


@pytest.mark.parametrize(("data", "body", "rest"), GOOD)
def test_whole_by_bytes_and_in_every_two_pieces(data: bytes, body: bytes, rest: bytes) -> None:
    whole = _decode(data)
    assert whole[:2] == (body, rest)
    assert _decode(*_bytes(data)) == whole
    for at in range(len(data)):
        assert _decode(data[:at], data[at:]) == whole, at


BAD = [
    *[size + b"\r\nhello\r\n0\r\n\r\n" for size in SIZES],
    b"5\r\nhelloX\n0\r\n\r\n",
    b"5\r\nhello\rX0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"0\n\r\n",
    b"0\r\n\n",
    b"0\r\nX: y\n\r\n",
    b"0\r\nX: y\n\n\r\n\r\n",
    b"0\r\nX: \x00\r\n\r\n",
    b"0\r\nX: y\r\n z\r\n\r\n",
    b"0\r\n X: y\r\n\r\n",
    b"0\r\nX : y\r\n\r\n",
    b"0\r\nX\r\n\r\n",
    b"0\r\n\rX\r\n\r\n",
    b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n",
    b"0\r\n" + b"X: " + b"y" * 8190 + b"\r\n\r\n",
    b"0\r\n" + (b"X: " + b"y" * 8000 + b"\r\n") * 5 + b"\r\n",
    b"0\r\n" + b"x" * 40_000,
    b"5;" + b"a" * 300,
]


@pytest.mark.parametrize("data", BAD, ids=lambda data: ascii(data[:30]))
def test_refused_whole_by_bytes_and_in_two_pieces(data: bytes) -> None:
    assert _decode(data) == "refused"
    if len(data) < 1000:
        assert _decode(*_bytes(data)) == "refused"
    for at in range(min(len(data), 400)):
        assert _decode(data[:at], data[at:]) == "refused", at


@pytest.mark.parametrize("data", [good[0] for good in GOOD])
def test_what_is_cut_short_is_unfinished(data: bytes) -> None:
    end = data.find(b"rest") if data.endswith(b"rest") else data.find(b"\r\n\r\n") + 4
    for at in range(min(end, len(data)) - 1):
        if b"0\r\n\r\n" not in data[:at]:
            assert _decode(data[:at]) == "unfinished", at


def test_the_largest_chunk_size_is_taken() -> None:
    assert _decode(b"7fffffffffffffff\r\nabc") == "unfinished"


def test_empty_pieces_change_nothing() -> None:
    assert _decode(b"", b"5\r\n", b"", b"hello", b"", b"\r\n0\r\n", b"", b"\r\n") == (b"hello", b"", None)


def test_trailer_lines_are_kept_apart() -> None:
    result = _decode(b"0\r\nX-Sum: 1\r\nx-sum:2\r\n\r\n")
    assert result == (b"", b"", [("X-Sum", "1"), ("x-sum", "2")])


def test_many_small_chunks_cost_linear_work_and_no_memory() -> None:
    decoder = ChunkDecoder(LIMITS)
    assert decoder.feed(b"1\r\na\r\n" * 50_000) == b"a" * 50_000
    assert not decoder.done


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.binary(max_size=20), st.data())
def test_what_is_encoded_is_decoded_in_any_cut(parts: list[bytes], rest: bytes, data: st.DataObject) -> None:
    wire = b"".join(map(encode_chunk, parts)) + LAST_CHUNK + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert _decode(*pieces) == (b"".join(parts), rest, None)


@given(
    st.lists(st.sampled_from([b"5", b"\r", b"\n", b"0", b"\r\n", b"hello", b";a", b"X: y", b" ", b"\x00"]), max_size=12)
)
def test_any_cut_of_any_bytes_gives_the_same(parts: list[bytes]) -> None:
    wire = b"".join(parts)
    whole = _decode(wire)
    byte_by_byte = _decode(*_bytes(wire))
    # What can never become right may be refused later in small pieces (at its LF, or at a limit), never taken.
    assert byte_by_byte == whole or {byte_by_byte, whole} == {"refused", "unfinished"}
