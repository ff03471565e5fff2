"""The limit finds what an upstream can do, and follows when that changes. A simulation under a manual clock."""

import heapq
import random
from collections import deque
from collections.abc import Callable
from statistics import mean

import pytest

from gateway.decide.resilience.adaptive import Adaptive

PLENTY = 10**9


class Site:
    """An upstream with `slots` places and an unbounded line, and workers that each send it as many as they may."""

    def __init__(self, slots: int, work: Callable[[], float] | float, *, workers: int = 1) -> None:
        self.slots = slots
        self.work = work
        self.limiters = [Adaptive(workers) for _ in range(workers)]
        self.now = 1000.3
        self.fails = 0.0
        """Share of the requests that are answered with an error in 1 ms."""
        self.rng = random.Random(1)
        self._sent = [0] * workers
        self._waiting: deque[tuple[float, int]] = deque()
        self._working: list[tuple[float, float, int]] = []
        self._failing: list[tuple[float, float, int]] = []

    @property
    def limiter(self) -> Adaptive:
        return self.limiters[0]

    def run(self, seconds: float, *, offered: int = PLENTY, others: int | None = None) -> tuple[int, list[float]]:
        """How many were answered well, and their latencies.

        offered: requests of each worker that want to be sent at any time; others: the same for all but the first.
        """
        end, latencies = self.now + seconds, []
        while self.now < end:
            for number, limiter in enumerate(self.limiters):
                wanted = offered if others is None or not number else others
                while self._sent[number] < min(limiter.limit, wanted):
                    self._send(number)
            fails = bool(self._failing) and self._failing[0] < self._working[0]
            self.now, sent_at, number = heapq.heappop(self._failing if fails else self._working)
            self._begin()
            if not fails:
                latencies.append(self.now - sent_at)
            self.limiters[number].on_answer(self.now - sent_at, not fails, self._sent[number], self.now)
            self._sent[number] -= 1
        return len(latencies), latencies

    def _send(self, number: int) -> None:
        self._sent[number] += 1
        if self.rng.random() < self.fails and self._working:
            heapq.heappush(self._failing, (self.now + 0.001, self.now, number))
            return
        self._waiting.append((self.now, number))
        self._begin()

    def _begin(self) -> None:
        while self._waiting and len(self._working) < self.slots:
            sent_at, number = self._waiting.popleft()
            work_s = self.work if isinstance(self.work, float) else self.work()
            heapq.heappush(self._working, (self.now + work_s, sent_at, number))


def exponential(mean_s: float) -> Callable[[], float]:
    rng = random.Random(2)
    return lambda: rng.expovariate(1.0 / mean_s)


def mixed() -> Callable[[], float]:
    """One request in ten is a report that takes twenty times as long as the others; 14.5 ms on average."""
    rng = random.Random(3)
    return lambda: 0.005 if rng.random() < 0.9 else 0.1


@pytest.mark.parametrize(("slots", "work_s"), [(1, 0.02), (4, 0.01), (20, 0.02), (200, 0.05)])
def test_it_uses_what_there_is_without_a_long_line(slots: int, work_s: float) -> None:
    site = Site(slots, work_s)
    site.run(5.0)
    served, latencies = site.run(5.0)
    assert served >= 0.95 * 5.0 * slots / work_s
    assert mean(latencies) < 4.5 * work_s, "with one place, one waits and two are headroom"


@pytest.mark.parametrize(
    ("slots", "mean_s", "work"),
    [
        (20, 0.02, exponential(0.02)),
        (100, 0.02, exponential(0.02)),
        (20, 0.0145, mixed()),
    ],
)
def test_latencies_that_vary_do_not_mislead_it(slots: int, mean_s: float, work: Callable[[], float]) -> None:
    site = Site(slots, work)
    site.run(5.0)
    served, latencies = site.run(10.0)
    assert served >= 0.9 * 10.0 * slots / mean_s
    assert mean(latencies) < 3.0 * mean_s


