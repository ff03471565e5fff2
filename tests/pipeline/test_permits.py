"""Whatever comes in whatever order: every permit, ticket, place in a load and connection ends exactly once.

Random histories of clients that come and leave, targets that answer in pieces, refuse, reset or say nothing, that DNS
names and names no more, and time that passes, with everything on that holds something: a queue, a circuit, retries with
back-off, hedges.
"""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.errors import GatewayError
from gateway.decide.health.outliers import OutlierSettings
from gateway.decide.resilience.breaker import BreakerSettings
from gateway.decide.resilience.hedge import HedgeSettings
from gateway.decide.resilience.queue_settings import QueueSettings
from gateway.decide.resilience.retry import CONDITIONS, RetrySettings
from gateway.transport.settings import ConnectionsSettings
from gateway.upstreams.settings import TargetSettings
from gateway.upstreams.target import Target
from tests.support.http import read_answers
from tests.support.wired import ByteWire, Wired, proxy

REQUESTS = (
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
    b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo",
    b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + bytes(70_000),
    b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n",
)
MISSING = (0, 0, 2, 20_000, 90_000)
"""Bytes of the body that come later."""
PIECES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nbody",
    b"body",
    b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
    b"HTTP/1.1 503 Busy\r\nContent-Length: 8\r\n\r\nbusy",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"SSH-2.0\r\n\r\n",
)
WHICH = st.integers(0, 7)
ACTIONS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, len(REQUESTS) - 1)),
    st.tuples(st.just("ask"), st.just(0)),
    st.tuples(st.just("body"), WHICH, st.sampled_from([1, 10_000, 90_000])),
    st.tuples(st.just("leave"), WHICH),
    st.tuples(st.just("answer"), WHICH, st.integers(0, len(PIECES) - 1)),
    st.tuples(st.just("answer"), WHICH, st.just(0)),
    st.tuples(st.just("reset"), WHICH),
    st.tuples(st.just("end"), WHICH),
    st.tuples(st.just("refuse"), st.booleans()),
    st.tuples(st.just("hang"), st.booleans()),
    st.tuples(st.just("dns"), st.integers(0, 3)),
    st.tuples(st.just("pass"), st.sampled_from([0.02, 0.1, 0.3, 1.2])),
)
LIMIT_S = 2.0
NAMED = TargetSettings("orders.internal", 80, dns=True)
EVERYTHING: dict[str, Any] = {
    "targets": (TargetSettings("10.0.0.1", 80), NAMED),
    "connections": ConnectionsSettings(max=2, wait_s=0.3),
    "concurrency": 3,
    "queues": (QueueSettings("default", max=2, wait_s=0.5),),
    "breaker": BreakerSettings(minimum=3, open_s=0.5),
    "outlier": OutlierSettings(errors=2, eject_s=0.3),
    "retry": RetrySettings(attempts=3, when=frozenset(CONDITIONS), backoff_s=0.1),
    "hedge": HedgeSettings(after_s=0.05),
}


