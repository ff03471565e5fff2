"""The less loaded of two drawn targets (Mitzenmacher, The Power of Two Choices, 2001).

Nearly as even as asking all, and many gateways that see the same loads do not all run to the same target.
"""

from collections.abc import Sequence

from gateway.decide.balance.draw import Draw
from gateway.decide.balance.newcomer import fair_load
from gateway.decide.balance.protocol import L, Rng, Silent


class TwoChoices(Silent):
    """By requests in flight by weight; a tie goes to the first drawn, so idle targets share by weight. O(1)."""

    def __init__(self, rng: Rng) -> None:
        self._draw = Draw(rng)

    def pick(self, candidates: Sequence[L], key: str | None, now: float) -> L:
        if len(candidates) == 1:
            return candidates[0]
        first, second = self._draw.two(candidates)
        if fair_load(second, candidates, now) < fair_load(first, candidates, now):
            return second
        return first
