"""A worker with too much to do, under a clock that the test moves."""

from collections import Counter

import pytest

from gateway.decide.resilience.overload import MOST, Overload
from gateway.decide.resilience.overload_settings import OverloadSettings

TICK_S = 0.05
SETTINGS = OverloadSettings(loop_lag_s=0.25, memory=0.85)


class Worker:
    """Ticks as a worker does: each is late by what the loop was held up."""

    def __init__(self, settings: OverloadSettings = SETTINGS) -> None:
        self.overload = Overload()
        self.settings = settings
        self.now = 100.0
        self.changes = 0

    def run(self, seconds: float, lag_s: float = 0.0, memory: float = 0.0) -> None:
        until = self.now + seconds
        while self.now < until:
            self.tick(lag_s, memory)

    def tick(self, lag_s: float = 0.0, memory: float = 0.0) -> None:
        self.now += TICK_S + lag_s
        self.changes += self.overload.step(self.now, lag_s, memory, self.settings)


def test_a_worker_that_is_on_time_refuses_nothing() -> None:
    worker = Worker()
    worker.run(60, lag_s=0.2, memory=0.84)
    assert (worker.overload.share, worker.overload.cause, worker.changes) == (0.0, "", 0)
    assert not any(worker.overload.refuses() for _ in range(100))


@pytest.mark.parametrize("held_s", [0.3, 1.0, 10.0, 3600.0])
def test_one_long_turn_begins_nothing(held_s: float) -> None:
    worker = Worker()
    worker.run(5)
    worker.tick(held_s)
    worker.run(5)
    assert worker.changes == 0


@pytest.mark.parametrize(("lag_s", "within_s"), [(0.3, 6.0), (0.5, 3.0), (1.0, 3.0)])
def test_late_turns_begin_it_and_the_share_grows(lag_s: float, within_s: float) -> None:
    worker = Worker()
    worker.run(within_s, lag_s=lag_s)
    assert worker.overload.cause == "loop_lag"
    first = worker.overload.share
    worker.run(5, lag_s=lag_s)
    assert first < worker.overload.share <= MOST
    assert worker.changes == 1


def test_memory_begins_it_at_once_and_the_most_is_never_passed() -> None:
    worker = Worker()
    worker.tick()
    worker.tick(memory=0.86)
    assert (worker.overload.cause, worker.changes) == ("memory", 1)
    worker.run(600, memory=1.0)
    assert worker.overload.share == MOST


def test_it_ends_below_four_fifths_and_not_before() -> None:
    worker = Worker()
    worker.run(2, memory=0.9)
    worker.run(60, memory=0.7)  # 82 % of the threshold
    assert worker.overload.cause == "memory"
    assert worker.overload.share == pytest.approx(0.1)
    worker.run(0.3, memory=0.67)
    assert (worker.overload.cause, worker.overload.share, worker.changes) == ("", 0.0, 2)


def test_swinging_around_the_threshold_begins_once() -> None:
    worker = Worker()
    for _ in range(100):
        worker.run(0.5, memory=0.86)
        worker.run(0.5, memory=0.80)
    assert worker.changes == 1


@pytest.mark.parametrize(
    ("settings", "lag_s", "memory"),
    [
        (OverloadSettings(None, 0.85), 2.0, 0.1),
        (OverloadSettings(0.25, None), 0.0, 1.0),
        (OverloadSettings(None, None), 2.0, 1.0),
    ],
)
def test_what_is_off_is_not_looked_at(settings: OverloadSettings, lag_s: float, memory: float) -> None:
    worker = Worker(settings)
    worker.run(20, lag_s=lag_s, memory=memory)
    assert worker.changes == 0