class World:
    """A gateway, its clients, and its targets on byte wires."""

    def __init__(self, **upstream: Any) -> None:
        self.wired = Wired(proxy(route={"timeout_s": LIMIT_S}, upstream=EVERYTHING | upstream))
        self.upstream = self.wired.gateway.upstreams["u"]
        self.clients: list[ByteWire] = []
        self.missing: dict[ByteWire, int] = {}
        self.targets: set[Target] = set(self.upstream.targets)
        """All that there ever were."""

    async def play(self, action: tuple[Any, ...]) -> None:
        kind, arguments = action[0], action[1:]
        await getattr(self, f"_{kind}")(*arguments)
        await self.wired.settle()
        self.check()

    def check(self) -> None:
        """What holds at any time."""
        gate, circuit = self.upstream.gate, self.upstream.circuit
        assert gate is not None
        assert circuit is not None
        assert gate.in_flight >= 0
        assert gate.in_flight <= gate.limiter.limit or self.upstream.settings.concurrency == "adaptive"
        assert circuit._breaker.trials >= 0
        assert all(each.in_flight >= 0 for each in self.targets)
        assert all(len([a for a in self._answers(each) if a.status >= 200]) <= 1 for each in self.clients)

    def _answers(self, client: ByteWire) -> list[Any]:
        return read_answers(bytes(client.received))

    async def _ask(self, which: int) -> None:
        client = self.wired.client()
        client.send(REQUESTS[which])
        self.clients.append(client)
        self.missing[client] = MISSING[which]

    async def _body(self, which: int, most: int) -> None:
        if self.clients:
            client = self.clients[which % len(self.clients)]
            size = min(most, self.missing[client])
            if size and not client.received and not client.lost:
                self.missing[client] -= size
                client.send(bytes(size))

    async def _leave(self, which: int) -> None:
        if self.clients:
            self.clients[which % len(self.clients)].reset()

    def _asked(self) -> list[ByteWire]:
        return [each for each in self.wired.upstreams if each.is_open and each.received]

    async def _answer(self, which: int, piece: int) -> None:
        if asked := self._asked():
            asked[which % len(asked)].send(PIECES[piece])

    async def _reset(self, which: int) -> None:
        if wires := [each for each in self.wired.upstreams if each.is_open]:
            wires[which % len(wires)].reset()

    async def _end(self, which: int) -> None:
        if wires := [each for each in self.wired.upstreams if each.is_open]:
            wires[which % len(wires)].send_eof()

    async def _refuse(self, refused: bool) -> None:
        self.wired.refused = refused

    async def _hang(self, hangs: bool) -> None:
        (self.wired.dial_gate.clear if hangs else self.wired.dial_gate.set)()

    async def _dns(self, last: int) -> None:
        self.wired.addresses = [f"10.0.0.{n}" for n in (last, last + 1) if n > 1]
        with suppress(GatewayError):
            await self.upstream._look_up(NAMED)
        self.targets |= set(self.upstream.targets)

    async def _pass(self, seconds: float) -> None:
        await self.wired.pass_time(seconds)

    async def finish(self) -> None:
        """All that is left is left alone until every deadline is over; then nothing may be held."""
        await self.wired.pass_time(LIMIT_S + 1.0)
        self.wired.dial_gate.set()
        for each in self.clients:
            each.reset()
        await self.wired.settle()
        gate, circuit, gateway = self.upstream.gate, self.upstream.circuit, self.wired.gateway
        assert gate is not None
        assert circuit is not None
        found = {
            "permits": gate.in_flight,
            "waiting": gate.waiting,
            "trials": circuit._breaker.trials,
            "loads": sum(each.in_flight for each in self.targets),
            "connections": sum(each.connections.active for each in self.targets),
            "buffered": gateway.buffered.value,
            "in flight": gateway.in_flight,
            "timers": self.wired.timers,
            "depth": self.wired.registry.cells[self.wired.registry.gauge("gateway_queue_depth", queue="default")],
        }
        assert {name: value for name, value in found.items() if value} == {}
        assert len(self.wired.log) == len(self.clients), "each is told of once"
        await self._hedges_are_counted()

    async def _hedges_are_counted(self) -> None:
        registry = self.wired.registry
        counted = sum(
            registry.cells[registry.counter("gateway_upstream_hedges_total", upstream="u", outcome=outcome)]
            for outcome in ("won", "lost")
        )
        assert counted == sum(each.hedged for each in self.wired.log)


@pytest.mark.parametrize("concurrency", [1, 3, "adaptive"])
@given(history=st.lists(ACTIONS, max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_is_held_after_any_history(concurrency: Any, history: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        world = World(concurrency=concurrency)
        await world.play(("dns", 2))
        for action in history:
            await world.play(action)
        await world.finish()

    asyncio.run(run())
