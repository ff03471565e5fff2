"""Answers that go on for long, and tunnels: what they hold, and what is learned of them."""

from typing import Any

import pytest

from gateway.decide.balance.settings import BalanceSettings
from gateway.decide.health.outliers import OutlierSettings
from gateway.decide.resilience.adaptive import Adaptive
from gateway.upstreams.settings import TargetSettings, TimeoutSettings
from gateway.upstreams.upstream import Upstream
from tests.support.http import read_answers
from tests.support.wired import ByteWire, Wired, proxy

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DOWNLOAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
LONG = [(GET, EVENTS), (GET, DOWNLOAD), (UPGRADE, SWITCH)]
FAILED = b"HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n"
TWO = (TargetSettings("10.0.0.1", 80), TargetSettings("10.0.0.2", 80))
HOUR_S = 3600.0
NEVER_IDLE = TimeoutSettings(idle_s=None)


def wired(**more: Any) -> Wired:
    return Wired(proxy(upstream=more))


def upstream(gateway: Wired) -> Upstream:
    return gateway.gateway.upstreams["u"]


def in_flight(gateway: Wired) -> int:
    gate = upstream(gateway).gate
    assert gate is not None
    return gate.in_flight


async def ask(gateway: Wired, request: bytes, answer: bytes) -> tuple[ByteWire, ByteWire]:
    """A client and the wire of its target, which answered after 10 ms."""
    client = gateway.client()
    client.send(request)
    await gateway.settle()
    (wire,) = [each for each in gateway.upstreams if each.clear()]
    gateway.now += 0.01
    wire.send(answer)
    await gateway.settle()
    return client, wire


@pytest.mark.parametrize(("request_", "answer"), LONG)
async def test_with_an_adaptive_limit_they_take_nothing_from_others(request_: bytes, answer: bytes) -> None:
    gateway = wired(concurrency="adaptive")
    for _ in range(50):  # more than the limit that it begins with
        client, _ = await ask(gateway, request_, answer)
        assert client.received, "its head is here"
    assert in_flight(gateway) == 0


@pytest.mark.parametrize(("request_", "answer"), LONG)
async def test_a_number_holds_for_them_until_they_end(request_: bytes, answer: bytes) -> None:
    gateway = wired(concurrency=1)
    first, _ = await ask(gateway, request_, answer)
    second = gateway.client()
    second.send(GET)
    await gateway.settle()
    assert (in_flight(gateway), second.received) == (1, b"")
    first.reset()
    await gateway.settle()
    assert b"GET /x " in gateway.upstreams[-1].received


@pytest.mark.parametrize(("request_", "answer"), LONG)
async def test_their_duration_is_no_latency(request_: bytes, answer: bytes) -> None:
    """A target that is restarted resets streams that took an hour each."""
    gateway = wired(concurrency="adaptive", balance=BalanceSettings("peak_ewma"), timeout=NEVER_IDLE)
    wires = [(await ask(gateway, request_, answer))[1] for _ in range(15)]
    gateway.now += HOUR_S
    for wire in wires:
        wire.reset()
        gateway.now += 0.01
        await gateway.settle()
    gate = upstream(gateway).gate
    assert gate is not None
    assert isinstance(gate.limiter, Adaptive)
    assert gate.limiter.base_s < 0.1
    assert gate.limiter.limit >= 20
    assert upstream(gateway).targets[0].ewma_s <= 1.0, "what a failure counts as"


async def test_tunnels_are_successes_of_their_target() -> None:
    """Errors with successes between them are not errors in a row."""
    gateway = wired(targets=TWO, outlier=OutlierSettings(errors=2), balance=BalanceSettings("round_robin"))
    for _ in range(4):
        for target in ("10.0.0.1", "10.0.0.2"):
            _, wire = await ask(gateway, UPGRADE, SWITCH)
            assert wire.get_extra_info("peername")[0] == target
        for _ in range(2):
            _, wire = await ask(gateway, GET, FAILED)
    assert [each.ejected for each in upstream(gateway).targets] == [False, False]


async def test_a_switch_that_nobody_asked_for_is_a_failure_of_its_target() -> None:
    gateway = wired(targets=TWO, outlier=OutlierSettings(errors=2), balance=BalanceSettings("round_robin"))
    for _ in range(4):
        client, _ = await ask(gateway, GET, SWITCH)
        assert [each.status for each in read_answers(bytes(client.received))] == [502]
    assert sum(each.ejected for each in upstream(gateway).targets) == 1
