"""How long to wait before a retry."""

from collections.abc import Callable
from typing import Final

_CAP: Final = 10.0
"""Times the base; as Envoy's `retry_back_off.max_interval` is unless it is set."""
_MOST_DOUBLINGS: Final = 10


def full_jitter_s(retry: int, base_s: float, rng: Callable[[], float]) -> float:
    """Seconds before the retry of that number (1 is the first): anything up to base_s, doubled with every retry.

    "Full jitter" of M. Brooker, Exponential Backoff And Jitter (AWS Architecture Blog, 2015): of the ways he compares,
    the one that spreads clients best. Never more than 10 times base_s. rng gives [0, 1).
    """
    doublings = min(retry - 1, _MOST_DOUBLINGS)
    return rng() * base_s * min(float(1 << doublings), _CAP)
