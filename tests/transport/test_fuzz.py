"""Mutated requests and answers through the data plane, next to clients that behave: nothing crosses over.

`FUZZ=1000000 FUZZ_SEED=7 pytest tests/transport/test_fuzz.py --timeout 7200` runs it longer, on other messages.
"""

import asyncio
import os
from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.support.bad_answers import BROKEN_ANSWER_BODIES, REFUSED_ANSWER_HEADS, TAKEN_ANSWERS
from tests.support.bad_requests import REFUSED_REQUESTS, TAKEN_REQUESTS
from tests.support.http import read_answers
from tests.support.mutations import mutated, pieces_of
from tests.support.wired import ByteWire, Wired, proxy

COUNT = int(os.environ.get("FUZZ", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
OPEN = 8
"""Clients with mutated requests that are open at a time; then the oldest is reset."""

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
REQUESTS = [row.data for row in TAKEN_REQUESTS] * 10 + [row.data for row in REFUSED_REQUESTS if len(row.data) < 2000]
ANSWERS = [row.data.replace(b"hello", b"EVIL!") for row in TAKEN_ANSWERS] * 10 + [
    row.data.replace(b"hello", b"EVIL!") for row in REFUSED_ANSWER_HEADS + BROKEN_ANSWER_BODIES if len(row.data) < 2000
]
ANSWERS += [b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nEVIL!"] * 20


class _Upstream:
    """Echoes the token of a good request; answers any other with the next mutated answer."""

    def __init__(self, wired: Wired, answers: Iterator[bytes], rng: Random) -> None:
        self._answers = answers
        self._rng = rng
        self.good: list[bytes] = []
        """Bodies of the good requests that arrived whole."""
        wired.on_upstream = self._accept

    def _accept(self, wire: ByteWire) -> None:
        waiting = bytearray()

        def on_write(data: bytes) -> None:
            waiting.extend(data)
            while (end := waiting.find(b"\r\n\r\n")) >= 0:
                head = bytes(waiting[: end + 4]).lower()
                size = _body_size(head, bytes(waiting[end + 4 :]))
                if size is None:
                    return
                body = bytes(waiting[end + 4 : end + 4 + size])
                del waiting[: end + 4 + size]
                self._answer(wire, head, body)

        wire.on_write = on_write

    def _answer(self, wire: ByteWire, head: bytes, body: bytes) -> None:
        if b"\r\nx-good:" in head:
            assert head.startswith(b"post /good http/1.1\r\n"), head
            self.good.append(body)
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        assert b"GOOD" not in body, "the body of one request in another"
        answer = next(self._answers)
        if b" 101 " in answer:
            wire.on_write = None  # a tunnel from here on, or closed
        for piece in pieces_of(self._rng, answer):
            wire.send(piece)
        if self._rng.random() < 0.2:
            wire.send_eof()


def _body_size(head: bytes, data: bytes) -> int | None:
    """Bytes of the body as the gateway framed it; None while it is not whole."""
    if b"\r\ntransfer-encoding:" in head:
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:end], 16)
            at = end + 2 + size + 2
            if size == 0:
                return at if len(data) >= at else None
        return None
    at = head.find(b"\r\ncontent-length:")
    size = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    return size if len(data) >= size else None


@pytest.mark.timeout(7200)
async def test_nothing_of_one_exchange_in_another() -> None:
    crashes: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: crashes.append(context))
    rng = Random(SEED)
    wired = Wired(proxy(upstream={}))
    requests = mutated(SEED, COUNT, [*REQUESTS, *[UPGRADE] * 50])
    answers = mutated(SEED + 1, 1 << 60, ANSWERS)
    upstream = _Upstream(wired, answers, rng)
    open_clients: deque[ByteWire] = deque()
    good = wired.client()
    for number, request in enumerate(requests):
        client = wired.client()
        open_clients.append(client)
        for piece in pieces_of(rng, request):
            client.send(piece)
        if rng.random() < 0.5:
            await wired.settle()
        token = b"GOOD%08d" % number
        good.send(b"POST /good HTTP/1.1\r\nHost: a\r\nX-Good: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(token), token))
        await wired.settle()
        assert upstream.good == [token], request
        (answer,) = read_answers(good.clear())
        assert (answer.status, answer.body) == (200, token), request
        upstream.good.clear()
        if len(open_clients) > OPEN:
            oldest = open_clients.popleft()
            assert b"GOOD" not in oldest.received
            oldest.reset()
        wired.now += 0.02
        wired.gateway.tick(wired.now)
        wired.upstreams[:] = [wire for wire in wired.upstreams if wire.is_open]
        if number % 1000 == 999:
            assert not crashes, crashes[0]
            assert len(wired.gateway.listener(0).memo.found) <= 512
            assert "internal_error" not in {exchange.reason for exchange in wired.log}
            wired.log.clear()
    for client in open_clients:
        client.reset()
    good.reset()
    await wired.settle()
    assert not crashes, crashes[0]
    assert wired.gateway.in_flight == wired.gateway.connections == wired.gateway.buffered.value == 0
    (target,) = wired.gateway.upstreams["u"].targets
    assert target.in_flight == target.connections.active == 0
    await wired.pass_time(120)
    assert not any(wire.is_open for wire in wired.upstreams)
