"""The end of a worker: what is under way is finished, within a time."""

import asyncio
from typing import Protocol

from gateway.core.clock import Clock, monotonic

GRACE_S = 1.0
"""For the request of a connection that was accepted at the last moment, or whose request arrives just now."""
ROUND_S = 0.02


class Draining(Protocol):
    """What drain asks of the data plane."""

    @property
    def in_flight(self) -> int: ...
    @property
    def connections(self) -> int: ...
    def begin_drain(self) -> None: ...


async def drain(gateway: Draining, seconds: float, clock: Clock = monotonic) -> int:
    """Return when nothing is under way or `seconds` have passed; how many exchanges are left then."""
    begun = clock()
    gateway.begin_drain()
    while gateway.connections:
        elapsed = clock() - begun
        if elapsed >= seconds or (elapsed >= GRACE_S and not gateway.in_flight):
            break
        await asyncio.sleep(ROUND_S)
    return gateway.in_flight
