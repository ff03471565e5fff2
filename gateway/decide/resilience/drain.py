"""How fast a queue drains, and so when to come back."""

from math import exp
from typing import Final

TAU_S: Final = 1.0
LONGEST_S: Final = 30.0


class DrainRate:
    """Events a second, as a counter that decays with a time constant of 1 s."""

    __slots__ = ("_at", "_count")

    def __init__(self) -> None:
        self._at = self._count = 0.0

    def count(self, now: float) -> None:
        """One was served."""
        self._count = self._count * exp((self._at - now) / TAU_S) + 1.0
        self._at = now

    def rate(self, now: float) -> float:
        """Events a second."""
        return self._count * exp((self._at - now) / TAU_S) / TAU_S

    def time_s(self, waiting: int, now: float) -> float:
        """Until so many will have been served; at most 30 s."""
        rate = self.rate(now)
        return LONGEST_S if waiting >= rate * LONGEST_S else waiting / rate
