"""How many requests an upstream can take at once, found out from its latency alone.

The gradient of Envoy's adaptive concurrency filter and of Netflix's concurrency-limits (Gradient2): the latency without
a queue over the latency now, times the limit, plus headroom of the square root of the limit. As long as nobody waits
inside the upstream the limit grows by its root; when they do, the ratio takes it back.

Envoy learns the latency without a queue by holding the limit at 3 for a while, which costs most of the capacity. Here a
probe takes the limit only so far below its present value that the queue inside the upstream must be empty: the headroom
is what stood there, so twice the root is taken away. It lasts for one latency and a handful of answers.
"""

from math import inf, sqrt
from typing import Final

from gateway.decide.resilience.concurrency import Limiter

START: Final = 20
LARGEST: Final = 10_000
WINDOW_S: Final = 0.1
"""Over which latencies are collected (Envoy: 100 ms)."""
ENOUGH: Final = 10
"""Answers that a window needs; with fewer it goes on, up to 1 s."""
LONGEST_WINDOW_S: Final = 1.0
TOLERANCE: Final = 1.1
"""The latency may be so much above that without a queue before the limit sinks (Envoy: 25 %)."""
PROBE_EVERY_S: Final = 1.0
PROBE_SOON_S: Final = 0.2
"""After a probe that found another latency: there may be more to find."""
PROBE_S: Final = 0.5
"""A probe that had too few answers ends then."""


class Adaptive(Limiter):
    """A limit between 1 and 10 000. Times are seconds on any clock."""

    def __init__(self) -> None:
        self.limit = START
        self.base_s = 0.0
        """Latency without a queue; 0: not known yet."""
        self._exact = float(START)
        self._samples: list[float] = []
        self._window_at = -inf
        self._busiest = 0
        self._probe_at = inf
        self._probing_since = -inf
        self._probing = False

    def on_answer(self, latency_s: float, ok: bool, in_flight: int, now: float) -> None:
        if not ok and latency_s < self.base_s:
            return  # an error that came faster than any answer says nothing of the load
        if self._probing:
            self._probe(latency_s, now)
            return
        if not self._samples:
            self._window_at = now
        self._samples.append(latency_s)
        self._busiest = max(self._busiest, in_flight)
        age_s = now - self._window_at
        if (age_s >= WINDOW_S and len(self._samples) >= ENOUGH) or age_s >= LONGEST_WINDOW_S:
            self._close_window(now)

    def _close_window(self, now: float) -> None:
        median_s = _median(self._samples)
        is_full = self._busiest * 2 >= self.limit
        self._samples.clear()
        self._busiest = 0
        if not self.base_s or not is_full:
            # Far below the limit nobody waits for us, so this is the latency without a queue.
            self.base_s = median_s
            self._probe_at = min(self._probe_at, now + PROBE_SOON_S)
            return
        self.base_s = min(self.base_s, median_s)
        gradient = max(0.5, min(1.0, TOLERANCE * self.base_s / median_s)) if median_s > 0.0 else 1.0
        self._set(self._exact * gradient + sqrt(self._exact))
        if now >= self._probe_at:
            self._probing, self._probing_since = True, now
            self.limit = max(1, int((self._exact - 2.0 * sqrt(self._exact)) * 0.9))

    def _probe(self, latency_s: float, now: float) -> None:
        """Collect answers to requests that were sent since the limit sank: none of them before it was reached."""
        if now - latency_s >= self._probing_since:
            self._samples.append(latency_s)
        late = now - self._probing_since >= max(PROBE_S, 4.0 * self.base_s)
        if len(self._samples) < max(3, min(ENOUGH, self.limit)) and not late:
            return
        soon = False
        if self._samples:
            found_s = _median(self._samples)
            soon = not 0.9 < found_s / (self.base_s or found_s or 1.0) < 1.1
            self.base_s = found_s
            self._samples.clear()
        self._probing = False
        self._probe_at = now + (PROBE_SOON_S if soon else PROBE_EVERY_S)
        self._set(self._exact)

    def _set(self, limit: float) -> None:
        self._exact = max(1.0, min(float(LARGEST), limit))
        self.limit = int(self._exact)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
