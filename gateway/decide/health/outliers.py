"""Targets that do worse than the others, told from the requests that they serve.

Envoy's outlier detection (its architecture overview, "Outlier detection"): errors in a row, and a success rate far
below that of the others. Who is put aside comes back after `eject` times the number of times it was, at most 5 minutes;
that number sinks by one for every `window` in which it did well. One thing differs: a rate must also be 5 points below
the average, since among targets that hardly fail one error in a thousand is far below the others.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Final

LONGEST_S: Final = 300.0
"""The longest ejection, and Envoy's `max_ejection_time`; a longer `eject` is taken as it is."""
MIN_TARGETS: Final = 5
"""With fewer to compare, nobody can be 1.9 standard deviations below: one of n is at most sqrt(n - 1)."""
MIN_REQUESTS: Final = 100
"""Of a target in one window, for its rate to mean something; Envoy's `success_rate_request_volume`."""
DEVIATIONS: Final = 1.9
"""Envoy's `success_rate_stdev_factor`."""
MIN_GAP: Final = 0.05

CONSECUTIVE: Final = "consecutive_errors"
SUCCESS_RATE: Final = "success_rate"


@dataclass(frozen=True, slots=True)
class OutlierSettings:
    """`errors` in a row within `window_s` eject a target for `eject_s`; at most `max_ejected` (a share) at a time."""

    errors: int = 5
    window_s: float = 10.0
    eject_s: float = 10.0
    max_ejected: float = 0.5


@dataclass(frozen=True, slots=True)
class Ejection:
    """Who was put aside, why (a label), how long (s), and the numbers behind it, for people."""

    key: str
    reason: str
    for_s: float
    detail: str


@dataclass(slots=True)
class _Record:
    """What is known of one target."""

    errors: deque[float]
    """When the errors since the last success came; the last few."""
    good: int = 0
    bad: int = 0
    times: int = 0
    until: float = -inf
    """When it may come back; while it is away, what it answers does not count."""
    away: bool = False


@dataclass(slots=True)
class Outliers:
    """Judges the targets of one upstream, which it knows by their keys. `report` is O(1), `evaluate` O(targets)."""

    settings: OutlierSettings
    _records: dict[str, _Record] = field(default_factory=dict)

    def report(self, key: str, ok: bool, now: float, among: int) -> Ejection | None:
        """A request ended; `among`: how many targets there are. The ejection, if this was one error too many."""
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(deque(maxlen=self.settings.errors))
        if record.away:
            return None
        if ok:
            record.good += 1
            record.errors.clear()
            return None
        record.bad += 1
        errors = record.errors
        errors.append(now)
        if len(errors) < self.settings.errors or now - errors[0] > self.settings.window_s:
            return None
        return self._eject(key, CONSECUTIVE, f"{len(errors)} errors in a row", now, among)

    def evaluate(self, now: float, among: int) -> list[Ejection]:
        """Compare the success rates since the last call, which should be a window ago, and begin anew."""
        rates = {
            key: record.good / (record.good + record.bad)
            for key, record in self._records.items()
            if not record.away and record.good + record.bad >= MIN_REQUESTS
        }
        for record in self._records.values():
            record.good = record.bad = 0
        if len(rates) < MIN_TARGETS:
            return []
        mean = sum(rates.values()) / len(rates)
        deviation = sqrt(sum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
        least = mean - max(DEVIATIONS * deviation, MIN_GAP)
        worst = sorted((rate, key) for key, rate in rates.items() if rate < least)
        found = [
            self._eject(key, SUCCESS_RATE, f"{rate:.0%} of its requests went well, {mean:.0%} of all", now, among)
            for rate, key in worst
        ]
        return [each for each in found if each is not None]

    def come_back(self, now: float) -> list[str]:
        """Those whose time is over, who take part again."""
        back = [key for key, record in self._records.items() if record.away and record.until <= now]
        for key in back:
            self._records[key].away = False
        return back

    def keep(self, keys: Sequence[str]) -> None:
        """Forget all targets but these."""
        self._records = {key: record for key, record in self._records.items() if key in keys}

    def is_away(self, key: str) -> bool:
        record = self._records.get(key)
        return record is not None and record.away

    @property
    def seen(self) -> bool:
        """Whether any request ended since the last `evaluate`."""
        return any(record.good or record.bad for record in self._records.values())

    @property
    def next_return(self) -> float:
        """When the next one comes back; inf while none is away."""
        return min((record.until for record in self._records.values() if record.away), default=inf)

    def _eject(self, key: str, reason: str, detail: str, now: float, among: int) -> Ejection | None:
        """Put it aside, unless that would be too many; one may always be, but never the only one."""
        allowed = max(1, int(among * self.settings.max_ejected + 1e-9))
        away = sum(record.away for record in self._records.values())
        if among < 2 or away >= allowed:
            return None
        record = self._records[key]
        eject_s = self.settings.eject_s
        if record.times:
            record.times = max(0, record.times - int((now - record.until) / self.settings.window_s))
        record.times += 1
        for_s = min(eject_s * record.times, max(LONGEST_S, eject_s))
        record.until = now + for_s
        record.away = True
        record.errors.clear()
        record.good = record.bad = 0
        return Ejection(key, reason, for_s, detail)
