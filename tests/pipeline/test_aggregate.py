"""Any graph of sources, any endings in any order: one answer, the right one, and nothing left behind."""

import asyncio
import json
import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.decide.aggregate.problems import aggregate_problems
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings
from tests.support.http import Answer, read_answers
from tests.support.wired import ByteWire, Wired, proxy

DEADLINE_S = 3.0
ENDINGS = {
    "ok": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%d",
    "status": b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n%d",
    "not_json": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n?!",
    "upstream_protocol": b"HTTP/9.9 what\r\n\r\n",
    "upstream_reset": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1",
    "upstream_timeout": b"",
}


@dataclass(frozen=True)
class Planned:
    """A source, and how its upstream will end it."""

    settings: SourceSettings
    waits_for: tuple[str, ...]
    ending: str
    number: int


@st.composite
def graphs(draw: st.DrawFn) -> list[Planned]:
    planned: list[Planned] = []
    for number in range(draw(st.integers(1, 7))):
        names = [each.settings.name for each in planned]
        waits_for = tuple(sorted(draw(st.sets(st.sampled_from(names), max_size=3)))) if names else ()
        kind = draw(st.sampled_from(("optional", "optional", "fallback", "required")))
        source = SourceSettings(
            f"s{number}",
            "u",
            f"/s{number}?" + "&".join(f"{name}={{{name}}}" for name in waits_for),
            required=kind == "required",
            has_fallback=kind == "fallback",
            fallback=-number,
        )
        planned.append(Planned(source, waits_for, draw(st.sampled_from(("ok", "ok", *ENDINGS))), number + 10))
    return planned


def expected(planned: list[Planned]) -> tuple[dict[str, int], dict[str, str], set[str]]:
    """The values, the reasons of those without one of their own, and whose end comes at the deadline."""
    values: dict[str, int] = {}
    reasons: dict[str, str] = {}
    late: set[str] = set()
    for each in planned:
        name = each.settings.name
        missing = [other for other in each.waits_for if other not in values]
        if missing:
            reasons[name] = "dependency"
            if all(other in late for other in missing):
                late.add(name)
        elif late & set(each.waits_for) or each.ending == "upstream_timeout":
            reasons[name] = "upstream_timeout"
            late.add(name)
        elif each.ending != "ok":
            reasons[name] = each.ending
        if name not in reasons:
            values[name] = each.number
        elif each.settings.has_fallback:
            values[name] = each.settings.fallback
    return values, reasons, late


class Play:
    """One request to an aggregate of `planned`, the upstream played by `rng`."""

    def __init__(self, planned: list[Planned], rng: random.Random) -> None:
        aggregate = AggregateSettings(tuple(each.settings for each in planned), DEADLINE_S)
        assert aggregate_problems(aggregate, frozenset()) == []
        self.wired = Wired(proxy(route={"answer": aggregate}))
        self.by_name = {each.settings.name: each for each in planned}
        self.asked: list[str] = []
        self._rng = rng
        self._seen: dict[ByteWire, int] = {}

    async def ask(self, accept: str) -> ByteWire:
        client = self.wired.client()
        client.send(f"GET /x HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n".encode())
        await self.wired.settle()
        return client

    def waiting(self) -> list[ByteWire]:
        """Connections whose request has no answer yet, but for those that never will."""
        return [wire for wire in self.wired.upstreams if wire.is_open and self._name(wire)]

    def _name(self, wire: ByteWire) -> str:
        requests = bytes(wire.received).split(b"\r\n\r\n")[:-1]
        if len(requests) <= self._seen.get(wire, 0):
            return ""
        name = requests[-1].split(b"?")[0].partition(b"/")[2].decode()
        return "" if self.by_name[name].ending == "upstream_timeout" else name

    async def end_one(self) -> None:
        """Let one that waits have its end."""
        wire = self._rng.choice(self.waiting())
        each = self.by_name[self._name(wire)]
        self.asked.append(each.settings.name)
        self._seen[wire] = self._seen.get(wire, 0) + 1
        data = ENDINGS[each.ending]
        wire.send(data % each.number if b"%d" in data else data)
        if each.ending == "upstream_reset":
            wire.send_eof()
        await self.wired.settle()

    async def play_out(self) -> None:
        while self.waiting():
            await self.end_one()
        await self.wired.pass_time(DEADLINE_S + 0.2)

    def check_nothing_is_left(self) -> None:
        (target,) = self.wired.gateway.upstreams["u"].targets
        assert target.in_flight == 0
        assert self.wired.gateway.in_flight == 0
        assert self.wired.gateway.buffered.value == 0
        assert len(self.wired.log) == 1
        assert set(self.wired.log[0].sources or {}) == set(self.by_name)
        assert target.connections.active == 0
        assert len(self.asked) == len(set(self.asked)), "asked twice"


