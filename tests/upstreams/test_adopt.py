"""An upstream whose settings change keeps of its state what they do not change; its requests end on what they began."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.config.settings import GatewaySettings
from gateway.decide.balance.settings import BalanceSettings
from gateway.decide.health.outliers import OutlierSettings
from gateway.decide.resilience.adaptive import LONGEST_WINDOW_S, Adaptive
from gateway.decide.resilience.breaker import BreakerSettings
from gateway.decide.resilience.hedge import HedgeSettings
from gateway.decide.resilience.queue_settings import QueueSettings
from gateway.decide.resilience.retry import RetrySettings
from gateway.transport.resolver import FRESH_S
from gateway.transport.settings import ConnectionsSettings, UpstreamTlsSettings
from gateway.upstreams.settings import TargetSettings, TimeoutSettings
from gateway.upstreams.upstream import Upstream
from tests.support.http import read_answers
from tests.support.wired import ByteWire, Wired, proxy

ONE, TWO, THREE = (TargetSettings(f"10.0.0.{each}", 80) for each in (1, 2, 3))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"
ALL: dict[str, Any] = {
    "targets": (ONE, TWO),
    "concurrency": 2,
    "queues": (QueueSettings("default", max=9, wait_s=5.0),),
    "breaker": BreakerSettings(errors=0.5, minimum=10),
    "outlier": OutlierSettings(errors=3, eject_s=5.0),
    "hedge": HedgeSettings(percentile=0.95),
    "balance": BalanceSettings("round_robin"),
}


def made(**changed: Any) -> GatewaySettings:
    return proxy(upstream={**ALL, **changed})


def up(wired: Wired) -> Upstream:
    return wired.gateway.upstreams["u"]


async def ask(wired: Wired, times: int = 1) -> list[ByteWire]:
    clients = [wired.client() for _ in range(times)]
    for client in clients:
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    await wired.settle()
    return clients


async def answer_all(wired: Wired) -> None:
    """Answer what was asked, until nothing is."""
    while asked := [wire for wire in wired.upstreams if wire.clear()]:
        for wire in asked:
            wire.send(OK)
        await wired.settle()


def statuses(clients: list[ByteWire]) -> list[int | None]:
    answers = [read_answers(bytes(each.received)) for each in clients]
    return [each[0].status if each else None for each in answers]


def gauge(wired: Wired, name: str, **labels: str) -> float:
    wired.registry.flush(wired.now)
    return wired.registry.cells[wired.registry.gauge(name, upstream="u", **labels)]


CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"targets": (ONE, TWO, THREE)}, set()),
    ({"targets": (replace(ONE, weight=7), TWO)}, set()),
    ({"timeout": TimeoutSettings(head_s=3.0)}, set()),
    ({"retry": RetrySettings(budget=0.5)}, set()),
    ({"concurrency": 7}, set()),
    ({"queues": (QueueSettings("default"), QueueSettings("more"))}, set()),
    ({"concurrency": None}, {"gate"}),
    ({"breaker": BreakerSettings(minimum=99)}, {"circuit"}),
    ({"outlier": OutlierSettings(errors=9)}, {"ejections"}),
    ({"hedge": HedgeSettings(after_s=0.1)}, {"hedge"}),
    ({"balance": BalanceSettings("random")}, {"balancer"}),
]
STATE = ("gate", "circuit", "ejections", "hedge", "balancer", "retries", "memo")


@pytest.mark.parametrize(("changed", "anew"), CHANGES, ids=[next(iter(each)) for each, _ in CHANGES])
async def test_what_keeps_its_settings_stays(changed: dict[str, Any], anew: set[str]) -> None:
    wired = Wired(made())
    before = up(wired)
    state = {name: getattr(before, name) for name in STATE}
    targets = {target.key: (target, target.connections) for target in before.targets}
    await wired.reload(made(**changed))
    after = up(wired)
    assert after is not before
    assert {name for name in STATE if getattr(after, name) is not state[name]} == anew
    assert {target.key: (target, target.connections) for target in after.targets}.items() >= targets.items()
    assert (after.targets[0].weight, after.retries.share) == (
        after.settings.targets[0].weight,
        after.settings.retry.budget,
    )
    wired.gateway.close()


async def test_a_config_that_is_built_and_dropped_leaves_no_trace() -> None:
    wired = Wired(made())
    (client,) = await ask(wired)
    before = up(wired)
    first = before.targets[0]
    generation = await wired.prepare(made(targets=(replace(ONE, weight=9), THREE), concurrency=1, breaker=None))
    assert gauge(wired, "gateway_upstream_requests_in_flight", target=first.key) == 1
    assert gauge(wired, "gateway_upstream_target_up", target="10.0.0.3:80") == 0
    assert gauge(wired, "gateway_concurrency_limit") == 2
    generation.discard()
    assert (first.weight, before.usable) == (1, before.targets)
    wired.upstreams[0].send(OK)
    await wired.settle()
    assert statuses([client]) == [200]
    assert gauge(wired, "gateway_circuit_state", state="closed") == 1
    wired.gateway.close()


async def test_connections_go_on_and_those_of_a_target_that_leaves_end_with_their_answers() -> None:
    wired = Wired(made(concurrency=None, hedge=None))
    clients = await ask(wired, 4)
    wires = wired.upstreams[:]
    wires[0].send(OK)
    wires[1].send(OK)
    await wired.settle()
    await wired.reload(made(concurrency=None, hedge=None, targets=(replace(ONE, weight=3), THREE)))
    by_target = {
        each: [wire for wire in wires if wire.get_extra_info("peername")[0] == each.host] for each in (ONE, TWO)
    }
    assert [wire.is_open for wire in by_target[ONE]] == [True, True]
    assert [wire.is_open for wire in by_target[TWO]] == [False, True], "the idle one is closed"
    assert gauge(wired, "gateway_upstream_requests_in_flight", target=ONE.label) == 1
    assert gauge(wired, "gateway_upstream_connections", target=ONE.label, state="idle") == 1
    assert gauge(wired, "gateway_upstream_requests_in_flight", target=TWO.label) == 1
    for wire in wires[2:]:
        wire.send(OK)
    await wired.settle()
    assert statuses(clients) == [200] * 4
    assert not by_target[TWO][1].is_open
    for target in (ONE, TWO, THREE):
        assert gauge(wired, "gateway_upstream_requests_in_flight", target=target.label) == 0
    assert gauge(wired, "gateway_upstream_target_up", target=TWO.label) == 0
    assert len(await ask(wired, 3)) == 3
    assert len(wired.upstreams) == 5, "one at the new target; the other two are leased"
    wired.gateway.close()


async def test_connections_that_would_be_made_otherwise_are_left() -> None:
    wired = Wired(made(targets=(ONE,), hedge=None))
    clients = await ask(wired, 2)
    idle, busy = wired.upstreams
    idle.send(OK)
    await wired.settle()
    target = up(wired).targets[0]
    await wired.reload(
        made(targets=(ONE,), hedge=None, connections=ConnectionsSettings(max=5, idle=3), timeout=TimeoutSettings(0.2))
    )
    assert idle.is_open
    assert (target.connections.settings.max, target.connections.to.timeout_s) == (5, 0.2)
    await wired.reload(made(targets=(ONE,), hedge=None, connections=ConnectionsSettings(idle=0)))
    assert not idle.is_open
    await wired.reload(made(targets=(replace(ONE, tls=True),), hedge=None, tls=UpstreamTlsSettings(verify=False)))
    assert busy.is_open
    assert (up(wired).targets[0] is target, target.in_flight) == (True, 1)
    kept = target.connections
    await wired.reload(
        made(targets=(replace(ONE, tls=True),), hedge=None, tls=UpstreamTlsSettings(verify=False), breaker=None)
    )
    assert target.connections is kept, "with the same TLS"
    busy.send(OK)
    await wired.settle()
    assert statuses(clients) == [200, 200]
    assert not busy.is_open, "nobody will lease it again"
    wired.gateway.close()


async def test_who_is_put_aside_stays_so_and_comes_back_in_time() -> None:
    wired = Wired(made(breaker=None, hedge=None, concurrency=None))
    wired.on_upstream = lambda wire: setattr(
        wire, "on_write", lambda data: wire.send(BAD if wire.get_extra_info("peername")[0] == ONE.host else OK)
    )
    for _ in range(8):
        await ask(wired)
    assert [target.ejected for target in up(wired).targets] == [True, False]
    await wired.reload(made(breaker=None, hedge=None, concurrency=None, targets=(THREE, ONE, TWO)))
    assert [target.key for target in up(wired).usable] == [THREE.label, TWO.label]
    assert set(statuses([client for _ in range(9) for client in await ask(wired)])) == {200}
    await wired.reload(made(breaker=None, hedge=None, concurrency=None, targets=(ONE, TWO)))
    assert gauge(wired, "gateway_upstream_target_up", target=ONE.label) == 0
    await wired.pass_time(6.0)
    assert len(up(wired).usable) == 2
    for _ in range(8):
        await ask(wired)
    assert len(up(wired).usable) == 1, "and is judged on"
    await wired.reload(made(breaker=None, hedge=None, concurrency=None, outlier=None))
    assert len(up(wired).usable) == 2, "nobody would bring it back"
    wired.gateway.close()


async def test_an_open_circuit_stays_open_and_one_that_goes_is_not_shown() -> None:
    wired = Wired(made(outlier=None, hedge=None, concurrency=None))
    wired.refused = True
    for _ in range(12):
        await ask(wired)
    assert gauge(wired, "gateway_circuit_state", state="open") == 1
    await wired.reload(made(outlier=None, hedge=None, concurrency=None, targets=(ONE,)))
    (client,) = await ask(wired)
    assert b"circuit_open" in client.received
    assert gauge(wired, "gateway_circuit_state", state="open") == 1
    await wired.reload(made(outlier=None, hedge=None, concurrency=None, targets=(ONE,), breaker=None))
    assert gauge(wired, "gateway_circuit_state", state="open") == 0
    wired.gateway.close()


async def test_permits_are_counted_through_all_changes_and_who_waits_waits_on() -> None:
    wired = Wired(made(hedge=None))
    clients = await ask(wired, 6)
    assert len(wired.upstreams) == 2
    gate = up(wired).gate
    assert gate is not None
    for changed in (
        {"targets": (replace(ONE, weight=4), TWO)},
        {"queues": (QueueSettings("default", wait_s=9.0),)},
        {},
    ):
        await wired.reload(made(hedge=None, **changed))
        clients += await ask(wired)
        assert (gate.in_flight, len(wired.upstreams)) == (2, 2)
    assert up(wired).gate is gate
    await wired.reload(made(hedge=None, concurrency=4))
    assert (gate.in_flight, len(wired.upstreams)) == (4, 4), "more at once, from now on"
    await wired.reload(made(hedge=None, concurrency=1))
    assert gauge(wired, "gateway_concurrency_limit") == 1
    await answer_all(wired)
    assert statuses(clients) == [200] * 9
    assert wired.registry.cells[wired.registry.gauge("gateway_queue_depth", queue="default")] == 0
    assert gate.in_flight == gate.waiting == 0
    wired.gateway.close()


async def test_a_class_that_goes_lets_those_that_wait_in_it_wait_on() -> None:
    queues = (QueueSettings("default"), QueueSettings("gone", wait_s=9.0))
    wired = Wired(proxy(upstream={**ALL, "hedge": None, "concurrency": 1, "queues": queues}, route={"class_": "gone"}))
    clients = await ask(wired, 3)
    await wired.reload(made(hedge=None, concurrency=1))
    await wired.pass_time(3.0)
    clients += await ask(wired)
    await answer_all(wired)
    assert statuses(clients) == [200] * 4
    wired.gateway.close()


async def test_the_limit_that_was_found_out_stays_and_learns_from_what_began_before() -> None:
    wired = Wired(made(hedge=None, concurrency="adaptive"))
    gate = up(wired).gate
    assert gate is not None
    limiter = gate.limiter
    assert isinstance(limiter, Adaptive)
    clients = await ask(wired, 2)
    await wired.reload(made(hedge=None, concurrency="adaptive", targets=(ONE, TWO, THREE)))
    assert gate.limiter is limiter
    for wire in wired.upstreams[:2]:
        wired.now += LONGEST_WINDOW_S
        wire.send(OK)
        await wired.settle()
    assert statuses(clients) == [200] * 2
    assert limiter.base_s > 0.0
    await wired.reload(made(hedge=None, concurrency=3))
    assert gauge(wired, "gateway_concurrency_limit") == 3
    wired.gateway.close()


async def test_names_that_do_not_resolve_now_keep_their_last_answer() -> None:
    named = TargetSettings("orders.internal", 80, dns=True)
    wired = Wired(made(targets=(named,)))
    wired.addresses = ["10.0.0.1", "10.0.0.2"]
    await wired.gateway.start()
    targets = up(wired).targets
    wired.now += 10 * FRESH_S
    wired.addresses = []
    await wired.reload(made(targets=(replace(named, weight=3),)))
    assert up(wired).targets == targets
    assert {target.weight for target in targets} == {3}
    wired.addresses = ["10.0.0.2", "10.0.0.3"]
    await wired.reload(made(targets=(named, THREE)))
    assert sorted(target.key for target in up(wired).targets) == ["10.0.0.2:80", "10.0.0.3:80"]
    assert targets[1] in up(wired).targets
    wired.gateway.close()
