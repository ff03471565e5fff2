"""Two targets asked at the same time: which answer the client gets, what becomes of the other, what is counted."""

from typing import Any

import pytest

from gateway.decide.balance.settings import BalanceSettings
from gateway.decide.health.outliers import OutlierSettings
from gateway.decide.resilience.adaptive import Adaptive
from gateway.decide.resilience.breaker import BreakerSettings
from gateway.decide.resilience.hedge import HedgeSettings
from gateway.decide.resilience.retry import RetrySettings
from gateway.upstreams.settings import TargetSettings
from gateway.upstreams.upstream import Upstream
from tests.support.http import read_answers
from tests.support.wired import ByteWire, Wired, proxy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
AFTER = HedgeSettings(after_s=0.05)


def wired(*, targets: int = 2, settings: HedgeSettings = AFTER, **upstream: Any) -> Wired:
    named = tuple(TargetSettings(f"10.0.0.{n + 1}", 80) for n in range(targets))
    more: dict[str, Any] = {"targets": named, "balance": BalanceSettings("round_robin"), "hedge": settings}
    return Wired(proxy(route={"timeout_s": 5.0}, upstream=more | upstream))


def ask(gateway: Wired, data: bytes = GET) -> ByteWire:
    client = gateway.client()
    client.send(data)
    return client


async def both(gateway: Wired, data: bytes = GET) -> tuple[ByteWire, ByteWire, ByteWire]:
    """The client, and the wires of the first and the second attempt, both under way."""
    before = len(gateway.upstreams)
    client = ask(gateway, data)
    await gateway.settle()
    await gateway.pass_time(0.1)
    first, second = gateway.upstreams[before:]
    return client, first, second


def statuses(client: ByteWire) -> list[int]:
    return [each.status for each in read_answers(bytes(client.received))]


def upstream(gateway: Wired) -> Upstream:
    return gateway.gateway.upstreams["u"]


def counted(gateway: Wired) -> dict[str, float]:
    registry = gateway.registry
    found = {
        name: registry.cells[registry.counter("gateway_upstream_hedges_total", upstream="u", outcome=name)]
        for name in ("won", "lost")
    }
    return {name: value for name, value in found.items() if value}


def errors(gateway: Wired) -> float:
    registry = gateway.registry
    labels = [("10.0.0.1:80", reason) for reason in ("upstream_reset", "upstream_timeout", "connect_refused")]
    labels += [("10.0.0.2:80", reason) for _, reason in labels]
    return sum(
        registry.cells[registry.counter("gateway_upstream_errors_total", upstream="u", target=target, reason=reason)]
        for target, reason in labels
    )


def assert_over(gateway: Wired) -> None:
    """Nothing is under way, nothing is held."""
    found = upstream(gateway)
    assert [each.in_flight for each in found.targets] == [0] * len(found.targets)
    assert [each.connections.active for each in found.targets] == [0] * len(found.targets)
    assert found.gate is None or (found.gate.in_flight, found.gate.waiting) == (0, 0)
    assert gateway.timers == 0
    assert gateway.gateway.buffered.value == 0
    assert gateway.gateway.in_flight == 0


async def test_the_second_wins_and_the_first_is_closed_unread() -> None:
    gateway = wired()
    client, first, second = await both(gateway)
    second.send(OK)
    await gateway.settle()
    assert statuses(client) == [200]
    assert first.aborted, "it was never read, so it is never used again"
    assert second.is_open
    (line,) = gateway.log
    assert (line.hedged, line.attempts, line.target) == (True, 2, "10.0.0.2:80")
    assert line.overhead_s == pytest.approx(0.0, abs=0.002), "the targets had the request all the time"
    assert counted(gateway) == {"won": 1.0}
    assert errors(gateway) == 0
    assert_over(gateway)


async def test_the_first_wins_and_the_second_is_closed() -> None:
    gateway = wired()
    client, first, second = await both(gateway)
    first.send(OK[:-1])
    await gateway.settle()
    assert second.aborted
    first.send(OK[-1:])
    await gateway.settle()
    assert statuses(client) == [200]
    assert first.is_open
    assert gateway.log[0].target == "10.0.0.1:80"
    assert counted(gateway) == {"lost": 1.0}
    assert_over(gateway)


async def test_an_answer_in_time_is_not_hedged() -> None:
    gateway = wired()
    client = ask(gateway)
    await gateway.settle()
    gateway.upstreams[0].send(OK[:-1])
    await gateway.pass_time(1.0)
    assert len(gateway.upstreams) == 1, "a body may take its time"
    gateway.upstreams[0].send(OK[-1:])
    assert statuses(client) == [200]
    assert not gateway.log[0].hedged
    assert_over(gateway)


