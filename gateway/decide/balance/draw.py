"""A weighted draw: the chance of each is its share of the weights."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from gateway.decide.balance.protocol import L, Load, Rng


class Draw:
    """Draws from one set of targets again and again. O(1) with equal weights, else O(log n); O(n) for a new set."""

    __slots__ = ("_bounds", "_of", "_rng", "_total")

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._of: Sequence[Load] = ()
        self._bounds: list[int] = []
        self._total = 0

    def one(self, candidates: Sequence[L]) -> L:
        return candidates[self._place(candidates)]

    def two(self, candidates: Sequence[L]) -> tuple[L, L]:
        """Two different ones of at least two; the first has the chances of a single draw."""
        first = self._place(candidates)
        if not self._bounds:
            second = int(self._rng.random() * (len(candidates) - 1))
            return candidates[first], candidates[second + (second >= first)]
        below = self._bounds[first - 1] if first else 0
        width = self._bounds[first] - below
        point = int(self._rng.random() * (self._total - width))
        second = bisect_right(self._bounds, point if point < below else point + width)
        return candidates[first], candidates[second]

    def _place(self, candidates: Sequence[L]) -> int:
        if candidates is not self._of or type(candidates) is not tuple:
            self._measure(candidates)
        if not self._bounds:
            return int(self._rng.random() * len(candidates))
        return bisect_right(self._bounds, int(self._rng.random() * self._total))

    def _measure(self, candidates: Sequence[L]) -> None:
        """Only a tuple is known again: a list may have changed since."""
        self._of = candidates
        weights = [target.weight for target in candidates]
        self._bounds = [] if min(weights) == max(weights) else list(accumulate(weights))
        self._total = self._bounds[-1] if self._bounds else 0
