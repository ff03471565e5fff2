"""Requests whose body still comes while they wait to be sent again."""

from typing import Any

import pytest

from gateway.decide.resilience.retry import RetrySettings
from gateway.upstreams.settings import TargetSettings
from tests.support.http import read_answers
from tests.support.wired import ByteWire, Wired, proxy

SIZE = 90_000
PUT = f"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n".encode()
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
FAILED = b"HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
THREE = tuple(TargetSettings(f"10.0.0.{n}", 80) for n in (1, 2, 3))
RETRY = RetrySettings(attempts=3, when=frozenset({"503"}), backoff_s=1.0)


async def waiting(**more: Any) -> tuple[Wired, ByteWire]:
    """A gateway and a client whose head alone came when the first target said 503."""
    gateway = Wired(proxy(route={"timeout_s": 9.0}, upstream={"targets": THREE, "retry": RETRY} | more))
    client = gateway.client()
    client.send(PUT)
    await gateway.settle()
    gateway.upstreams[0].send(BUSY)
    await gateway.settle()
    assert not client.received
    return gateway, client


@pytest.mark.parametrize("concurrency", [None, 1])
async def test_the_body_goes_with_the_second_attempt_alone(concurrency: int | None) -> None:
    gateway, client = await waiting(concurrency=concurrency)
    client.send(bytes(SIZE - 1))
    client.send(b"x")
    await gateway.settle()
    assert len(gateway.upstreams) == 1, "the back-off is not over"
    await gateway.pass_time(1.0)
    _, second = gateway.upstreams
    assert second.received.endswith(b"\r\n\r\n" + bytes(SIZE - 1) + b"x")
    second.send(ANSWER)
    await gateway.settle()
    assert [each.status for each in read_answers(bytes(client.received))] == [200]
    assert sum(each.in_flight for each in gateway.gateway.upstreams["u"].targets) == 0
    assert gateway.gateway.buffered.value == 0


@pytest.mark.parametrize(("answer", "outcome"), [(ANSWER, "ok"), (FAILED, "failed")])
async def test_what_came_of_it_is_counted(answer: bytes, outcome: str) -> None:
    """Also a 500, which is a failure of a target, whatever is tried again."""
    gateway, client = await waiting()
    client.send(bytes(SIZE))
    await gateway.pass_time(1.0)
    gateway.upstreams[1].send(answer)
    await gateway.settle()
    registry = gateway.registry
    counted = {
        each: registry.cells[registry.counter("gateway_upstream_retries_total", upstream="u", outcome=each)]
        for each in ("ok", "failed")
    }
    assert counted == {"ok": 0.0, "failed": 0.0} | {outcome: 1.0}


async def test_where_nothing_more_can_be_held_it_ends() -> None:
    gateway, client = await waiting()
    gateway.gateway.buffered.add(10**12)
    client.send(bytes(1000))
    await gateway.pass_time(1.0)
    assert [each.status for each in read_answers(bytes(client.received))] == [503]
    assert len(gateway.upstreams) == 1
    assert gateway.timers == 0