async def test_the_winner_streams_on() -> None:
    gateway = wired()
    client, first, second = await both(gateway)
    second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n")
    for _ in range(3):
        second.send(bytes(100_000))
        first.send(OK)  # too late
        await gateway.settle()
    (answer,) = read_answers(bytes(client.received))
    assert (answer.status, len(answer.body)) == (200, 300_000)
    assert_over(gateway)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_status_to_be_tried_again_waits_for_the_other(order: tuple[int, int]) -> None:
    gateway = wired(retry=RetrySettings(when=frozenset({"connect", "503"})))
    client, *wires = await both(gateway)
    wires[order[0]].send(BUSY[:-2])  # not whole, and never will be
    await gateway.settle()
    assert statuses(client) == []
    assert wires[order[0]].aborted
    wires[order[1]].send(OK)
    await gateway.settle()
    assert statuses(client) == [200]
    assert counted(gateway) == ({"won": 1.0} if order[1] else {"lost": 1.0})
    assert_over(gateway)


async def test_a_status_that_nobody_tries_again_counts() -> None:
    gateway = wired()
    client, first, _ = await both(gateway)
    first.send(BUSY)
    await gateway.settle()
    assert statuses(client) == [503]
    assert_over(gateway)


async def test_where_both_say_503_the_last_is_passed_on() -> None:
    gateway = wired(retry=RetrySettings(when=frozenset({"503"})))
    client, first, second = await both(gateway)
    first.send(BUSY)
    second.send(BUSY)
    await gateway.settle()
    assert statuses(client) == [503]
    assert counted(gateway) == {"won": 1.0}, "the second's was the last"
    assert_over(gateway)


async def test_where_both_say_503_a_third_is_asked() -> None:
    retry = RetrySettings(attempts=3, when=frozenset({"503"}), backoff_s=0.0)
    gateway = wired(targets=3, retry=retry)
    client, first, second = await both(gateway)
    first.send(BUSY)
    second.send(BUSY)
    await gateway.pass_time(0.1)
    third = gateway.upstreams[2]
    third.send(OK)
    await gateway.settle()
    assert statuses(client) == [200]
    assert (gateway.log[0].attempts, gateway.log[0].target) == (3, "10.0.0.3:80")
    assert counted(gateway) == {"lost": 1.0}
    assert_over(gateway)


@pytest.mark.parametrize("dies", [0, 1])
async def test_one_that_dies_leaves_it_to_the_other(dies: int) -> None:
    gateway = wired()
    client, *wires = await both(gateway)
    wires[dies].reset()
    await gateway.settle()
    assert statuses(client) == []
    wires[1 - dies].send(OK)
    await gateway.settle()
    assert statuses(client) == [200]
    assert errors(gateway) == 1, "which it did by itself"
    assert counted(gateway) == ({"lost": 1.0} if dies else {"won": 1.0})
    assert_over(gateway)


async def test_where_both_die_the_client_is_told_once() -> None:
    gateway = wired()
    client, first, second = await both(gateway)
    first.reset()
    second.reset()
    await gateway.settle()
    assert statuses(client) == [502]
    assert counted(gateway) == {"lost": 1.0}
    assert_over(gateway)


async def test_a_client_that_leaves_ends_both() -> None:
    gateway = wired()
    client, first, second = await both(gateway)
    client.reset()
    await gateway.settle()
    assert first.aborted
    assert second.aborted
    assert errors(gateway) == 0
    assert counted(gateway) == {"lost": 1.0}
    assert_over(gateway)


async def test_a_second_that_cannot_connect_changes_nothing() -> None:
    gateway = wired()
    gateway.refuses = lambda host: host == "10.0.0.2"
    client = ask(gateway)
    await gateway.pass_time(0.2)
    assert statuses(client) == []
    gateway.upstreams[0].send(OK)
    await gateway.settle()
    assert statuses(client) == [200]
    assert_over(gateway)


async def test_a_first_that_cannot_connect_in_time_is_hedged() -> None:
    gateway = wired()
    gateway.dial_gate.clear()
    client = ask(gateway)
    await gateway.pass_time(0.2)
    gateway.dial_gate.set()
    await gateway.settle()
    assert len(gateway.upstreams) == 2
    for wire in gateway.upstreams:
        wire.send(OK) if wire.received else None
    await gateway.settle()
    assert statuses(client) == [200]
    assert_over(gateway)


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        b"PATCH /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\nhi" + bytes(70_000),
        b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=["POST", "PATCH", "a body that streams", "an upgrade"],
)
async def test_what_cannot_be_repeated_is_never_hedged(request_: bytes) -> None:
    gateway = wired()
    client = ask(gateway, request_)
    await gateway.pass_time(1.0)
    assert len(gateway.upstreams) == 1
    client.reset()
    await gateway.settle()
    assert_over(gateway)


async def test_a_whole_body_goes_to_both() -> None:
    gateway = wired()
    put = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nwhole"
    client, first, second = await both(gateway, put)
    assert first.received.endswith(b"\r\n\r\nwhole")
    assert second.received.endswith(b"\r\n\r\nwhole")
    second.send(OK)
    await gateway.settle()
    assert statuses(client) == [200]
    assert_over(gateway)


async def test_what_the_client_has_seen_is_not_said_by_another() -> None:
    gateway = wired()
    client = ask(gateway)
    await gateway.settle()
    gateway.upstreams[0].send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    await gateway.pass_time(1.0)
    assert len(gateway.upstreams) == 1
    assert client.received.startswith(b"HTTP/1.1 103 ")
    client.reset()
    await gateway.settle()


