"""How many requests an upstream can take at once, found out from its latency alone.

The gradient of Envoy's adaptive concurrency filter and of Netflix's concurrency-limits (Gradient2): the latency without
a queue over the latency now, times the limit, plus headroom of the square root of the limit. As long as nobody waits
inside the upstream the limit grows by its root; when they do, the ratio takes it back.

Envoy learns the latency without a queue by holding the limit at 3 for a while, which costs most of the capacity. Here a
probe takes the limit only so far below its present value that the queue inside the upstream must be empty: the headroom
is what stood there, so twice the root is taken away, and a seventh for what the last probe got wrong. It lasts for
about two latencies, and there is none where less than half of the limit is used: where nobody waits it grows to that.

An upstream that became much slower is known sooner: the limit sinks, and the latency does not sink with it.

The workers of a machine do not speak of it. Each takes the others to be as busy as itself, finds what all may have at
once, and keeps to its part of that: so there is one headroom, not one for each. Probes begin at round moments of the
clock, which is the same for all: together they empty the queue that none of them could empty alone.
"""

from math import ceil, inf, log2, sqrt
from typing import Final

from gateway.decide.resilience.concurrency import Limiter

START: Final = 20
LARGEST: Final = 10_000
WINDOW_S: Final = 0.1
"""Over which latencies are collected (Envoy: 100 ms), or for as long as one of them: else none would be of requests
that were sent after the last change of the limit."""
ENOUGH: Final = 10
"""Answers that a window needs; with fewer it goes on, up to 1 s."""
LONGEST_WINDOW_S: Final = 1.0
TOLERANCE: Final = 1.1
"""The latency may be so much above that without a queue before the limit sinks (Envoy: 25 %), or by its standard error
if that is more: with few answers that vary, each window of bad luck would take away what good luck cannot give."""
STEEPEST: Final = 0.5
"""A window takes away half of the limit at most (Netflix)."""
PROBE_EVERY_S: Final = 1.0
PROBE_LATENCIES: Final = 20.0
"""A probe in at least so many latencies, so that it costs a slow upstream no more than a fast one."""
SOON: Final = 0.2
"""Of that time, after a probe that found another latency, or when it doubled: there may be more to find."""
PROBE_S: Final = 0.5
"""A probe that had too few answers ends then, or after two latencies."""
SETTLE: Final = 1.1
"""So many latencies after the limit sank nobody is left who met the queue."""
SUNK: Final = 0.7
STAYED: Final = 0.15
OTHER: Final = 1.8
"""Where the limit sank to SUNK and the latency stayed as it was (but for STAYED), so many times what it is without a
queue, it does not come from a queue."""
ENOUGH_PROBED: Final = 100
"""Answers that a probe needs, or as many as the limit if that is less."""
NOISE: Final = 1.5
"""A probe that finds a latency further off than by this factor is believed at once, others by half."""
OUTLIER: Final = 10.0
"""Latencies beyond so many times the mean of the lower nine tenths count as that: one that timed out moves little."""