def test_turning_it_off_ends_it() -> None:
    worker = Worker()
    worker.run(2, memory=0.9)
    assert worker.overload.cause
    worker.settings = OverloadSettings(None, None)
    worker.run(2, memory=0.9)
    assert (worker.overload.share, worker.overload.cause) == (0.0, "")


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.95])
def test_refusals_are_spread_evenly(share: float) -> None:
    worker = refusing(share)
    refused = [worker.overload.refuses() for _ in range(1000)]
    assert sum(refused) == worker.overload.refused == pytest.approx(worker.overload.share * 1000, abs=1)
    for start in range(0, 980, 20):
        assert sum(refused[start : start + 20]) == pytest.approx(worker.overload.share * 20, abs=1)


def refusing(share: float) -> Worker:
    """One that refuses so much, or a little more."""
    worker = Worker()
    while worker.overload.share < share:
        worker.tick(memory=0.86)
    return worker


@pytest.mark.parametrize(
    ("share", "low", "high"),
    [(0.1, 0.125, 0.0), (0.5, 0.625, 0.0), (0.7, 0.875, 0.0), (0.85, 1.0, 0.25), (0.95, 1.0, 0.75)],
)
def test_lower_classes_are_shed_first(share: float, low: float, high: float) -> None:
    """Four of five requests are of the lower class: it gives up all before the other gives any."""
    worker = refusing(share)
    weights = [1, 1, 10, 1, 1] * 400
    for weight in weights[:100]:
        worker.overload.refuses(weight)
    worker.tick(memory=0.85)
    asked = Counter(weights)
    refused = Counter(weight for weight in weights if worker.overload.refuses(weight))
    assert refused[1] / asked[1] == pytest.approx(low, abs=0.02)
    assert refused[10] / asked[10] == pytest.approx(high, abs=0.05)


def test_where_all_are_of_one_high_class_it_is_shed() -> None:
    worker = refusing(0.5)
    for _ in range(100):
        worker.overload.refuses(10)
    worker.tick(memory=0.85)
    assert sum(worker.overload.refuses(10) for _ in range(1000)) == pytest.approx(500, abs=10)


def test_an_hour_without_requests_changes_nothing() -> None:
    worker = refusing(0.5)
    worker.overload.refuses(10)
    worker.run(3600, memory=0.9)
    assert worker.overload.share == MOST
    assert not worker.overload.refuses(10)


def test_the_mix_of_classes_is_that_of_the_last_seconds() -> None:
    worker = refusing(0.5)
    for _ in range(1000):
        worker.overload.refuses(1)
    worker.run(10, memory=0.84)
    for _ in range(100):
        worker.overload.refuses(5)
    worker.tick(memory=0.84)
    share = worker.overload.share
    assert share > 0.05
    assert sum(worker.overload.refuses(5) for _ in range(1000)) == pytest.approx(share * 1000, abs=50)


@pytest.mark.parametrize("cost_s", [0.02, 0.05, 0.1])
def test_a_loop_that_gets_too_much_work_comes_back_below_its_threshold(cost_s: float) -> None:
    """A simulation: each request holds up the loop for `cost_s`, and 3 times as many come as it can serve."""
    worker = Worker()
    waiting, lags = 0.0, []
    for _ in range(2000):
        served = 0
        for _ in range(int(waiting)):
            served += not worker.overload.refuses()
        held_s = served * cost_s
        waiting = waiting - int(waiting) + min(3.0 / cost_s * (TICK_S + held_s), 64)  # as many clients wait
        worker.tick(held_s)
        lags.append(held_s)
    settled = lags[1000:]
    assert sum(settled) / len(settled) < 0.25
    assert sorted(settled)[900] < 0.75
    assert worker.changes == 1
    worker.run(10)
    assert (worker.overload.share, worker.changes) == (0.0, 2)


@pytest.mark.parametrize(("share", "seconds"), [(0.1, 0.5), (0.5, 2.5), (0.95, 4.75)])
def test_the_delay_before_the_next_try_is_measured_from_the_share(share: float, seconds: float) -> None:
    assert refusing(share).overload.retry_after_s == pytest.approx(seconds, abs=0.1)
