"""The end of a worker: how long it waits for what."""

import asyncio
import time

import pytest

from gateway.runtime.drain import GRACE_S, drain


class Plane:
    """A data plane whose work ends when the test says so."""

    def __init__(self, in_flight: int, connections: int) -> None:
        self.in_flight = in_flight
        self.connections = connections
        self.idle = 0
        """Closed by begin_drain."""
        self.draining = False

    def begin_drain(self) -> None:
        self.draining = True
        self.connections -= self.idle


async def test_returns_at_once_when_nothing_is_open() -> None:
    begun = time.monotonic()
    plane = Plane(0, 0)
    assert await drain(plane, 30) == 0
    assert plane.draining
    assert time.monotonic() - begun < GRACE_S / 2


async def test_waits_for_exchanges_however_few() -> None:
    plane = Plane(1, 1)
    ending = asyncio.ensure_future(drain(plane, 30))
    done, _ = await asyncio.wait({ending}, timeout=0.3)
    assert not done
    plane.in_flight = plane.connections = 0
    assert await asyncio.wait_for(ending, 5) == 0


@pytest.mark.parametrize(("in_flight", "seconds", "left"), [(0, 30.0, 0), (2, 0.2, 2)])
async def test_idle_connections_get_the_grace_and_busy_ones_the_time(in_flight: int, seconds: float, left: int) -> None:
    begun = time.monotonic()
    assert await drain(Plane(in_flight, 3), seconds) == left
    assert min(seconds, GRACE_S) <= time.monotonic() - begun < min(seconds, GRACE_S) + 1


async def test_requests_that_are_on_their_way_are_taken_before_idle_connections_are_closed() -> None:
    plane = Plane(0, 5)
    plane.idle = 5
    ending = asyncio.ensure_future(drain(plane, 30))
    await asyncio.sleep(0)
    assert not plane.draining
    assert await asyncio.wait_for(ending, 5) == 0