def answer_of(client: ByteWire) -> Answer:
    (answer,) = read_answers(bytes(client.received))
    assert answer.whole
    return answer


@settings(max_examples=150, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_the_answer_is_what_the_graph_says(planned: list[Planned], rng: random.Random) -> None:
    async def run() -> None:
        play = Play(planned, rng)
        client = await play.ask("*/*")
        await play.play_out()
        check_answer(answer_of(client), planned)
        play.check_nothing_is_left()

    asyncio.run(run())


def check_answer(answer: Answer, planned: list[Planned]) -> None:
    values, reasons, late = expected(planned)
    spoilt = [each.settings.name for each in planned if each.settings.required and each.settings.name in reasons]
    if spoilt:
        assert answer.reason == "aggregate_required_failed"
        assert any(name in json.loads(answer.body)["detail"] for name in spoilt)
        assert answer.status == (504 if set(spoilt) <= late else 502) or set(spoilt) & late
        return
    assert answer.status == 200
    body = json.loads(answer.body)
    failed = body.pop("_sources", {})
    assert body == values
    assert {name: each["reason"] for name, each in failed.items()} == reasons
    assert answer.get("x-gateway-complete") == ("false" if reasons else "true")


@settings(max_examples=60, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_a_stream_tells_the_same(planned: list[Planned], rng: random.Random) -> None:
    async def run() -> None:
        play = Play(planned, rng)
        client = await play.ask("application/x-ndjson")
        await play.play_out()
        answer = answer_of(client)
        play.check_nothing_is_left()
        if answer.status == 200:
            check_lines([json.loads(line) for line in answer.body.splitlines()], planned)

    asyncio.run(run())


def check_lines(lines: list[dict[str, Any]], planned: list[Planned]) -> None:
    values, reasons, _ = expected(planned)
    *sources, last = lines
    sent = {each["source"]: each["data"] for each in sources}
    assert len(sent) == len(sources)
    if "error" in last:
        assert sent.items() <= values.items()
    else:
        assert sent == values
        assert {name: each["reason"] for name, each in last.get("_sources", {}).items()} == reasons


@settings(max_examples=60, deadline=None)
@given(graphs(), st.randoms(use_true_random=False), st.integers(0, 4), st.sampled_from(("*/*", "text/event-stream")))
def test_a_client_that_leaves_leaves_nothing(
    planned: list[Planned], rng: random.Random, after: int, accept: str
) -> None:
    async def run() -> None:
        play = Play(planned, rng)
        client = await play.ask(accept)
        for _ in range(after):
            if play.waiting():
                await play.end_one()
        client.reset()
        await play.wired.settle()
        play.check_nothing_is_left()
        await play.wired.pass_time(DEADLINE_S + 0.2)
        assert len(play.wired.log) == 1

    asyncio.run(run())


@pytest.mark.parametrize("times", [{}, {"timeout_s": 1.0}])
async def test_a_target_that_cannot_be_reached_in_time_has_failed(times: dict[str, float]) -> None:
    wired = Wired(proxy(route={"answer": AggregateSettings((SourceSettings("a", "u", "/", **times),), DEADLINE_S)}))
    wired.dial_gate.clear()
    client = wired.client()
    client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    await wired.pass_time(DEADLINE_S + 0.2)
    assert json.loads(answer_of(client).body)["_sources"]["a"]["reason"] == "connect_timeout"
    labels = {"upstream": "u", "target": "10.0.0.1:80", "reason": "connect_timeout"}
    assert wired.registry.cells[wired.registry.counter("gateway_upstream_errors_total", **labels)] == 1
