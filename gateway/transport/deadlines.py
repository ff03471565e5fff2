"""Every deadline of the data plane in one lazy timing wheel that a coarse tick sweeps.

A connection is in at most one slot. Moving its deadline later touches nothing but the attribute: when the slot comes up
and the deadline is not reached, the connection moves on to the slot where it is. So a request that sets and clears
timeouts costs two comparisons (Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987, scheme 6, made lazy).
"""

import logging
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

SLOTS_PER_SECOND: Final = 20
"""A deadline fires at most 1 / 20 s late, plus the lateness of the tick itself."""
_log = logging.getLogger(__name__)


class Timed(Protocol):
    """Something with a deadline. `armed` belongs to the wheel: when it will look again (inf: never)."""

    deadline: float
    armed: float

    def on_deadline(self, now: float) -> None: ...


class Deadlines:
    """The wheel. `clock` gives seconds; `tick(now)` fires what is due."""

    __slots__ = ("_done", "_slots", "clock")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._slots: dict[int, set[Timed]] = {}
        self._done = int(clock() * SLOTS_PER_SECOND)

    def arm(self, timed: Timed) -> None:
        """Make sure the wheel looks at `timed` in time; to be called where `timed.deadline < timed.armed`."""
        if timed.armed != inf:
            self._discard(timed)
        slot = max(int(timed.deadline * SLOTS_PER_SECOND), self._done) + 1
        timed.armed = slot / SLOTS_PER_SECOND
        self._slots.setdefault(slot, set()).add(timed)

    def forget(self, timed: Timed) -> None:
        """Drop `timed`, at the end of its life."""
        timed.deadline = inf
        if timed.armed != inf:
            self._discard(timed)
            timed.armed = inf

    def _discard(self, timed: Timed) -> None:
        slot = self._slots.get(round(timed.armed * SLOTS_PER_SECOND))
        if slot is not None:
            slot.discard(timed)

    def tick(self, now: float) -> None:
        """Fire every deadline at or before `now`. One that fails does not keep the others from firing."""
        upto = int(now * SLOTS_PER_SECOND)
        while self._done < upto:
            self._done += 1
            for timed in self._slots.pop(self._done, ()):
                timed.armed = inf
                if timed.deadline <= now:
                    timed.deadline = inf
                    try:
                        timed.on_deadline(now)
                    except Exception:
                        _log.exception("internal error at the deadline of %r; please report it", timed)
                if timed.deadline < timed.armed:
                    self.arm(timed)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def __repr__(self) -> str:
        return f"<Deadlines {len(self)} armed>"
