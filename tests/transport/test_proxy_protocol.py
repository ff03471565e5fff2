"""The PROXY header, both versions: every cut of the bytes gives the same header, and nothing else passes."""

import asyncio
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transport.proxy_protocol import SIGNATURE, V2_BYTES, ProxyHeader, parse, read_header


def v2(command: int, family: int, addresses: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(addresses)) + addresses


V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 5000, 443)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + b"\x13\x88\x01\xbb"
)
TLV = b"\x04\x00\x03abc"

GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n", "192.0.2.7"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n", "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (v2(1, 0x11, V4), "192.0.2.7"),
    (v2(1, 0x11, V4 + TLV), "192.0.2.7"),
    (v2(1, 0x21, V6), "2001:db8::7"),
    (v2(0, 0x11, V4), None),
    (v2(0, 0x00, b""), None),
    (v2(1, 0x31, bytes(216)), None),
    (v2(1, 0x00, b""), None),
]


@pytest.mark.parametrize(("header", "peer"), GOOD)
def test_every_cut_waits_and_the_whole_is_read(header: bytes, peer: str | None) -> None:
    for cut in range(len(header)):
        assert parse(header[:cut]) is None
    for rest in (b"", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"PROXY "):
        assert parse(header + rest) == ProxyHeader(len(header), peer)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
        b"proxy TCP4 192.0.2.7 198.51.100.1 5000 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 5000\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443 1\r\n",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 5000 443\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 5000 443\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 5000 443\r\n",
        b"PROXY TCP4 192.0.2.007 198.51.100.1 5000 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 \xb2 443\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 5000 443\r\n",
        b"PROXY \r\n",
        b"PROXY " + b"x" * 101,
        SIGNATURE + b"\x11\x11\x00\x00",
        SIGNATURE + b"\x22\x11\x00\x00",
        v2(1, 0x11, V4[:11]),
        v2(1, 0x12, V4),
        v2(1, 0x21, V4),
        SIGNATURE + b"\x21\x11" + struct.pack("!H", V2_BYTES),
    ],
)
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"the PROXY |a PROXY "):
        parse(data)


@given(st.binary(max_size=64))
def test_any_bytes_end_in_an_answer_or_a_value_error(data: bytes) -> None:
    for start in (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"):
        try:
            header = parse(start + data)
        except ValueError:
            continue
        assert header is None or header.length <= len(start + data)


async def test_takes_the_header_and_not_a_byte_more() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop = asyncio.get_running_loop()
        reading = asyncio.ensure_future(read_header(loop, ours.fileno(), 5))
        header = GOOD[5][0]
        for byte in header:
            theirs.send(bytes([byte]))
            await asyncio.sleep(0)
        theirs.send(b"\x16\x03\x01")
        assert await reading == "192.0.2.7"
        assert ours.recv(100) == b"\x16\x03\x01"


async def test_half_a_header_times_out_without_spinning_and_a_close_ends_it() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours:
        theirs.send(b"PROXY TCP4 ")
        before = os.times()
        with pytest.raises(TimeoutError):
            await read_header(loop, ours.fileno(), 0.5)
        after = os.times()
        assert after.user + after.system - before.user - before.system < 0.1
        theirs.close()
        ours.recv(100)
        with pytest.raises(ConnectionResetError):
            await read_header(loop, ours.fileno(), 5)
