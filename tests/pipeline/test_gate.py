"""The gate in front of an upstream: so many at once, the others wait by class, and who waits in vain is told why."""

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from gateway import Request, Response
from gateway.core.errors import GatewayError
from gateway.decide.resilience.adaptive import Adaptive
from gateway.decide.resilience.queue_settings import QueueSettings
from gateway.decide.resilience.retry import RetrySettings
from gateway.pipeline.settings import CallableSettings, HandlerSettings
from gateway.upstreams.gate import REFUSALS, Gate
from gateway.upstreams.settings import TargetSettings
from tests.support.http import read_answers
from tests.support.wired import ByteWire, Wired, proxy

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
QUEUES = (QueueSettings("default", max=2, wait_s=0.5), QueueSettings("checkout", max=2, wait_s=3.0, weight=10))


def wired(**upstream: Any) -> Wired:
    return Wired(proxy(upstream={"concurrency": 1, "queues": QUEUES, **upstream}))


def ask(gateway: Wired, path: str = "/x") -> ByteWire:
    client = gateway.client()
    client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client


def gate(gateway: Wired) -> Gate:
    found = gateway.gateway.upstreams["u"].gate
    assert found is not None
    return found


def rejected(gateway: Wired, reason: str) -> float:
    registry = gateway.registry
    return registry.cells[registry.counter("gateway_queue_rejected_total", queue="default", reason=reason)]


def status(client: ByteWire) -> tuple[int, str] | None:
    answers = read_answers(bytes(client.received))
    return (answers[0].status, answers[0].reason or "") if answers else None


async def test_one_at_a_time_and_the_next_when_the_answer_is_whole() -> None:
    gateway = wired()
    first, second = ask(gateway, "/1"), ask(gateway, "/2")
    await gateway.settle()
    (wire,) = gateway.upstreams
    assert wire.received.count(b"GET ") == 1
    gateway.now += 0.3
    wire.send(ANSWER[:-1])
    await gateway.settle()
    assert wire.received.count(b"GET ") == 1
    wire.send(ANSWER[-1:])
    await gateway.settle()
    assert status(first) == (200, "")
    assert wire.received.count(b"GET ") == 2, "on the same connection"
    wire.send(ANSWER)
    await gateway.settle()
    assert status(second) == (200, "")
    assert [round(each.queue_s or 0.0, 3) for each in gateway.log] == [0.0, 0.3]


async def test_the_next_begins_with_the_read_that_made_room() -> None:
    """Not at the end of the turn: what others read in it, and the answer to the client, come behind it."""
    gateway = wired()
    first = ask(gateway, "/1")
    ask(gateway, "/2")
    await gateway.settle()
    (wire,) = gateway.upstreams
    wire.send(ANSWER)
    assert b"GET /2 " in wire.received
    assert gate(gateway).in_flight == 1
    assert status(first) is None
    await gateway.settle()
    assert status(first) == (200, "")


async def test_many_that_waited_in_vain_are_refused_a_few_a_turn() -> None:
    gateway = wired(queues=(QueueSettings("default", max=50, wait_s=0.5),))
    clients = [ask(gateway) for _ in range(51)]
    await gateway.settle()
    gateway.now += 0.6
    gateway.gateway.tick(gateway.now)
    waiting = [gate(gateway).waiting]
    while waiting[-1]:
        await asyncio.sleep(0)
        waiting.append(gate(gateway).waiting)
    assert max(before - after for before, after in pairwise(waiting)) == REFUSALS
    await gateway.settle()
    assert Counter(map(status, clients)) == {None: 1, (503, "queue_timeout"): 50}


async def test_who_waits_in_vain_gets_503_in_time() -> None:
    gateway = wired()
    ask(gateway)
    await gateway.settle()
    waits = ask(gateway)
    await gateway.pass_time(0.3)
    assert status(waits) is None
    await gateway.pass_time(0.25)
    assert status(waits) == (503, "queue_timeout")
    assert b"Retry-After: " in waits.received


async def test_in_a_line_that_stands_for_long_one_is_refused_sooner() -> None:
    gateway = wired(queues=(QueueSettings("default", max=9, wait_s=0.5),))
    for _ in range(100):
        ask(gateway)
        await gateway.settle()
        gateway.upstreams[0].send(ANSWER)
        await gateway.settle()
    ask(gateway)
    await gateway.settle()
    waiting = []
    for _ in range(6):
        waiting.append(ask(gateway))
        await gateway.pass_time(0.2)
    assert [status(each) for each in waiting[:2]] == [(503, "queue_timeout"), (503, "shed_overload")]
    assert b"stands too long" in waiting[1].received
    assert b"Retry-After: " in waiting[1].received


async def test_one_too_many_is_refused_at_once() -> None:
    gateway = wired()
    clients = [ask(gateway) for _ in range(4)]
    await gateway.settle()
    assert [status(each) for each in clients] == [None, None, None, (503, "queue_full")]
    assert rejected(gateway, "queue_full") == 1.0