async def test_hints_of_two_are_kept_back() -> None:
    gateway = wired()
    client, first, second = await both(gateway)
    first.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    second.send(OK)
    await gateway.settle()
    assert client.received.startswith(b"HTTP/1.1 200 ")


async def test_the_budget_of_retries_bounds_hedges() -> None:
    gateway = wired()
    clients = [ask(gateway) for _ in range(40)]
    await gateway.pass_time(0.3)
    assert len(gateway.upstreams) == 50, "ten in quiet times"
    for wire in gateway.upstreams:
        wire.send(OK)
    await gateway.settle()
    assert [statuses(each) for each in clients] == [[200]] * 40
    assert_over(gateway)


async def test_a_kept_connection_that_was_closed_is_asked_again_beside_the_other() -> None:
    gateway = wired()
    for _ in range(2):
        warm = ask(gateway)
        await gateway.settle()
        gateway.upstreams[-1].send(OK)
        await gateway.settle()
        assert statuses(warm) == [200]
    client = ask(gateway)
    await gateway.pass_time(0.1)
    first, second = gateway.upstreams
    assert [each.received.count(b"GET ") for each in (first, second)] == [2, 2]
    first.reset()
    second.reset()
    await gateway.settle()
    assert len(gateway.upstreams) == 4
    assert statuses(client) == []
    gateway.upstreams[3].send(OK)
    await gateway.settle()
    assert statuses(client) == [200]
    assert gateway.log[-1].attempts == 4
    assert_over(gateway)


async def test_a_percentile_acts_when_there_are_answers_enough() -> None:
    gateway = wired(settings=HedgeSettings(percentile=0.95))
    silent = ask(gateway)
    await gateway.pass_time(1.0)
    assert len(gateway.upstreams) == 1
    silent.reset()
    await gateway.settle()
    for _ in range(100):
        client = ask(gateway)
        await gateway.settle()
        gateway.now += 0.02
        (wire,) = [each for each in gateway.upstreams if each.is_open and each.clear()]
        wire.send(OK)
        await gateway.settle()
        assert statuses(client) == [200]
    client = ask(gateway)
    await gateway.pass_time(0.1)
    assert sum(each.is_open and each.received.startswith(b"GET ") for each in gateway.upstreams) == 2
    client.reset()
    await gateway.settle()
    assert_over(gateway)


# --- who is told of it ----------------------------------------------------------------------------------------------


async def test_a_loser_teaches_nothing() -> None:
    """Not the breaker, not the limiter, not who puts targets aside."""
    gateway = wired(
        breaker=BreakerSettings(minimum=1, errors=0.01), outlier=OutlierSettings(errors=1), concurrency="adaptive"
    )
    for _ in range(5):
        client, first, second = await both(gateway)
        limiter = upstream(gateway).gate.limiter  # type: ignore[union-attr]
        assert isinstance(limiter, Adaptive)
        learned = len(limiter._samples)
        client.reset()
        await gateway.settle()
        assert len(limiter._samples) == learned
        assert first.aborted
        assert second.aborted
    client, first, second = await both(gateway)
    second.send(OK)
    await gateway.settle()
    assert statuses(client) == [200]
    assert len(limiter._samples) == learned + 1, "the winner's"
    assert all(each.is_usable for each in upstream(gateway).targets)
    assert upstream(gateway).circuit.is_closed  # type: ignore[union-attr]
    assert_over(gateway)


async def test_a_hedge_needs_a_permit_that_nobody_waits_for() -> None:
    gateway = wired(concurrency=2)
    clients = [ask(gateway) for _ in range(3)]
    await gateway.pass_time(0.2)
    assert len(gateway.upstreams) == 2
    gateway.upstreams[0].send(OK)
    await gateway.settle()
    gateway.upstreams[1].send(OK)
    await gateway.settle()
    await gateway.pass_time(0.2)
    (waits,) = [each for each in clients if not statuses(each)]
    wires = [each for each in gateway.upstreams if each.received.endswith(GET[-4:])]
    assert upstream(gateway).gate.in_flight == 2, "a permit for each"  # type: ignore[union-attr]
    for wire in wires:
        if wire.is_open:
            wire.send(OK)
            await gateway.settle()
    assert statuses(waits) == [200]
    assert_over(gateway)


async def test_no_trial_of_a_circuit_is_spent_on_a_hedge() -> None:
    gateway = wired(breaker=BreakerSettings(minimum=1, open_s=1.0))
    client = ask(gateway)
    await gateway.settle()
    gateway.upstreams[0].reset()
    await gateway.settle()
    assert statuses(client) == [502]
    await gateway.pass_time(1.0)
    before = len(gateway.upstreams)
    trial = ask(gateway)
    await gateway.pass_time(1.0)
    assert len(gateway.upstreams) == before + 1
    gateway.upstreams[-1].send(OK)
    await gateway.settle()
    assert statuses(trial) == [200]
    assert_over(gateway)