@pytest.mark.parametrize(
    ("workers", "most", "slots", "work_s"),
    [
        (1, 2.5, 10, 0.02),
        (1, 2.5, 5, 0.02),
        (1, 2.5, 20, 0.04),
        (1, 2.5, 20, 0.1),
        (1, 2.5, 40, 0.02),
        (1, 2.5, 80, 0.02),
        (1, 2.5, 20, 0.01),
        (4, 3.5, 10, 0.02),
        (4, 3.5, 20, 0.04),
        (4, 3.5, 40, 0.02),
        (4, 3.5, 20, 0.01),
    ],
)
def test_it_follows_within_two_seconds(workers: int, most: float, slots: int, work_s: float) -> None:
    """most: times the latency without a queue."""
    site = Site(20, 0.02, workers=workers)
    site.run(6.0)
    site.slots, site.work = slots, work_s
    site.run(2.0)
    served, latencies = site.run(2.0)
    assert served >= 0.95 * 2.0 * slots / work_s
    assert mean(latencies) < most * work_s


@pytest.mark.parametrize("phase", [0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9])
def test_an_upstream_twice_as_slow_is_hardly_held_back(phase: float) -> None:
    """However long the next probe is away. It is known by the latency, which stays while the limit sinks."""
    site = Site(20, 0.02)
    site.now += phase
    site.run(6.0)
    site.work = 0.04
    served, _ = site.run(2.0)
    assert served >= 0.75 * 2.0 * 20 / 0.04


def test_probes_cost_little_and_a_slow_upstream_no_more() -> None:
    for work_s in (0.02, 0.5, 2.0):
        site = Site(20, work_s)
        site.run(50.0 * work_s)
        seconds = 200.0 * work_s
        served, _ = site.run(seconds)
        assert served >= 0.95 * seconds * 20 / work_s


def test_light_traffic_moves_nothing() -> None:
    site = Site(20, 0.02)
    site.run(30.0, offered=2)
    assert site.limiter.limit == 20
    assert site.limiter.base_s == pytest.approx(0.02)


def test_a_busy_upstream_that_is_no_slower_is_never_held_back() -> None:
    site = Site(200, exponential(0.02))
    site.run(3.0, offered=15)
    lowest = site.limiter.limit
    for _ in range(300):
        site.run(0.1, offered=15)
        lowest = min(lowest, site.limiter.limit)
    assert lowest >= 15, "no probe either"


def test_all_workers_probe_at_once() -> None:
    """One alone could not empty the queue that the others keep up, and would take it for the latency without one."""
    site = Site(80, 0.02, workers=4)
    site.run(15.0)
    served, latencies = site.run(3.0)
    assert served >= 0.95 * 3.0 * 80 / 0.02
    assert mean(latencies) < 2.0 * 0.02


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_workers_have_one_headroom(workers: int) -> None:
    """With one for each the latency of 8 workers would be 15 times that without a queue."""
    site = Site(20, 0.02, workers=workers)
    site.run(10.0)
    served, latencies = site.run(10.0)
    assert served >= 0.95 * 10.0 * 20 / 0.02
    assert mean(latencies) < 1.6 * 0.02


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_few_answers_that_vary_do_not_mislead_many_workers(workers: int) -> None:
    site = Site(20, exponential(0.02), workers=workers)
    site.run(10.0)
    served, latencies = site.run(10.0)
    assert served >= 0.95 * 10.0 * 20 / 0.02
    assert mean(latencies) < 4.0 * 0.02


@pytest.mark.parametrize("others", [0, 1])
def test_a_worker_that_has_all_the_clients_has_the_whole_limit(others: int) -> None:
    site = Site(20, 0.02, workers=8)
    site.run(5.0, others=others)
    served, latencies = site.run(5.0, others=others)
    assert served >= 0.95 * 5.0 * 20 / 0.02
    assert mean(latencies) < 1.6 * 0.02


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_fast_errors_say_nothing_of_the_load(share: float) -> None:
    site = Site(20, 0.02)
    site.fails = share
    site.run(5.0)
    served, latencies = site.run(5.0)
    assert served >= 0.95 * 5.0 * 20 / 0.02
    assert site.limiter.base_s == pytest.approx(0.02, rel=0.2)
    assert mean(latencies) < 2.0 * 0.02


def test_one_that_timed_out_moves_little() -> None:
    site = Site(20, 0.02)
    site.run(5.0)
    for _ in range(20):
        site.limiter.on_answer(30.0, False, site.limiter.limit, site.now)
        served, _ = site.run(0.2)
        assert served >= 0.7 * 0.2 * 20 / 0.02


def test_errors_before_any_answer_are_not_taken_for_its_latency() -> None:
    limiter = Adaptive()
    for number in range(100):
        limiter.on_answer(0.001, False, 20, number * 0.01)
    assert limiter.base_s == 0.0
