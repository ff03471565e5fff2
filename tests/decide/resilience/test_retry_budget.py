"""A share of the last ten seconds' requests, never less than ten; and how long to wait."""

import random

import pytest

from gateway.decide.resilience.backoff import full_jitter_s
from gateway.decide.resilience.budget import FLOOR, RetryBudget
from gateway.decide.resilience.retry import condition_of


def taken(budget: RetryBudget, now: float, wanted: int = 1000) -> int:
    """How many of `wanted` retries the budget allows at that moment."""
    return sum(budget.take(now) for _ in range(wanted))


def test_quiet_times_have_the_floor() -> None:
    budget = RetryBudget(0.2, 100.0)
    budget.count(100.0)
    assert taken(budget, 100.0) == FLOOR
    assert taken(budget, 109.0) == 0
    assert taken(budget, 110.0) == FLOOR, "what was taken ten seconds ago is forgotten"


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 1.0])
def test_the_share_is_of_requests_and_not_of_retries(share: float) -> None:
    budget = RetryBudget(share, 0.0)
    for n in range(1000):
        budget.count(n * 0.009)
    assert taken(budget, 9.0, 5000) == max(int(share * 1000), FLOOR)


def test_requests_are_forgotten_after_the_window() -> None:
    budget = RetryBudget(0.5, 0.0)
    for _ in range(1000):
        budget.count(0.5)
    assert taken(budget, 9.9, 100) == 100
    assert taken(budget, 10.0) == 0, "the thousand are gone, the hundred retries are not"
    assert taken(budget, 19.95) == FLOOR


def test_it_says_what_was_taken_of_what_is_allowed() -> None:
    budget = RetryBudget(0.5, 0.0)
    for _ in range(1000):
        budget.count(0.5)
    taken(budget, 5.0, 7)
    assert budget.state(9.0) == (7, 500)
    assert budget.state(12.0) == (7, FLOOR), "the thousand are gone"
    assert budget.state(20.0) == (0, FLOOR)


def test_a_long_pause_empties_it() -> None:
    budget = RetryBudget(0.5, 0.0)
    for _ in range(1000):
        budget.count(0.5)
    assert taken(budget, 1e6) == FLOOR
    assert taken(budget, 1e6 + 0.5) == 0


def test_a_dead_upstream_gets_a_fifth_more_and_no_storm() -> None:
    """Simulation: 200 requests a second, dead from 20 s to 60 s; every failure asks for up to two retries."""
    budget = RetryBudget(0.2, 0.0)
    sent = dict.fromkeys(range(90), 0)
    for n in range(200 * 90):
        now = n / 200
        budget.count(now)
        sent[int(now)] += 1
        if 20 <= now < 60:
            for _ in range(2):
                if not budget.take(now):
                    break
                sent[int(now)] += 1
    assert all(sent[second] == 200 for second in (*range(20), *range(60, 90)))
    dead = [sent[second] for second in range(20, 60)]
    assert sum(dead[:10]) <= 2000 * 1.2
    assert sum(dead) <= 40 * 200 * 1.2 + 200
    assert sum(dead) > 40 * 200 * 1.15, "and it is used"


def test_back_off_doubles_up_to_ten_times_and_begins_at_nothing() -> None:
    most = [full_jitter_s(retry, 0.025, lambda: 1.0) for retry in range(1, 7)]
    assert most == pytest.approx([0.025, 0.05, 0.1, 0.2, 0.25, 0.25])
    assert full_jitter_s(3, 0.025, lambda: 0.0) == 0.0
    assert full_jitter_s(10_000, 0.025, lambda: 1.0) == pytest.approx(0.25)


def test_jitter_is_full() -> None:
    rng = random.Random(5)
    waits = sorted(full_jitter_s(1, 1.0, rng.random) for _ in range(2000))
    assert waits[0] < 0.01
    assert waits[-1] > 0.99
    assert waits[1000] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("reason", "sent", "condition"),
    [
        ("connect_refused", False, "connect"),
        ("connect_timeout", False, "connect"),
        ("tls_failed", False, "connect"),
        ("upstream_busy", False, "connect"),
        ("upstream_reset", False, "connect"),
        ("upstream_reset", True, "reset"),
        ("upstream_protocol", True, "reset"),
        ("upstream_timeout", True, "timeout"),
    ],
)
def test_what_a_failure_counts_as(reason: str, sent: bool, condition: str) -> None:
    assert condition_of(reason, sent) == condition
