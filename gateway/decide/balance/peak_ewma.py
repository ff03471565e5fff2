"""The target that should answer soonest: latency times queue, of two drawn targets.

Finagle's Peak EWMA (com.twitter.finagle.loadbalancer.PeakEwma), which linkerd2-proxy uses through tower's `peak_ewma`:
the average rises to a slow answer at once and sinks slowly (over 10 s, the default of both); the cost is the average
times the requests in flight and this one.
"""

from collections.abc import Sequence
from math import exp

from gateway.decide.balance.draw import Draw
from gateway.decide.balance.newcomer import is_new, settled_load
from gateway.decide.balance.protocol import L, Load, Rng

DECAY_S = 10.0

FAILED_S = 1.0
"""What a failure counts as, at least: the default time to connect. A target that fails at once is not fast."""

_UNTRIED_S = 3600.0
"""A target without an answer yet that has a request already: any other goes before it (Finagle's penalty)."""


class PeakEwma:
    """The average decays while a target gets nothing, so that a slow one is tried again. O(1)."""

    wants_reports = True
    wants_key = False

    def __init__(self, rng: Rng) -> None:
        self._draw = Draw(rng)

    def pick(self, candidates: Sequence[L], key: str | None, now: float) -> L:
        if len(candidates) == 1:
            return candidates[0]
        first, second = self._draw.two(candidates)
        return second if _cost(second, candidates, now) < _cost(first, candidates, now) else first

    def report(self, target: Load, latency_s: float, ok: bool, now: float) -> None:
        sample = latency_s if ok else max(latency_s, FAILED_S)
        if sample < target.ewma_s:
            kept = exp((target.ewma_at - now) / DECAY_S)
            sample = target.ewma_s * kept + sample * (1.0 - kept)
        target.ewma_s = sample
        target.ewma_at = now


def _cost(target: Load, candidates: Sequence[Load], now: float) -> float:
    load = target.in_flight / target.weight
    if not target.ewma_s:
        return load * _UNTRIED_S
    if is_new(target, now):
        load = max(load, settled_load(candidates, now))
    return target.ewma_s * exp((target.ewma_at - now) / DECAY_S) * (load + 1.0)
