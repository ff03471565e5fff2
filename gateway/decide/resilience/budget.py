"""How many requests may be sent again, so that retries do not finish off an upstream that is in trouble."""

from typing import Final

WINDOW_S: Final = 10.0
FLOOR: Final = 10
"""Retries in a window that are allowed however quiet it is."""
_BUCKETS: Final = 10


class RetryBudget:
    """At most `share` of the requests of the last 10 s, and no fewer than 10, may be retries.

    As in Finagle's RetryBudget (a share of the requests of the last 10 s, with a minimum for quiet times) and Envoy's
    `retry_budget`. The window is 10 buckets of 1 s, so it forgets between 9 and 10 s late.
    """

    __slots__ = ("_asked", "_at", "_before", "_retried", "_turns_at", "share")

    def __init__(self, share: float, now: float) -> None:
        """share: 0.2 is 20 %."""
        self.share = share
        self._asked = 0
        self._retried = 0
        self._before = [(0, 0)] * _BUCKETS
        """Both counts as they were when each bucket began."""
        self._at = 0
        self._turns_at = now + WINDOW_S / _BUCKETS

    def count(self, now: float) -> None:
        """Note a request (not its retries)."""
        if now >= self._turns_at:
            self._turn(now)
        self._asked += 1

    def take(self, now: float) -> bool:
        """Whether one more retry is allowed; if so it is counted."""
        if now >= self._turns_at:
            self._turn(now)
        asked, retried = self._before[(self._at + 1) % _BUCKETS]
        if self._retried - retried + 1 > max(self.share * (self._asked - asked), float(FLOOR)):
            return False
        self._retried += 1
        return True

    def state(self, now: float) -> tuple[int, int]:
        """Retries of the last 10 s, and how many are allowed in that time."""
        if now >= self._turns_at:
            self._turn(now)
        asked, retried = self._before[(self._at + 1) % _BUCKETS]
        return self._retried - retried, max(int(self.share * (self._asked - asked)), FLOOR)

    def _turn(self, now: float) -> None:
        """Begin the buckets whose time has come."""
        width = WINDOW_S / _BUCKETS
        passed = int((now - self._turns_at) / width) + 1
        self._turns_at += passed * width
        for _ in range(min(passed, _BUCKETS)):
            self._at = (self._at + 1) % _BUCKETS
            self._before[self._at] = (self._asked, self._retried)
