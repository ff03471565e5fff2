"""Smooth weighted round robin, as nginx does it (Igor Sysoev, nginx 1.3.1): `a a b a` rather than `a a a b`."""

from collections.abc import Sequence

from gateway.decide.balance.protocol import L, Rng, Silent


class SmoothTurns:
    """Whose turn it is. Every turn all gain their weight, the richest is taken and pays what all gained."""

    __slots__ = ("_credit",)

    def __init__(self) -> None:
        self._credit: dict[str, int] = {}

    def take(self, candidates: Sequence[L]) -> L:
        """O(n). Newcomers begin without credit."""
        credit = self._credit
        total = 0
        best = candidates[0]
        most = None
        for target in candidates:
            weight = target.weight
            total += weight
            credit[target.key] = mine = credit.get(target.key, 0) + weight
            if most is None or mine > most:
                best, most = target, mine
        credit[best.key] -= total
        if len(credit) > 2 * len(candidates) + 16:
            self._forget_all_but(candidates)
        return best

    def _forget_all_but(self, candidates: Sequence[L]) -> None:
        self._credit = {target.key: self._credit[target.key] for target in candidates}


class RoundRobin(Silent):
    """Each target in turn by weight, whatever its load. O(n)."""

    def __init__(self, rng: Rng) -> None:
        self._turns = SmoothTurns()

    def pick(self, candidates: Sequence[L], key: str | None, now: float) -> L:
        return candidates[0] if len(candidates) == 1 else self._turns.take(candidates)
