"""What a target that joins is given in the time of its slow start, with every balancer."""

import random

import pytest

from gateway.decide.balance.newcomer import eased_in, is_new, share
from gateway.decide.balance.registry import make_balancer
from gateway.decide.balance.settings import BalanceSettings
from tests.decide.balance.loads import Target, targets

KINDS = ("least_loaded", "round_robin", "random", "two_choices", "peak_ewma", "consistent_hash")


@pytest.mark.parametrize(
    ("age_s", "expected"), [(0.0, 0.1), (0.5, 0.1), (1.0, 0.1), (2.5, 0.25), (9.0, 0.9), (10.0, 1.0), (1e6, 1.0)]
)
def test_the_share_grows_from_a_tenth(age_s: float, expected: float) -> None:
    assert share(Target("10.0.0.1:80", started_at=100.0), 100.0 + age_s) == pytest.approx(expected)


def test_without_a_slow_start_all_is_given_at_once() -> None:
    assert share(Target("10.0.0.1:80", started_at=100.0, slow_start_s=0.0), 100.0) == 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("age_s", "expected"), [(0.0, 0.1), (5.0, 0.5), (10.0, 1.0)])
def test_each_balancer_gives_a_newcomer_its_share(kind: str, age_s: float, expected: float) -> None:
    """Of four idle targets each gets a quarter, as soon as none is new."""
    now = 100.0
    newcomer = Target("10.0.0.9:80", started_at=now - age_s)
    taken = _taken(kind, (*targets(3), newcomer), newcomer, now)
    rival = Target("10.0.0.9:80")
    whole = _taken(kind, (*targets(3), rival), rival, now)
    assert taken == pytest.approx(expected * whole, rel=0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_where_all_are_new_none_is_held_back(kind: str) -> None:
    everyone = targets(4, started_at=100.0)
    assert _taken(kind, everyone, everyone[0], 100.0) == pytest.approx(1000, rel=0.35)


def _taken(kind: str, candidates: tuple[Target, ...], whose: Target, now: float) -> int:
    """Of 4000 requests, one after the other."""
    rng = random.Random(7)
    balancer = make_balancer(BalanceSettings(kind), random.Random(8))
    taken = 0
    for number in range(4000):
        key = f"key-{number}"
        picked = balancer.pick(candidates, key, now)
        if is_new(picked, now):
            picked = eased_in(picked, balancer, candidates, key, now, rng)
        balancer.report(picked, 0.01, True, now)
        taken += picked is whose
    return taken
