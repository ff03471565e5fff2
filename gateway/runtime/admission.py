"""How many connections a worker takes: the cap of the whole gateway, and each worker's share."""

from collections.abc import Callable, Sequence

from gateway.core.clock import Clock, monotonic
from gateway.observe.memory import Slot, WorkerState

SHARE = 1.125
SLACK = 8
"""A worker is ahead with more than SHARE times the mean and SLACK more: unequal enough to be worth a delay."""
FRESH_S = 0.5
"""Ten ticks. A worker that was silent for longer is busy, hung or dead, and nobody waits for it."""


class Admission:
    """Counts over all workers, read from their slots; `own` is this worker's number of connections."""

    def __init__(
        self, slots: Sequence[Slot], index: int, limit: int, own: Callable[[], int], clock: Clock = monotonic
    ) -> None:
        self._slot = slots[index]
        self._others = [slot for slot in slots if slot.index != index]
        self.limit = limit
        self._own = own
        self._clock = clock

    def room(self) -> int:
        """Connections that may still be taken; publishes this worker's number, for the others' decisions."""
        own = self._own()
        self._slot.connections = own
        for slot in self._others:
            own += slot.connections
        return self.limit - own

    def ahead(self) -> bool:
        """True while this worker has clearly more connections than those that could take some."""
        if not self._others:
            return False
        since = self._clock() - FRESH_S
        counts = [
            slot.connections for slot in self._others if slot.heartbeat > since and slot.state is WorkerState.SERVING
        ]
        own = self._own()
        mean = (own + sum(counts)) / (len(counts) + 1)
        return bool(counts) and own > mean * SHARE + SLACK
