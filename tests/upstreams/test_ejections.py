"""Targets are put aside and come back, with the flags, the counts and the log that go with it."""

import logging

import pytest

from gateway.decide.health.outliers import OutlierSettings
from gateway.upstreams.settings import TargetSettings
from tests.support.http import read_answers
from tests.support.wired import ByteWire, Wired, proxy

TARGETS = (TargetSettings("10.0.0.1", 80), TargetSettings("10.0.0.2", 80))
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


class World:
    """Two targets; the first answers `status`."""

    def __init__(self, *, targets: tuple[TargetSettings, ...] = TARGETS) -> None:
        self.status = 500
        settings = OutlierSettings(errors=3, window_s=10.0, eject_s=5.0)
        self.wired = Wired(proxy(upstream={"targets": targets, "outlier": settings}))
        self.wired.on_upstream = self._accept
        self.upstream = self.wired.gateway.upstreams["u"]

    def _accept(self, wire: ByteWire) -> None:
        bad = wire.get_extra_info("peername")[0] == "10.0.0.1"
        wire.on_write = lambda data: wire.send(
            b"HTTP/1.1 %d Whatever\r\nContent-Length: 2\r\n\r\nok" % (self.status if bad else 200)
        )

    async def ask(self, times: int) -> list[int]:
        """The statuses of so many requests, one after the other."""
        client = self.wired.client()
        for _ in range(times):
            client.send(GET)
            await self.wired.settle()
        statuses = [answer.status for answer in read_answers(client.clear())]
        client.send_eof()
        await self.wired.settle()
        return statuses

    def ejections(self) -> float:
        registry = self.wired.registry
        labels = {"upstream": "u", "target": "10.0.0.1:80", "reason": "consecutive_errors"}
        return registry.cells[registry.counter("gateway_upstream_ejections_total", **labels)]

    def up(self) -> list[float]:
        registry = self.wired.registry
        registry.flush(self.wired.now)
        return [
            registry.cells[registry.gauge("gateway_upstream_target_up", upstream="u", target=target.key)]
            for target in self.upstream.targets
        ]


async def test_a_failing_target_is_put_aside_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO, "gateway.upstreams.ejections"):
        statuses = await world.ask(30)
        assert statuses.count(500) == 3
        assert statuses[-10:] == [200] * 10
        assert world.up() == [0.0, 1.0]
        assert world.ejections() == 1.0
        world.status = 200
        await world.wired.pass_time(5.0)
        assert world.up() == [1.0, 1.0]
        assert set(await world.ask(10)) == {200}
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("WARNING", "upstream u: target 10.0.0.1:80 is put aside for 5s: 3 errors in a row"),
        ("INFO", "upstream u: target 10.0.0.1:80 takes part again"),
    ]


async def test_a_target_that_refuses_is_put_aside() -> None:
    world = World()
    world.wired.refuses = lambda host: host == "10.0.0.1"
    assert set(await world.ask(30)) == {200}  # a refused connect goes elsewhere
    assert world.up() == [0.0, 1.0]


async def test_the_only_target_stays() -> None:
    world = World(targets=TARGETS[:1])
    assert await world.ask(10) == [500] * 10
    assert world.up() == [1.0]


async def test_a_client_that_leaves_is_nobodys_failure() -> None:
    world = World()
    world.wired.on_upstream = lambda wire: None  # nobody answers
    for _ in range(20):
        client = world.wired.client()
        client.send(GET)
        await world.wired.settle()
        client.reset()
        await world.wired.settle()
    assert world.up() == [1.0, 1.0]


async def test_nothing_stays_armed_without_traffic() -> None:
    world = World()
    world.status = 200
    await world.ask(3)
    await world.wired.pass_time(25.0)
    assert len(world.wired.gateway._deadlines) == 0
