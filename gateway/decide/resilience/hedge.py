"""When a request that is not answered yet is sent a second time, to another target.

J. Dean and L. A. Barroso, "The Tail at Scale" (CACM 56(2), 2013): the second request goes out when the first has been
outstanding for longer than the 95th percentile of all, so it adds some 5 % to the load and cuts the tail. Envoy has it
as `hedge_policy`, gRPC as the hedging of proposal A6; both take a fixed delay.
"""

from dataclasses import dataclass
from math import exp2, log2
from typing import Final

WINDOW_S: Final = 10.0
BEYOND: Final = 5
"""Answers that must lie beyond the percentile before it is believed: p95 needs 100 answers, p99 needs 500."""
SHORTEST_S: Final = 0.001
"""A delay that timers can keep."""
_FRESH_S: Final = 0.1
"""For so long a percentile is not worked out again."""
_FLOOR_S: Final = 0.0001
_PER_DOUBLING: Final = 8
"""Buckets for each doubling of the time: a percentile is at most 9 % too high."""
_BUCKETS: Final = 20 * _PER_DOUBLING
"""From 0.1 ms to 105 s."""


@dataclass(frozen=True, slots=True)
class HedgeSettings:
    """`after_s`, or the share `percentile` (0.95) of the answer times; the other one is 0."""

    after_s: float = 0.0
    percentile: float = 0.0


class Delay:
    """After which time the second request goes out. Times are seconds on any clock.

    A percentile is of the last 10 to 20 s, in a histogram with logarithmic buckets; in quiet times it is of longer,
    since a window ends only when it has answers enough to be believed.
    """

    __slots__ = ("_before", "_count", "_ends_at", "_found_s", "_now", "_stale_at", "enough", "settings")

    def __init__(self, settings: HedgeSettings, now: float) -> None:
        self.settings = settings
        self.enough = 0 if settings.after_s else round(BEYOND / (1.0 - settings.percentile))
        """Answers without which there is no percentile."""
        self._now = [0] * _BUCKETS
        self._before = [0] * _BUCKETS
        self._count = 0
        self._ends_at = now + WINDOW_S
        self._stale_at = now
        self._found_s: float | None = None

    def note(self, taken_s: float, now: float) -> None:
        """An answer came after `taken_s`, or the second request's came first and this one was given up.

        Then its time would have been longer still. Without those the percentile would sink with each hedge that wins.
        """
        if not self.enough:
            return
        if now >= self._ends_at and self._count >= self.enough:
            self._before, self._now = self._now, [0] * _BUCKETS
            self._count = 0
            self._ends_at = now + WINDOW_S
        place = int(log2(max(taken_s, _FLOOR_S) / _FLOOR_S) * _PER_DOUBLING)
        self._now[min(place, _BUCKETS - 1)] += 1
        self._count += 1

    def after_s(self, now: float) -> float | None:
        """Seconds from the beginning of the first; None as long as too little is known."""
        if not self.enough:
            return max(self.settings.after_s, SHORTEST_S)
        if self._found_s is None and self._count < self.enough:
            return None
        if now >= self._stale_at:
            self._stale_at = now + _FRESH_S
            self._found_s = self._percentile()
        return self._found_s

    def _percentile(self) -> float:
        total = sum(self._now) + sum(self._before)
        beyond = 0
        for place in reversed(range(_BUCKETS)):
            beyond += self._now[place] + self._before[place]
            if beyond > (1.0 - self.settings.percentile) * total:
                return max(_FLOOR_S * exp2((place + 1) / _PER_DOUBLING), SHORTEST_S)
        raise AssertionError("every answer is in a bucket")

    def __repr__(self) -> str:
        return f"<Delay {self._found_s} of {self._count} answers>"
