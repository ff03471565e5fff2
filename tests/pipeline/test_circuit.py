"""What clients get while a circuit is open, and what is shown of it."""

import logging

import pytest

from gateway.decide.resilience.breaker import STATES, BreakerSettings
from tests.support.h11_upstream import OK, H11Upstream
from tests.support.http import Answer, read_answers
from tests.support.wired import Wired, proxy

BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


def make() -> tuple[Wired, H11Upstream]:
    wired = Wired(proxy(upstream={"breaker": BreakerSettings(minimum=5, open_s=5.0)}))
    return wired, H11Upstream(wired, BAD)


async def ask(wired: Wired) -> Answer:
    client = wired.client()
    client.send(GET)
    await wired.settle()
    (answer,) = read_answers(client.clear())
    client.send_eof()
    await wired.settle()
    return answer


def states(wired: Wired) -> list[float]:
    registry = wired.registry
    registry.flush(wired.now)
    return [registry.cells[registry.gauge("gateway_circuit_state", upstream="u", state=state)] for state in STATES]


async def test_it_opens_refuses_and_closes_after_trials(caplog: pytest.LogCaptureFixture) -> None:
    wired, upstream = make()
    assert states(wired) == [1.0, 0.0, 0.0]
    with caplog.at_level(logging.INFO, "gateway.upstreams.circuit"):
        assert [(await ask(wired)).status for _ in range(5)] == [500] * 5
        refused = await ask(wired)
        assert (refused.status, refused.get("x-gateway-reason")) == (503, "circuit_open")
        assert refused.get("retry-after") == "5"
        assert len(upstream.seen) == 5
        assert states(wired) == [0.0, 1.0, 0.0]
        upstream.answer = OK
        await wired.pass_time(5.0)
        assert (await ask(wired)).status == 200
        assert states(wired) == [0.0, 0.0, 1.0]
        assert [(await ask(wired)).status for _ in range(5)] == [200] * 5
        assert states(wired) == [1.0, 0.0, 0.0]
    assert [record.getMessage() for record in caplog.records] == [
        "upstream u: circuit open for 5s: 5 of 5 requests failed within 10s",
        "upstream u: circuit half-open",
        "upstream u: circuit closed",
    ]


async def test_refused_connects_open_it() -> None:
    wired, _ = make()
    wired.refused = True
    assert [(await ask(wired)).status for _ in range(6)] == [502] * 5 + [503]


async def test_trials_whose_clients_leave_are_given_back() -> None:
    wired, upstream = make()
    for _ in range(5):
        await ask(wired)
    await wired.pass_time(5.0)
    accept, wired.on_upstream = wired.on_upstream, lambda wire: None  # nobody answers
    for wire in wired.upstreams:
        wire.reset()
    await wired.settle()
    for _ in range(10):
        client = wired.client()
        client.send(GET)
        await wired.settle()
        assert client.received == b""  # it is on its way, not refused
        client.reset()
        await wired.settle()
    assert states(wired) == [0.0, 0.0, 1.0]
    upstream.answer, wired.on_upstream = OK, accept
    assert [(await ask(wired)).status for _ in range(3)] == [200] * 3
    assert states(wired) == [1.0, 0.0, 0.0]
