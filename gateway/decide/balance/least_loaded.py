"""The target with the fewest requests in flight by weight; the default."""

from collections.abc import Sequence

from gateway.decide.balance.newcomer import all_new, fair_loads
from gateway.decide.balance.protocol import L, Rng, Silent
from gateway.decide.balance.round_robin import SmoothTurns


class LeastLoaded(Silent):
    """Ties go round: the first after the target taken last, with unequal weights in smooth turns. O(n)."""

    def __init__(self, rng: Rng) -> None:
        self._next = 0
        self._turns = SmoothTurns()

    def pick(self, candidates: Sequence[L], key: str | None, now: float) -> L:
        count = len(candidates)
        if count == 1:
            return candidates[0]
        at = chosen = self._next % count
        best = candidates[at]
        least = best.in_flight
        weight = best.weight
        for _ in range(count - 1):
            at = at + 1 if at + 1 < count else 0
            target = candidates[at]
            if target.weight != weight:
                return self._by_fair_load(candidates, now)
            if target.in_flight < least:
                best, least, chosen = target, target.in_flight, at
        if now - best.started_at < best.slow_start_s and not all_new(candidates, now):
            return self._by_fair_load(candidates, now)
        self._next = chosen + 1
        return best

    def _by_fair_load(self, candidates: Sequence[L], now: float) -> L:
        """The same for unequal weights and newcomers."""
        loads = fair_loads(candidates, now)
        least = min(loads)
        ties = [target for target, load in zip(candidates, loads, strict=True) if load == least]
        return ties[0] if len(ties) == 1 else self._turns.take(ties)
