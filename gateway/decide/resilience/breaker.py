"""A circuit breaker: an upstream that fails too often is left alone for a while, then tried with a few requests.

Nygard, "Release It!" (2007), chapter 5, with the failure rate over a sliding window and the trials of Hystrix and
Resilience4j. Closed: all pass, and failures are counted. Open: nothing passes for `open_s`. Half-open: TRIALS requests
pass; when that many went well it closes, and the first failure opens it again.
"""

from dataclasses import dataclass
from math import inf
from typing import Final, Literal

Outcome = Literal["ok", "failed", "ignored"]
OK: Final = "ok"
FAILED: Final = "failed"
IGNORED: Final = "ignored"
"""Says nothing about the upstream: who asked has left, or the gateway itself refused."""

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"
STATES: Final = (CLOSED, OPEN, HALF_OPEN)

TRIALS: Final = 3
"""Enough that one lucky answer does not let everything in."""
BUCKETS: Final = 10
"""The window moves in tenths."""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """Opens for `open_s` when a share of `errors` of the requests of `window_s`, at least `minimum`, failed."""

    errors: float = 0.5
    window_s: float = 10.0
    minimum: int = 20
    open_s: float = 5.0


class Breaker:
    """The state of one circuit. All calls are O(1), those with a failure O(BUCKETS)."""

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self.state = CLOSED
        self.detail = ""
        """Why it is open, for people."""
        self.turn = 0
        """How often the state has changed: what began under another state decides nothing in this one."""
        self.trials = 0
        """Under way."""
        self.passed = 0
        """Trials that went well."""
        self.since = -inf
        """When it came into its state."""
        self._opened_at = -inf
        self._turns = [-BUCKETS] * BUCKETS
        self._total = [0] * BUCKETS
        self._failed = [0] * BUCKETS

    def admit(self, now: float) -> "Ticket | None":
        """Leave for one request, to be ended; None where the circuit is open or trials enough are under way."""
        if self.state == OPEN:
            if now < self.retry_at:
                return None
            self._become(HALF_OPEN, now)
        if self.state == HALF_OPEN:
            if self.passed + self.trials >= TRIALS:
                return None
            self.trials += 1
        return Ticket(self)

    @property
    def retry_at(self) -> float:
        """When it lets a request try, if it is open."""
        return self._opened_at + self.settings.open_s

    def retry_after_s(self, now: float) -> float:
        """What is left of the time that it is open; 0 when trials are under way."""
        return max(self.retry_at - now, 0.0) if self.state == OPEN else 0.0

    def end(self, turn: int, outcome: Outcome, now: float) -> None:
        """For Ticket alone."""
        if turn != self.turn:
            return
        if self.state == CLOSED:
            if outcome != IGNORED:
                self._count(outcome == FAILED, now)
            return
        self.trials -= 1
        if outcome == FAILED:
            self._open("a trial failed", now)
        elif outcome == OK:
            self.passed += 1
            if self.passed == TRIALS:
                self._become(CLOSED, now)

    def _count(self, failed: bool, now: float) -> None:
        settings = self.settings
        turn = int(now * BUCKETS / settings.window_s)
        place = turn % BUCKETS
        if self._turns[place] != turn:
            self._turns[place] = turn
            self._total[place] = self._failed[place] = 0
        self._total[place] += 1
        if not failed:
            return
        self._failed[place] += 1
        recent = [each for each in range(BUCKETS) if self._turns[each] > turn - BUCKETS]
        total = sum(self._total[each] for each in recent)
        bad = sum(self._failed[each] for each in recent)
        if total >= settings.minimum and bad >= settings.errors * total:
            self._open(f"{bad} of {total} requests failed within {settings.window_s:g}s", now)

    def _open(self, detail: str, now: float) -> None:
        self.detail = detail
        self._opened_at = now
        self._become(OPEN, now)

    def _become(self, state: str, now: float) -> None:
        self.state = state
        self.since = now
        self.turn += 1
        self.trials = self.passed = 0
        if state == CLOSED:
            self._turns = [-BUCKETS] * BUCKETS

    def __repr__(self) -> str:
        return f"<Breaker {self.state} trials={self.trials}>"


class Ticket:
    """Leave for one request. Its first `end` counts; further ones do nothing."""

    __slots__ = ("_breaker", "_turn")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._turn = breaker.turn

    def end(self, outcome: Outcome, now: float) -> None:
        turn, self._turn = self._turn, -1
        self._breaker.end(turn, outcome, now)
