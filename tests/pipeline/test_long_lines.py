"""What a request costs does not depend on how many wait beside it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.decide.resilience.queue_settings import QueueSettings
from gateway.transport.settings import ConnectionsSettings
from tests.support.wired import ByteWire, Wired, proxy

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CLASSES = (QueueSettings("default", max=9000, wait_s=90.0), QueueSettings("checkout", max=9, wait_s=90.0, weight=10))
LINES: list[dict[str, Any]] = [
    {"connections": ConnectionsSettings(max=1, wait_s=90.0)},
    {"concurrency": 1, "queues": CLASSES},
]


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """How many functions were called, and steps of generators made."""
    steps = [0]

    def count(frame: Any, event: str, argument: Any) -> None:
        steps[0] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield steps
    finally:
        sys.setprofile(None)


async def steps_with(waiting: int, **upstream: Any) -> int:
    """Of five requests that join the line, one that leaves it, and five answers."""
    gateway = Wired(proxy(route={"timeout_s": 99.0}, upstream=upstream))
    for _ in range(waiting):
        ask(gateway)
    await gateway.settle()
    await gateway.pass_time(0.2)  # long enough for the line to be a standing one
    with counted_steps() as steps:
        clients = [ask(gateway) for _ in range(6)]
        clients[0].reset()
        await gateway.settle()
        for _ in range(5):
            gateway.upstreams[-1].send(ANSWER)
            await gateway.settle()
    assert len(gateway.upstreams) == 6
    return steps[0]


def ask(gateway: Wired) -> ByteWire:
    client = gateway.client()
    client.send(GET)
    return client


@pytest.mark.parametrize("upstream", LINES)
async def test_a_long_line_costs_what_a_short_one_does(upstream: dict[str, Any]) -> None:
    short = await steps_with(50, **upstream)
    assert await steps_with(5000, **upstream) < 1.5 * short
