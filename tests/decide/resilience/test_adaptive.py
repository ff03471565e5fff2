"""The limit finds what an upstream can do, and follows when that changes. A simulation under a manual clock."""

import heapq
from dataclasses import dataclass, field

import pytest

from gateway.decide.resilience.adaptive import Adaptive


@dataclass
class Site:
    """An upstream with `slots` places of `work_s` each and an unbounded line, under more requests than it can do."""

    slots: int
    work_s: float
    limiter: Adaptive = field(default_factory=Adaptive)
    now: float = 0.0
    _free: list[float] = field(default_factory=list)
    _ends: list[tuple[float, float]] = field(default_factory=list)

    def run(self, seconds: float, *, offered: int = 10**9) -> tuple[int, list[float]]:
        """How many were answered, and their latencies. offered: requests that want to be under way at once."""
        end, latencies = self.now + seconds, []
        while self.now < end:
            while len(self._ends) < min(self.limiter.limit, offered):
                self._begin()
            done, began = heapq.heappop(self._ends)
            self.now = done
            latencies.append(done - began)
            self.limiter.on_answer(done - began, True, len(self._ends) + 1, done)
        return len(latencies), latencies

    def _begin(self) -> None:
        self._free = [each for each in self._free if each > self.now]
        heapq.heapify(self._free)
        starts = self.now
        while len(self._free) >= self.slots:
            starts = heapq.heappop(self._free)
        done = max(starts, self.now) + self.work_s
        heapq.heappush(self._free, done)
        heapq.heappush(self._ends, (done, self.now))


@pytest.mark.parametrize(("slots", "work_s"), [(1, 0.02), (4, 0.01), (20, 0.02), (200, 0.05)])
def test_it_uses_what_there_is_without_a_long_line(slots: int, work_s: float) -> None:
    site = Site(slots, work_s)
    site.run(5.0)
    served, latencies = site.run(5.0)
    assert served >= 0.95 * 5.0 * slots / work_s
    assert sorted(latencies)[len(latencies) // 2] < 4.5 * work_s  # with one place, one waits and two are headroom


@pytest.mark.parametrize(("slots", "work_s"), [(10, 0.02), (20, 0.04), (40, 0.02), (20, 0.01)])
def test_it_follows_within_two_seconds(slots: int, work_s: float) -> None:
    site = Site(20, 0.02)
    site.run(6.0)
    site.slots, site.work_s = slots, work_s
    site.run(2.0)
    served, latencies = site.run(2.0)
    assert served >= 0.95 * 2.0 * slots / work_s
    assert sorted(latencies)[len(latencies) // 2] < 2.0 * work_s


def test_light_traffic_moves_nothing() -> None:
    site = Site(20, 0.02)
    site.run(30.0, offered=2)
    assert site.limiter.limit == 20
    assert site.limiter.base_s == pytest.approx(0.02)


def test_fast_errors_say_nothing_of_the_load() -> None:
    site = Site(20, 0.02)
    site.run(5.0)
    before = site.limiter.limit
    for _ in range(1000):
        site.limiter.on_answer(0.001, False, 20, site.now)
    assert site.limiter.limit == before
    assert site.limiter.base_s == pytest.approx(0.02)
