"""New targets are not flooded: an empty newcomer is not taken for the least loaded target.

Without this, a target that joins seven others with 20 requests each gets the next 20 requests in a row, into cold
caches and connections still to be made. Beyond that, what it gets grows over its `slow_start_s`, as with Envoy's slow
start (aggression 1) and HAProxy's `slowstart`: `share` of what the balancer would give it.
"""

from collections.abc import Sequence
from typing import Final

from gateway.decide.balance.protocol import Balancer, L, Load, Rng

LEAST_SHARE: Final = 0.1
"""Envoy's `min_weight_percent`: without any requests it would not become warm."""


def is_new(target: Load, now: float) -> bool:
    """True within its `slow_start_s` since it joined or came back."""
    return now - target.started_at < target.slow_start_s


def share(target: Load, now: float) -> float:
    """Of its requests, what it is given: from a tenth when it joined to all of them at the end of `slow_start_s`."""
    if not is_new(target, now):
        return 1.0
    return max(LEAST_SHARE, (now - target.started_at) / target.slow_start_s)


def eased_in(picked: L, balancer: Balancer, candidates: Sequence[L], key: str | None, now: float, rng: Rng) -> L:
    """`picked`, which is new, or by its `share` one of those that are not, if there are any. O(n)."""
    settled = tuple(target for target in candidates if not is_new(target, now))
    return balancer.pick(settled, key, now) if settled and rng.random() >= share(picked, now) else picked


def settled_load(candidates: Sequence[Load], now: float) -> float:
    """Requests in flight by weight over all targets that are not new; 0 when all are. O(n)."""
    settled = [target for target in candidates if not is_new(target, now)]
    weight = sum(target.weight for target in settled)
    return sum(target.in_flight for target in settled) / weight if weight else 0.0


def all_new(candidates: Sequence[Load], now: float) -> bool:
    """Then there is nobody to compare with, and they are treated as settled. O(n)."""
    return all(is_new(target, now) for target in candidates)


def fair_loads(candidates: Sequence[Load], now: float) -> list[float]:
    """`fair_load` of each. O(n)."""
    settled = settled_load(candidates, now)
    loads = [target.in_flight / target.weight for target in candidates]
    return [max(load, settled) if is_new(target, now) else load for target, load in zip(candidates, loads, strict=True)]


def fair_load(target: Load, candidates: Sequence[Load], now: float) -> float:
    """The load by weight, of a newcomer at least that of the settled. O(1), with a newcomer O(n)."""
    load = target.in_flight / target.weight
    return max(load, settled_load(candidates, now)) if is_new(target, now) else load
