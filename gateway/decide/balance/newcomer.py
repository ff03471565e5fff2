"""New targets are not flooded: an empty newcomer is not taken for the least loaded target.

Without this, a target that joins seven others with 20 requests each gets the next 20 requests in a row, into cold
caches and connections still to be made.
"""

from collections.abc import Sequence

from gateway.decide.balance.protocol import Load


def is_new(target: Load, now: float) -> bool:
    """True within its `slow_start_s` since it joined or came back."""
    return now - target.started_at < target.slow_start_s


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
