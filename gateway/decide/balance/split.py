"""Which upstream of a weighted split takes a request: `to: {orders: 90%, orders-next: 10%}`."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from gateway.decide.balance.protocol import Rng


class Split:
    """Names with their shares, which may add up to any total. O(log n); with one name O(1)."""

    __slots__ = ("_bounds", "_names", "_total")

    def __init__(self, shares: Sequence[tuple[str, int]]) -> None:
        taken = [(name, share) for name, share in shares if share > 0]
        if not taken:
            raise ValueError("a split needs a share above 0")
        self._names = tuple(name for name, _ in taken)
        self._bounds = list(accumulate(share for _, share in taken))
        self._total = self._bounds[-1]

    def pick(self, rng: Rng) -> str:
        """One of the names, each as often as its share says."""
        if len(self._names) == 1:
            return self._names[0]
        return self._names[bisect_right(self._bounds, int(rng.random() * self._total))]
