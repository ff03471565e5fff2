"""Bodies of any size stream both ways, and the memory of the worker stays flat.

`BODY_MIB=2048 pytest tests/journeys/test_bodies.py --timeout 600` sends 2 GiB each way.
"""

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.corpus import request
from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import Upstream, Wire
from tests.support.wait import until

MIB = 1024 * 1024
SIZE = int(os.environ.get("BODY_MIB", "200")) * MIB
PIECE = bytes(range(256)) * 4096  # 1 MiB
GROWTH = 12 * MIB
"""Of the worker's memory, whatever the size: read-ahead both ways, and the slack of the allocator."""


class Big:
    """`GET /down` sends SIZE bytes, by length or in chunks; `POST /up` reads what comes and says how much it was."""

    def __init__(self) -> None:
        self.slow = threading.Event()
        """Set: an upload is not read until `go` is set."""
        self.go = threading.Event()
        self.sent = 0

    async def __call__(self, wire: Wire) -> None:
        while True:
            head = await wire.head()
            if head.startswith(b"GET"):
                await self._down(wire, chunked=b"/down/chunked" in head)
            else:
                await self._up(wire, head)

    async def _down(self, wire: Wire, chunked: bool) -> None:
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % SIZE
        await wire.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        piece = b"100000\r\n" + PIECE + b"\r\n" if chunked else PIECE
        self.sent = 0
        while self.sent < SIZE:
            await wire.send(piece)
            self.sent += MIB
        if chunked:
            await wire.send(b"0\r\n\r\n")

    async def _up(self, wire: Wire, head: bytes) -> None:
        if self.slow.is_set():
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.get_running_loop().run_in_executor(None, self.go.wait)
            wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        left = SIZE
        digest = hashlib.blake2b(digest_size=8)
        if b"transfer-encoding" in head.lower():
            while size := int(await wire.reader.readuntil(b"\r\n"), 16):
                digest.update((await wire.reader.readexactly(size + 2))[:-2])
                left -= size
            await wire.reader.readexactly(2)
        else:
            while left > 0:
                data = await wire.reader.read(min(left, MIB))
                digest.update(data)
                left -= len(data)
        body = f"{SIZE - left} {digest.hexdigest()}".encode()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.fixture(scope="module")
def big() -> Big:
    return Big()


@pytest.fixture(scope="module")
def gateway(big: Big, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Upstream(big) as upstream:
        config = f"""
limits: {{body: 4GiB}}
upstreams: {{u: {{targets: ["{upstream.url}"], timeout: 60s}}}}
routes:
  - {{name: all, match: "/*", to: u, timeout: 60s}}
"""
        with Gateway(config, Path(tmp_path_factory.mktemp("gateway"))) as gateway:
            with Raw(gateway.port) as raw:  # what the first request loads is no growth
                raw.send(b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").until(b"\r\n\r\n")
            yield gateway


def _memory(gateway: Gateway, what: str = "VmRSS") -> int:
    (pid,) = gateway.workers()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) * 1024


class _Peak:
    """The most memory that the worker held in a `with`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        (self._pid,) = gateway.workers()

    def __enter__(self) -> "_Peak":
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")  # resets the high-water mark
        self._before = _memory(self._gateway)
        return self

    def __exit__(self, *_: object) -> None:
        self.growth = _memory(self._gateway, "VmHWM") - self._before


def _settled(gateway: Gateway) -> None:
    until(lambda: gateway.metric("gateway_buffered_bytes") == 0, what="all that was held is let go")


@pytest.mark.parametrize("path", ["/down", "/down/chunked"])
def test_a_download(gateway: Gateway, path: str) -> None:
    digest, received = hashlib.blake2b(digest_size=8), 0
    with _Peak(gateway) as peak, Raw(gateway.port) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        raw.until(b"\r\n\r\n")
        for data in raw.pieces():
            digest.update(data)
            received += len(data)
    if path == "/down":
        assert (received, digest.hexdigest()) == (SIZE, _digest())
    else:
        assert SIZE < received < 1.02 * SIZE
    assert peak.growth < GROWTH
    _settled(gateway)


def _digest() -> str:
    digest = hashlib.blake2b(digest_size=8)
    for _ in range(SIZE // MIB):
        digest.update(PIECE)
    return digest.hexdigest()


def test_a_download_to_a_slow_reader(gateway: Gateway, big: Big) -> None:
    with _Peak(gateway) as peak, Raw(gateway.port, receive_buffer=64 * 1024) as raw:
        raw.send(b"GET /down HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        raw.until(b"\r\n\r\n")
        sent = -1
        while sent != big.sent:
            sent = big.sent
            time.sleep(0.2)  # long enough for a proxy that does not push back to take more
        assert sent < SIZE // 4, "the upstream is held back"
        assert gateway.metric("gateway_buffered_bytes") < 2 * MIB
        assert sum(map(len, raw.pieces())) == SIZE
    assert peak.growth < GROWTH
    _settled(gateway)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload(gateway: Gateway, chunked: bool) -> None:
    with _Peak(gateway) as peak, Raw(gateway.port) as raw:
        raw.send(_upload_head(chunked))
        for _ in range(SIZE // MIB):
            raw.send(b"100000\r\n" + PIECE + b"\r\n" if chunked else PIECE)
        if chunked:
            raw.send(b"0\r\n\r\n")
        assert raw.answer().body == f"{SIZE} {_digest()}".encode()
    assert peak.growth < GROWTH
    _settled(gateway)


def _upload_head(chunked: bool) -> bytes:
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % SIZE
    return request(framing, line=b"POST /up HTTP/1.1")


def test_an_upload_to_a_slow_upstream(gateway: Gateway, big: Big) -> None:
    big.go.clear()
    big.slow.set()
    sent = [0]

    def send(raw: Raw) -> None:
        raw.send(_upload_head(False))
        for _ in range(SIZE // MIB):
            raw.send(PIECE)
            sent[0] += MIB

    try:
        with _Peak(gateway) as peak, Raw(gateway.port) as raw:
            thread = threading.Thread(target=send, args=(raw,), daemon=True)
            thread.start()
            before = -1
            while before != sent[0]:
                before = sent[0]
                time.sleep(0.2)  # long enough for a proxy that does not push back to take more
            assert sent[0] < SIZE // 2, "the client is held back"
            big.go.set()
            assert raw.answer().body == f"{SIZE} {_digest()}".encode()
            thread.join(10)
        assert peak.growth < GROWTH
    finally:
        big.slow.clear()
        big.go.set()
    _settled(gateway)
