"""Whatever happens at whatever turn of the loop: every permit is given back, every task and timer ends.

A request is played anew for each turn that it takes, and interrupted there: the client leaves, the upstream goes
away, or nothing more comes until all deadlines are over.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import count
from typing import Any

import pytest

from gateway import Request, Response
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings
from gateway.decide.balance.settings import BalanceSettings
from gateway.decide.resilience.breaker import BreakerSettings
from gateway.decide.resilience.hedge import HedgeSettings
from gateway.decide.resilience.queue_settings import QueueSettings
from gateway.decide.resilience.retry import RetrySettings
from gateway.pipeline.settings import CallableSettings, ForwardSettings, HandlerSettings, PluginSettings
from gateway.transport.settings import ConnectionsSettings
from gateway.upstreams.settings import TargetSettings
from tests.support.http import read_answers
from tests.support.wired import ByteWire, Wired, proxy

PIECES = (b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 4\r\n\r\n", b"12", b"34")
BUSY = (b"HTTP/1.1 503 Busy\r\nContent-Le", b"ngth: 4\r\n\r\n", b"busy")
LIMIT_S = 3.0
TURN_S = 0.01
"""Time that passes with each turn of the loop, so that timers of hedges and back-offs come due between the pieces."""


async def fetching(request: Request) -> Any:
    """A handler: one call out, then two at once."""
    first = await request.gateway.fetch("u", "/first")
    others = await asyncio.gather(*[request.gateway.fetch("u", f"/{name}") for name in "ab"])
    return [each.status for each in (first, *others)]


async def streaming(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for name in "ab":
            yield (await request.gateway.fetch("u", f"/{name}")).body

    return Response(pieces())


class Curious:
    """A plugin that asks an upstream ahead of the request and ahead of its answer."""

    async def on_request(self, request: Request) -> None:
        await request.gateway.fetch("u", "/ask")

    async def on_response(self, request: Request, response: Response) -> None:
        await request.gateway.fetch("u", "/tell")


def source(name: str, path: str, **more: Any) -> SourceSettings:
    return SourceSettings(name, "u", path, **more)


AGGREGATE = AggregateSettings(
    (source("a", "/a"), source("b", "/b/{a}", timeout_s=1.0), source("c", "/c", has_fallback=True), source("d", "/d")),
    LIMIT_S,
)
CURIOUS = PluginSettings("curious", CallableSettings(f"{__name__}:Curious"))
ROUTES: dict[str, dict[str, Any]] = {
    "proxied": {},
    "aggregate": {"answer": AGGREGATE},
    "handler": {"answer": HandlerSettings(CallableSettings(f"{__name__}:fetching"))},
    "streaming handler": {"answer": HandlerSettings(CallableSettings(f"{__name__}:streaming"))},
    "proxied, with a plugin": {"plugins": (CURIOUS,), "answer": ForwardSettings((("u", 1),))},
    "aggregate, with a plugin": {"plugins": (CURIOUS,), "answer": AGGREGATE},
    "handler, with a plugin": {
        "plugins": (CURIOUS,),
        "answer": HandlerSettings(CallableSettings(f"{__name__}:fetching")),
    },
}
HEADS = {
    "json": b"Accept: */*\r\n\r\n",
    "stream": b"Accept: text/event-stream\r\n\r\n",
    "body": b"Content-Length: 4\r\n\r\n",
}


class Play:
    """One request, and an upstream that answers a piece a turn."""

    def __init__(self, route: dict[str, Any], connections: int, **more: Any) -> None:
        upstream = {"connections": ConnectionsSettings(max=connections), "concurrency": connections}
        self.wired = Wired(proxy(route={"timeout_s": LIMIT_S, **route}, upstream=upstream | more))
        self.wired.on_upstream = self._accept
        self.is_mute = False
        self.mute_host = self.busy_host = ""
        """The target that says nothing; the one that says 503."""
        self.client = self.wired.client()

    def _accept(self, wire: ByteWire) -> None:
        host = wire.get_extra_info("peername")[0]
        pieces = () if host == self.mute_host else BUSY if host == self.busy_host else PIECES
        wire.on_write = lambda data: self._answer(wire, pieces) if data.startswith((b"GET", b"P")) else None

    def _answer(self, wire: ByteWire, pieces: tuple[bytes, ...]) -> None:
        if pieces and not self.is_mute:
            asyncio.get_running_loop().call_soon(self._say, wire, pieces)

    def _say(self, wire: ByteWire, pieces: tuple[bytes, ...]) -> None:
        wire.send(pieces[0])
        self._answer(wire, pieces[1:])

    async def turns(self, number: int) -> None:
        for _ in range(number):
            self.wired.now += TURN_S
            self.wired.fire()
            await asyncio.sleep(0)

    @property
    def is_answered(self) -> bool:
        return any(each.whole for each in read_answers(bytes(self.client.received)))

    def left(self) -> dict[str, Any]:
        """What is not as it was before."""
        gateway = self.wired.gateway
        upstream = gateway.upstreams["u"]
        found = {
            "in flight": gateway.in_flight,
            "in flight of the targets": sum(each.in_flight for each in upstream.targets),
            "connections": sum(each.connections.active for each in upstream.targets),
            "permits": upstream.gate.in_flight,
            "waiting": upstream.gate.waiting,
            "trials": 0 if upstream.circuit is None else upstream.circuit._breaker.trials,
            "buffered": gateway.buffered.value,
            "tasks": len(asyncio.all_tasks()) - 1,
            "timers": self.wired.timers,
        }
        return {name: value for name, value in found.items() if value}


async def client_resets(play: Play) -> None:
    """The upstream's answers come all the same."""
    play.client.reset()


