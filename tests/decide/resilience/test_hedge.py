"""When the second request goes out: a time, or a percentile that follows. A simulation under a manual clock."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from gateway.decide.resilience.budget import RetryBudget
from gateway.decide.resilience.hedge import SHORTEST_S, WINDOW_S, Delay, HedgeSettings

P95 = HedgeSettings(percentile=0.95)


def test_a_time_is_that_time_from_the_beginning() -> None:
    delay = Delay(HedgeSettings(after_s=0.05), 0.0)
    for _ in range(1000):
        delay.note(9.0, 1.0)
    assert delay.after_s(1.0) == 0.05
    assert Delay(HedgeSettings(after_s=0.00001), 0.0).after_s(0.0) == SHORTEST_S


@pytest.mark.parametrize(("percentile", "needed"), [(0.5, 10), (0.9, 50), (0.95, 100), (0.99, 500), (0.999, 5000)])
def test_a_percentile_needs_answers_beyond_it(percentile: float, needed: int) -> None:
    delay = Delay(HedgeSettings(percentile=percentile), 0.0)
    for n in range(needed):
        assert delay.after_s(n * 0.2) is None
        delay.note(0.01, n * 0.2)
    assert delay.after_s(needed * 0.2) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("scale", [0.001, 0.02, 3.0])
def test_it_is_at_most_a_bucket_too_high(percentile: float, scale: float) -> None:
    rng = random.Random(7)
    times = [scale * rng.lognormvariate(0.0, 1.0) for _ in range(5000)]
    delay = Delay(HedgeSettings(percentile=percentile), 0.0)
    for each in times:
        delay.note(each, 1.0)
    found = delay.after_s(1.0)
    assert found is not None
    exact = sorted(times)[int(percentile * len(times))]
    assert max(exact, SHORTEST_S) * 0.99 <= found <= max(exact * 1.1, SHORTEST_S)


@pytest.mark.parametrize("taken_s", [0.0, 1e-9, 104.0, 1e6])
def test_any_time_has_a_bucket(taken_s: float) -> None:
    delay = Delay(P95, 0.0)
    for _ in range(200):
        delay.note(taken_s, 0.0)
    found = delay.after_s(0.0)
    assert found is not None
    assert SHORTEST_S <= found < 106.0


def test_it_follows_within_two_windows_and_stays_in_quiet_times() -> None:
    delay = Delay(P95, 0.0)
    for n in range(200):
        delay.note(0.01, n * 0.01)
    for n in range(2 * int(WINDOW_S) * 100 + 200):
        delay.note(0.1, 10.0 + n * 0.01)
    assert delay.after_s(40.0) == pytest.approx(0.1, rel=0.1)
    assert delay.after_s(1e6) == pytest.approx(0.1, rel=0.1), "nobody said otherwise"
    for n in range(50):
        delay.note(0.01, 1e6 + n)
    assert delay.after_s(2e6) == pytest.approx(0.1, rel=0.1), "too few to turn it"


@dataclass
class Site:
    """An upstream at 200 requests a second, round robin, hedged elsewhere; `latency(target, now)` in seconds."""

    latency: Callable[[int, float], float]
    settings: HedgeSettings = P95
    share: float = 0.2
    targets: int = 3
    rate: float = 200.0
    asked: int = 0
    sent: int = 0
    times: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> list[float]:
        """How long each answer took, sorted, in the last half."""
        delay, budget = Delay(self.settings, 0.0), RetryBudget(self.share, 0.0)
        due: list[tuple[float, int, Callable[[float], None]]] = []
        for n in range(int(seconds * self.rate)):
            heapq.heappush(due, (n / self.rate, n, self._begin(n, delay, budget, due)))
        while due:
            now, _, act = heapq.heappop(due)
            act(now)
        half = self.times[len(self.times) // 2 :]
        return sorted(half)

    def _begin(
        self, n: int, delay: Delay, budget: RetryBudget, due: list[tuple[float, int, Callable[[float], None]]]
    ) -> Callable[[float], None]:
        def begin(now: float) -> None:
            budget.count(now)
            self.asked += 1
            self.sent += 1
            first = now + self.latency(n % self.targets, now)
            after = delay.after_s(now)
            if after is None or now + after >= first:
                heapq.heappush(due, (first, n, lambda at: end(at, now)))
                return

            def hedge(at: float) -> None:
                done = first
                if budget.take(at):
                    self.sent += 1
                    done = min(first, at + self.latency((n + 1) % self.targets, at))
                heapq.heappush(due, (done, n, lambda at: end(at, now)))

            heapq.heappush(due, (now + after, n, hedge))

        def end(at: float, began: float) -> None:
            self.times.append(at - began)
            delay.note(at - began, at)

        return begin


def stalls(share: float, slow_s: float) -> Callable[[int, float], float]:
    """Each answer takes 5 to 10 ms, but a share of those of target 0 takes `slow_s`."""
    rng = random.Random(3)
    return lambda target, now: slow_s if target == 0 and rng.random() < share else rng.uniform(0.005, 0.01)


def test_one_target_of_three_that_stalls_now_and_then_costs_the_clients_nothing() -> None:
    site = Site(stalls(0.1, 1.0))
    times = site.run(60.0)
    assert times[int(len(times) * 0.99)] < 0.03, "without hedges 3 % take a second"
    assert site.sent < site.asked * 1.08
    alone = Site(stalls(0.1, 1.0), targets=3, share=0.0)
    assert sorted(alone.run(60.0))[int(len(times) * 0.98)] >= 0.05


def test_one_target_of_three_that_is_slow_is_avoided_as_far_as_the_budget_goes() -> None:
    times = Site(stalls(1.0, 1.0), HedgeSettings(after_s=0.02), share=0.5).run(40.0)
    assert times[-1] < 0.035
    site = Site(stalls(1.0, 1.0), HedgeSettings(after_s=0.02), share=0.2)
    slow = [each for each in site.run(40.0) if each > 0.035]
    assert site.sent <= site.asked * 1.2 + 10
    assert len(slow) / len(site.times) * 2 == pytest.approx(1 / 3 - 0.2, abs=0.03)


def test_where_all_become_slow_the_budget_holds_and_the_percentile_follows() -> None:
    """No storm: at 20 s every answer takes ten times as long."""
    rng = random.Random(3)
    site = Site(lambda target, now: rng.uniform(0.005, 0.01) * (10.0 if now >= 20.0 else 1.0))
    site.run(20.0)
    calm = site.sent - site.asked
    assert calm < 0.07 * site.asked
    site = Site(site.latency)
    site.run(60.0)
    assert site.sent - site.asked <= 0.2 * 200 * 22 + 0.07 * site.asked, "20 % until two windows are over, then 5 %"
