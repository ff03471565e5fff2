"""Eight targets, one of them ten times slower, in simulated time."""

import heapq
import random
from collections import deque

import pytest

from gateway.decide.balance.registry import make_balancer
from gateway.decide.balance.settings import BalanceSettings
from tests.decide.balance.loads import Target, targets

FAST_S = 0.010
SLOWER = 10
WORKERS = 4
"""Requests that one target works on at a time; the others wait in its queue."""


class Simulation:
    """Poisson arrivals, exponential service; events in order of time."""

    def __init__(self, kind: str, per_s: float, seed: int) -> None:
        self.rng = random.Random(seed)
        self.balancer = make_balancer(BalanceSettings(kind), random.Random(seed + 1))
        self.candidates = targets(8)
        self.per_s = per_s
        self.waiting: dict[str, deque[float]] = {target.key: deque() for target in self.candidates}
        self.ends: list[tuple[float, int, float, Target]] = []
        self.latencies: list[float] = []
        self.served = 0

    def run(self, count: int) -> "Simulation":
        now = 0.0
        for number in range(count):
            now += self.rng.expovariate(self.per_s)
            self.finish_until(now)
            target = self.balancer.pick(self.candidates, f"key-{number}", now)
            target.in_flight += 1
            if target.in_flight <= WORKERS:
                self.begin(target, now, now)
            else:
                self.waiting[target.key].append(now)
        self.finish_until(float("inf"))
        return self

    def begin(self, target: Target, arrived: float, now: float) -> None:
        mean = FAST_S * (SLOWER if target is self.candidates[0] else 1)
        self.served += 1
        heapq.heappush(self.ends, (now + self.rng.expovariate(1 / mean), self.served, arrived, target))

    def finish_until(self, now: float) -> None:
        while self.ends and self.ends[0][0] <= now:
            ended, _, arrived, target = heapq.heappop(self.ends)
            target.in_flight -= 1
            self.latencies.append(ended - arrived)
            self.balancer.report(target, ended - arrived, True, ended)
            if self.waiting[target.key]:
                self.begin(target, self.waiting[target.key].popleft(), ended)

    def p99(self) -> float:
        return sorted(self.latencies)[int(len(self.latencies) * 0.99)]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("load", [0.3, 0.6, 0.85])
@pytest.mark.parametrize("kind", ["least_loaded", "peak_ewma"])
def test_one_slow_target_does_not_set_the_p99(kind: str, load: float, seed: int) -> None:
    """At most half of round robin's, from light load to heavy, as a share of what the eight can do together."""
    capacity = WORKERS * (7 + 1 / SLOWER) / FAST_S
    simulation = Simulation(kind, load * capacity, seed).run(6000)
    assert len(simulation.latencies) == 6000
    assert all(target.in_flight == 0 for target in simulation.candidates)
    assert simulation.p99() <= Simulation("round_robin", load * capacity, seed).run(6000).p99() / 2