async def client_resets_and_upstream_is_mute(play: Play) -> None:
    play.is_mute = True
    play.client.reset()


async def client_ends(play: Play) -> None:
    play.client.send_eof()


async def upstream_resets(play: Play) -> None:
    for wire in play.wired.upstreams:
        wire.reset()
    play.wired.refused = True


async def upstream_is_mute(play: Play) -> None:
    play.is_mute = True


async def dials_hang(play: Play) -> None:
    play.wired.dial_gate.clear()
    play.is_mute = True


INTERRUPTIONS: tuple[Callable[[Play], Coroutine[Any, Any, None]], ...] = (
    client_resets,
    client_resets_and_upstream_is_mute,
    client_ends,
    upstream_resets,
    upstream_is_mute,
    dials_hang,
)


@pytest.mark.parametrize("interrupt", INTERRUPTIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("connections", [1, 100])
@pytest.mark.parametrize(
    ("route", "head"),
    [(route, head) for route in ROUTES for head in HEADS if head != "stream" or "aggregate" in route],
)
async def test_at_every_turn(
    route: str, head: str, connections: int, interrupt: Callable[[Play], Coroutine[Any, Any, None]]
) -> None:
    await interrupted_at_every_turn(lambda: Play(ROUTES[route], connections), head, interrupt)


TWO = (TargetSettings("10.0.0.1", 80), TargetSettings("10.0.0.2", 80))
BALANCE = BalanceSettings("round_robin")


def retrying() -> Play:
    retry = RetrySettings(when=frozenset({"connect", "503"}), backoff_s=2 * TURN_S)
    play = Play({}, 1, targets=TWO, balance=BALANCE, retry=retry)
    play.busy_host = "10.0.0.1"
    return play


def hedging() -> Play:
    play = Play({}, 2, targets=TWO, balance=BALANCE, hedge=HedgeSettings(after_s=8 * TURN_S))
    play.mute_host = "10.0.0.1"
    return play


def hedging_both_slow() -> Play:
    return Play({}, 2, targets=TWO, balance=BALANCE, hedge=HedgeSettings(after_s=2 * TURN_S))


def hedging_an_aggregate() -> Play:
    play = Play({"answer": AGGREGATE}, 8, targets=TWO, balance=BALANCE, hedge=HedgeSettings(after_s=8 * TURN_S))
    play.mute_host = "10.0.0.1"
    return play


def trying_a_circuit() -> Play:
    play = Play({}, 1, breaker=BreakerSettings(minimum=1, open_s=1.0))
    circuit = play.wired.gateway.upstreams["u"].circuit
    assert circuit is not None
    circuit.enter(play.wired.now).end("failed", play.wired.now)
    play.wired.now += 1.0
    return play


def waiting_in_a_queue() -> Play:
    play = Play({}, 1, queues=(QueueSettings("default", wait_s=8 * TURN_S),))
    gate = play.wired.gateway.upstreams["u"].gate
    assert gate is not None
    first = gate.enter(play, "default", play.wired.now, play.wired.now + 1.0)  # type: ignore[arg-type]
    play.wired._loop.call_later(4 * TURN_S, first.end)
    return play


def adaptive() -> Play:
    return Play({}, 1, concurrency="adaptive")


@pytest.mark.parametrize("interrupt", INTERRUPTIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("head", ["json", "body"])
@pytest.mark.parametrize(
    "play",
    [retrying, hedging, hedging_both_slow, hedging_an_aggregate, trying_a_circuit, waiting_in_a_queue, adaptive],
    ids=lambda each: each.__name__,
)
async def test_at_every_turn_of_several_attempts(
    play: Callable[[], Play], head: str, interrupt: Callable[[Play], Coroutine[Any, Any, None]]
) -> None:
    await interrupted_at_every_turn(play, head, interrupt, method=b"PUT" if head == "body" else b"GET")


async def interrupted_at_every_turn(
    start: Callable[[], Play],
    head: str,
    interrupt: Callable[[Play], Coroutine[Any, Any, None]],
    method: bytes = b"",
) -> None:
    for turns in count():
        play = start()
        method = method or (b"POST" if head == "body" else b"GET")
        play.client.send(method + b" /x HTTP/1.1\r\nHost: a\r\n" + HEADS[head])
        await play.turns(turns // 2)
        if head == "body":
            play.client.send(b"abcd")
        await play.turns(turns - turns // 2)
        ended = play.is_answered
        await interrupt(play)
        await play.turns(200)
        if not play.client.is_open:
            assert play.left() == {}, f"after {turns} turns"
        await play.wired.pass_time(2 * LIMIT_S + 1)
        await play.turns(50)
        play.wired.dial_gate.set()
        play.client.reset()
        await play.turns(50)
        assert play.left() == {}, f"after {turns} turns"
        assert len(play.wired.log) == 1
        if ended:
            break
    assert turns > 3