class Adaptive(Limiter):
    """The part of one of `workers` of a limit between 1 and 10 000. Times are seconds on any clock."""

    def __init__(self, workers: int = 1) -> None:
        self.until_head = True
        self.base_s = 0.0
        """Latency without a queue; 0: not known yet."""
        self._workers = workers
        self._exact = float(START)
        """What all workers may have at once."""
        self.limit = self._part(self._exact)
        self._samples: list[float] = []
        self._window_at = -inf
        self._busiest = 0
        self._latency_s = 0.0
        """In the last window."""
        self._from = 0.0
        """The limit of all at which the latency became what it is, about `_from_s`."""
        self._from_s = 0.0
        self._probe_at = inf
        self._probing = False
        self._settled_at = -inf
        """When a probe has emptied the queue inside the upstream."""

    def on_answer(self, latency_s: float, ok: bool, in_flight: int, now: float) -> None:
        if not ok and (not self.base_s or latency_s < self.base_s):
            return  # an error that came faster than any answer says nothing of the load
        if self._probing:
            self._probe(latency_s, now)
            return
        if now >= self._probe_at:
            self._begin_probe(now)
            return
        if not self._samples:
            self._window_at = now
        self._samples.append(latency_s)
        self._busiest = max(self._busiest, in_flight)
        age_s = now - self._window_at
        is_over = age_s >= max(WINDOW_S, self._latency_s) and len(self._samples) >= ENOUGH
        if is_over or age_s >= LONGEST_WINDOW_S:
            self._close_window(now)

    def _close_window(self, now: float) -> None:
        found_s, error_s = _mean(self._samples)
        self._latency_s = found_s
        is_full = self._busiest * 2 >= self.limit
        self._samples.clear()
        self._busiest = 0
        if not self.base_s or not is_full:
            # Far below the limit nobody waits for us, so this is the latency without a queue.
            self.base_s = found_s
            self._probe_at = inf
            return
        if found_s + error_s < self.base_s:
            self.base_s += (found_s + error_s - self.base_s) / 4.0
        if self._stays(found_s) and found_s > OTHER * self.base_s:
            self.base_s = found_s
        least_s = min(found_s / TOLERANCE, found_s - error_s)
        gradient = min(1.0, self.base_s / least_s) if least_s > 0.0 else 1.0
        self._set(self._exact * max(STEEPEST, gradient) + sqrt(self._exact))
        if gradient < STEEPEST:
            self._probe_at = min(self._probe_at, self._next(SOON, now))
        elif self._probe_at == inf:
            self._probe_at = self._next(1.0, now)

    def _stays(self, found_s: float) -> bool:
        """Whether the limit sank and the latency did not."""
        if self._exact > self._from or abs(found_s - self._from_s) > STAYED * self._from_s:
            self._from, self._from_s = self._exact, found_s
        return self._exact <= SUNK * self._from

    def _begin_probe(self, now: float) -> None:
        self._samples.clear()
        self._probe_at = inf
        self._probing = True
        self._settled_at = now + SETTLE * self._latency_s
        self.limit = self._part((self._exact - 2.0 * sqrt(self._exact)) * 0.85)

    def _probe(self, latency_s: float, now: float) -> None:
        """Collect answers once the queue is gone, also those to older requests: the fast ones alone would mislead."""
        if now >= self._settled_at:
            self._samples.append(latency_s)
        late = now - self._settled_at >= max(PROBE_S, 2.0 * self._latency_s)
        if len(self._samples) < max(3, min(ENOUGH_PROBED, self.limit)) and not late:
            return
        soon = False
        if self._samples:
            found_s, _ = _mean(self._samples)
            soon = not 1.0 / NOISE < found_s / self.base_s < NOISE
            self.base_s = found_s if soon else (self.base_s + found_s) / 2.0
            self._samples.clear()
        self._probing = False
        self._probe_at = self._next(SOON, now) if soon else inf
        self._set(self._exact)

    def _next(self, share: float, now: float) -> float:
        """The next round moment for a probe; share: of the usual time between two, which is that of all workers."""
        usual_s = max(PROBE_EVERY_S, self._latency_s * PROBE_LATENCIES)
        every_s = PROBE_EVERY_S * 4.0 ** ceil(log2(usual_s / PROBE_EVERY_S) / 2.0) * share
        return (now // every_s + 1.0) * every_s

    def _set(self, limit: float) -> None:
        self._exact = max(1.0, min(float(LARGEST), limit))
        self.limit = self._part(self._exact)

    def _part(self, limit: float) -> int:
        return max(1, int(limit / self._workers))


def _mean(values: list[float]) -> tuple[float, float]:
    """The mean, without the weight of outliers, and its standard error: what differs by less may be chance.

    By Little's law it is the mean that the load goes with.
    """
    values.sort()
    lower = values[: max(1, len(values) * 9 // 10)]
    most = OUTLIER * sum(lower) / len(lower)
    clipped = [min(value, most) for value in values]
    mean, count = sum(clipped) / len(clipped), len(clipped)
    squares = sum((value - mean) ** 2 for value in clipped)
    return mean, sqrt(squares / (count * (count - 1))) if count > 1 else 0.0
