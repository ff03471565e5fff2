"""The PROXY protocol, version 1 (a line of text) and 2 (binary): a load balancer in front tells who the client is.

    v1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\\r\\n          at most 107 bytes
    v2   12 bytes of signature, version and command, family, length, addresses, TLVs

Source: haproxy.org, doc/proxy-protocol.txt. The header is peeked at and taken off the socket before TLS or HTTP sees a
byte, and never more than it: what follows in the same segment belongs to the next layer.
"""

import asyncio
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_BYTES = 107
V2_BYTES = 16 + 2048
"""The longest header taken: addresses and TLVs; balancers send a few hundred bytes."""
_V2_ADDRESSES = {1: (4, 12), 2: (16, 36)}
"""Family: bytes of one address, bytes of both addresses and ports."""
RETRY_S = 0.02
"""Between two looks at a header that arrived in part: a peeked socket stays readable, so waiting would spin."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A whole header: its length, and the client's address (None where the balancer speaks for itself)."""

    length: int
    peer: str | None


def parse(data: bytes) -> ProxyHeader | None:
    """The header that `data` begins with; None: it is not all there. Raises ValueError."""
    if data[:12] == SIGNATURE[: len(data)]:
        return _parse_v2(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _parse_v1(data)
    raise ValueError("the connection does not begin with a PROXY header")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_BYTES)
    if end < 0:
        if len(data) >= V1_BYTES:
            raise ValueError("the PROXY line is longer than 107 bytes")
        return None
    words = data[:end].decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader(end + 2, None)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ValueError("the PROXY line is not well-formed")
    kind = IPv4Address if words[1] == "TCP4" else IPv6Address
    try:
        peer, _ = kind(words[2]), kind(words[3])
    except ValueError:
        raise ValueError("the PROXY line has a bad address") from None
    for port in words[4:]:
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
            raise ValueError("the PROXY line has a bad port")
    return ProxyHeader(end + 2, str(peer))


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    version_command, family, length = struct.unpack_from("!BBH", data, 12)
    if version_command >> 4 != 2 or version_command & 15 > 1:
        raise ValueError("the PROXY header has an unknown version or command")
    if 16 + length > V2_BYTES:
        raise ValueError(f"the PROXY header is longer than {V2_BYTES} bytes")
    if len(data) < 16 + length:
        return None
    local = version_command & 15 == 0
    if local or family >> 4 not in _V2_ADDRESSES:
        return ProxyHeader(16 + length, None)
    size, needed = _V2_ADDRESSES[family >> 4]
    if family & 15 != 1 or length < needed:
        raise ValueError("the PROXY header has no TCP addresses")
    return ProxyHeader(16 + length, str(ip_address(data[16 : 16 + size])))


async def read_header(loop: asyncio.AbstractEventLoop, fd: int, timeout_s: float) -> str | None:
    """Take the header off the socket `fd` and return the client's address.

    Raises ValueError (not a PROXY header), TimeoutError, ConnectionError.
    """
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.setblocking(False)
        async with asyncio.timeout(timeout_s):
            seen = -1
            while True:
                await _readable(loop, sock)
                data = sock.recv(V2_BYTES, socket.MSG_PEEK)
                if not data:
                    raise ConnectionResetError("the connection was closed")
                header = parse(data)
                if header is not None:
                    sock.recv(header.length)
                    return header.peer
                if len(data) == seen:
                    await asyncio.sleep(RETRY_S)
                seen = len(data)


async def _readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)
