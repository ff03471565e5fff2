"""Any target, by weight."""

from collections.abc import Sequence

from gateway.decide.balance.draw import Draw
from gateway.decide.balance.protocol import L, Rng, Silent


class Random(Silent):
    """O(1) with equal weights, else O(log n)."""

    def __init__(self, rng: Rng) -> None:
        self._draw = Draw(rng)

    def pick(self, candidates: Sequence[L], key: str | None, now: float) -> L:
        return candidates[0] if len(candidates) == 1 else self._draw.one(candidates)
