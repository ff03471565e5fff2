"""No request of 10 KiB costs 100 times the CPU of a plain one, 1 MiB of memory, or more than linear time.

The rule is Envoy's (its release criteria); the time is of the whole data plane, on byte wires.
"""

import time
import tracemalloc
from collections.abc import Callable

import pytest

from gateway.config.settings import GatewaySettings
from gateway.transport.settings import ClientSettings
from gateway.wire.limits import HeadLimits
from tests.support.corpus import request
from tests.support.wired import Wired, proxy

SIZE = 10 * 1024


def _fill(piece: bytes, size: int = SIZE) -> bytes:
    return piece * (size // len(piece))


def _lines(piece: bytes, size: int = SIZE, line: int = 8000) -> list[bytes]:
    """Field lines within the limit of a line, `size` bytes in all."""
    return [b"X: " + _fill(piece, line) for _ in range(max(1, size // line))]


NASTY: dict[str, Callable[[int], bytes]] = {
    "many fields": lambda size: request(*[b"X%d: " % n + b"y" * (size // 100) for n in range(95)]),
    "many cookies": lambda size: request(b"Cookie: " + _fill(b"a=b; ", min(size, 8000))),
    "cookies in lines": lambda size: request(*[b"Cookie: " + _fill(b"a=b; ", size // 90)] * 90),
    "commas in Connection": lambda size: request(b"Connection: " + _fill(b"a,", min(size, 8000))),
    "commas in TE": lambda size: request(b"TE: " + _fill(b"a,", min(size, 8000))),
    "blanks": lambda size: request(*_lines(b" ", size)),
    "tabs and blanks": lambda size: request(*_lines(b" \t", size)),
    "blanks, then a bad byte": lambda size: request(*_lines(b" ", size), b"X: \x00"),
    "no colon": lambda size: request(b"x" * min(size, 8000)),
    "a name without end": lambda size: request(b"x" * min(size, 8000) + b" : y"),
    "a bad Host": lambda size: b"GET / HTTP/1.1\r\nHost: " + b"a." * (min(size, 8000) // 2) + b"/\r\n\r\n",
    "a bad IPv6 Host": lambda size: b"GET / HTTP/1.1\r\nHost: [" + b":" * min(size, 8000) + b"\r\n\r\n",
    "digits in Content-Length": lambda size: request(b"Content-Length: " + b"1" * min(size, 8000)),
    "dot segments": lambda size: request(line=b"GET " + _fill(b"/..", min(size, 8000)) + b" HTTP/1.1"),
    "dots": lambda size: request(line=b"GET " + _fill(b"/.", min(size, 8000)) + b"x HTTP/1.1"),
    "escapes": lambda size: request(line=b"GET /" + _fill(b"%41", min(size, 8000)) + b" HTTP/1.1"),
    "slashes": lambda size: request(line=b"GET " + b"/" * min(size, 8000) + b" HTTP/1.1"),
    "a bad escape at the end": lambda size: request(line=b"GET /" + _fill(b"%41", min(size, 8000)) + b"% HTTP/1.1"),
    "an absolute target": lambda size: request(line=b"GET http://a/" + b"?" * min(size, 8000) + b" HTTP/1.1"),
    "forwarded by strangers": lambda size: request(b"X-Forwarded-For: " + _fill(b"1.2.3.4,", min(size, 8000))),
    "hops": lambda size: request(b"Max-Forwards: " + b"9" * min(size, 8000), line=b"OPTIONS / HTTP/1.1"),
    "many Via": lambda size: request(b"Via: " + _fill(b"1.1 a, ", min(size, 8000))),
    "small chunks": lambda size: request(b"Transfer-Encoding: chunked", body=_fill(b"1\r\na\r\n", size) + b"0\r\n\r\n"),
    "extensions": lambda size: request(
        b"Transfer-Encoding: chunked", body=_fill(b"1;" + b"a" * 200 + b"\r\na\r\n", size) + b"0\r\n\r\n"
    ),
    "trailers": lambda size: request(
        b"Transfer-Encoding: chunked", body=b"0\r\n" + _fill(b"X: " + b"y" * 100 + b"\r\n", size) + b"\r\n"
    ),
}


def _settings() -> GatewaySettings:
    # Limits that let a request be twice as large as the rule says, so that growth can be seen.
    return proxy(client=ClientSettings(head=HeadLimits(line_bytes=32_000, headers_bytes=64_000)))


async def _seconds(data: bytes, repeat: int = 5) -> float:
    """CPU time of one request, the least of some."""
    best = 1.0
    for _ in range(repeat):
        wired = Wired(_settings())
        wired.refused = True  # what is forwarded ends there
        client = wired.client()
        begun = time.process_time()
        client.send(data)
        await wired.settle()
        best = min(best, time.process_time() - begun)
        assert wired.log
        client.reset()
        await wired.settle()
    return best


@pytest.mark.parametrize("name", NASTY)
async def test_no_request_costs_100_times_a_plain_one(name: str) -> None:
    plain = await _seconds(request(b"User-Agent: x", b"Accept: */*", line=b"GET /x HTTP/1.1"))
    assert await _seconds(NASTY[name](SIZE)) < 100 * plain


@pytest.mark.parametrize("name", NASTY)
async def test_no_request_costs_a_mebibyte(name: str) -> None:
    data = NASTY[name](SIZE)
    wired = Wired(_settings())
    wired.refused = True
    client = wired.client()
    tracemalloc.start()
    try:
        client.send(data)
        await wired.settle()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1024 * 1024


@pytest.mark.parametrize("step", [1, 100])
async def test_a_head_in_many_pieces_costs_linear_time(step: int) -> None:
    async def seconds(size: int) -> float:
        data = request(b"X: " + b"y" * size, line=b"GET /ping HTTP/1.1")
        best = 1.0
        for _ in range(3):
            wired = Wired(_settings())
            client = wired.client()
            begun = time.process_time()
            for at in range(0, len(data), step):
                client.send(data[at : at + step])
            best = min(best, time.process_time() - begun)
            client.reset()
            await wired.settle()
        return best

    small, large = await seconds(4_000), await seconds(16_000)
    assert large < 4 * small * 2.5, "four times the bytes; the rest is for the machine"
