"""The end of a worker that takes no more connections: what is under way is finished, within a time."""

import asyncio
from typing import Protocol

from gateway.core.clock import Clock, monotonic

SETTLE_S = 0.1
"""Before idle connections are closed: the requests of those accepted last, or on their way, are still taken."""
GRACE_S = 1.0
"""For a request whose head has begun to arrive."""
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
    if gateway.connections:
        await asyncio.sleep(min(SETTLE_S, seconds))
    gateway.begin_drain()
    while gateway.connections:
        elapsed = clock() - begun
        if elapsed >= seconds or (elapsed >= GRACE_S and not gateway.in_flight):
            break
        await asyncio.sleep(ROUND_S)
    return gateway.in_flight