async def test_without_a_queue_nobody_waits() -> None:
    gateway = wired(queues=(QueueSettings("default", max=0),))
    clients = [ask(gateway) for _ in range(2)]
    await gateway.settle()
    assert [status(each) for each in clients] == [None, (503, "concurrency_limited")]
    assert rejected(gateway, "concurrency_limited") == 0.0, "no queue rejected it"


async def test_who_leaves_the_queue_makes_room() -> None:
    gateway = wired()
    clients = [ask(gateway) for _ in range(3)]
    await gateway.settle()
    gateway.now += 0.2
    clients[1].reset()
    await gateway.settle()
    assert [(each.reason, each.queue_s) for each in gateway.log] == [("client_closed", pytest.approx(0.2))]
    late = ask(gateway)
    await gateway.settle()
    assert status(late) is None
    assert gate(gateway).waiting == 2


async def test_who_leaves_under_way_lets_the_next_one_begin() -> None:
    gateway = wired()
    first = ask(gateway, "/1")
    ask(gateway, "/2")
    await gateway.settle()
    first.reset()
    await gateway.settle()
    assert b"GET /2 " in gateway.upstreams[-1].received
    assert gate(gateway).in_flight == 1


async def test_a_body_that_comes_while_it_waits_is_sent_with_its_turn() -> None:
    gateway = wired()
    ask(gateway)
    await gateway.settle()
    client = gateway.client()
    client.send(b"POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
    for _ in range(4):
        client.send(bytes(50_000))
        await gateway.settle()
    assert client.paused, "what is not sent on is not read"
    (wire,) = gateway.upstreams
    wire.send(ANSWER)
    await gateway.settle()
    assert len(wire.received.partition(b"POST ")[2].partition(b"\r\n\r\n")[2]) == 200_000
    wire.send(ANSWER)
    await gateway.settle()
    assert status(client) == (200, "")
    assert gateway.gateway.buffered.value == 0


async def test_adaptive_learns_from_the_answers() -> None:
    gateway = wired(concurrency="adaptive")
    clients = [ask(gateway) for _ in range(20)]
    await gateway.settle()
    waits = ask(gateway)
    gateway.now += 0.15
    for wire in list(gateway.upstreams):
        wire.send(ANSWER)
        gateway.now += 0.01
    await gateway.settle()
    assert [status(each) for each in clients] == [(200, "")] * 20
    limiter = gate(gateway).limiter
    assert isinstance(limiter, Adaptive)
    assert 0.15 < limiter.base_s < 0.4
    assert b"GET " in gateway.upstreams[-1].received
    assert gate(gateway).waiting == 0
    waits.reset()


async def test_what_the_python_of_a_route_asks_waits_in_the_class_of_the_route() -> None:
    handler = HandlerSettings(CallableSettings(f"{__name__}:asking"))
    gateway = Wired(
        proxy(route={"answer": handler, "class_": "checkout"}, upstream={"concurrency": 1, "queues": QUEUES})
    )
    permit = gate(gateway).enter(Nobody(), "default", gateway.now, gateway.now + 9.0)
    client = ask(gateway)
    await gateway.settle()
    depth = gateway.registry.cells[gateway.registry.gauge("gateway_queue_depth", queue="checkout")]
    assert depth == 1.0
    permit.end()
    await gateway.settle()
    gateway.upstreams[0].send(ANSWER)
    await gateway.settle()
    assert status(client) == (200, "")


async def asking(request: Request) -> Response:
    return Response((await request.gateway.fetch("u", "/asked")).body)


class Nobody:
    """Who does not care whether it may begin."""

    def on_permit(self, now: float) -> None: ...
    def on_no_permit(self, error: GatewayError) -> None: ...


async def test_during_a_back_off_others_are_under_way() -> None:
    """And who comes back asks for a permit like a newcomer."""
    retry = RetrySettings(when=frozenset({"503"}), backoff_s=1.0)
    targets = (TargetSettings("10.0.0.1", 80), TargetSettings("10.0.0.2", 80))
    gateway = wired(retry=retry, targets=targets)
    first = ask(gateway)
    await gateway.settle()
    (wire,) = gateway.upstreams
    wire.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    await gateway.settle()
    assert status(first) is None
    assert gate(gateway).in_flight == 0
    second = ask(gateway)
    await gateway.settle()
    assert gate(gateway).in_flight == 1
    for _ in range(12):
        if not gate(gateway).waiting:
            await gateway.pass_time(0.1)
    assert gate(gateway).waiting == 1, "the first, again"
    asked = [each for each in gateway.upstreams if each.clear()]
    asked[-1].send(ANSWER)
    await gateway.settle()
    assert status(second) == (200, "")
    (asked_again,) = [each for each in gateway.upstreams if each.clear()]
    asked_again.send(ANSWER)
    await gateway.settle()
    assert status(first) == (200, "")
