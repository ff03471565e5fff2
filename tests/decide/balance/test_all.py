"""What every balancer of the registry promises."""

import gc
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.balance.protocol import Balancer
from gateway.decide.balance.registry import BALANCERS, make_balancer
from gateway.decide.balance.settings import BalanceSettings
from tests.decide.balance.loads import Target, targets

every = pytest.mark.parametrize("kind", BALANCERS)
BY_WEIGHT = [kind for kind in BALANCERS if kind != "peak_ewma"]
"""Those that share idle targets by weight; peak_ewma goes by latency."""


def build(kind: str) -> Balancer:
    return make_balancer(BalanceSettings(kind), random.Random(7))


def serve(balancer: Balancer, candidates: tuple[Target, ...], count: int) -> Counter[str]:
    """One request at a time, each answered in 10 ms."""
    taken: Counter[str] = Counter()
    for number in range(count):
        now = number * 0.01
        target = balancer.pick(candidates, f"key-{number}", now)
        target.in_flight += 1
        taken[target.key] += 1
        target.in_flight -= 1
        balancer.report(target, 0.01, True, now + 0.01)
    return taken


@every
@given(data=st.data())
def test_picks_one_of_the_candidates_whatever_they_are(kind: str, data: st.DataObject) -> None:
    """The set changes between picks, loads and averages are anything, the clock may stand still."""
    balancer = build(kind)
    known = [Target(f"t{n}", weight=data.draw(st.integers(1, 4))) for n in range(6)]
    now = 0.0
    for _ in range(data.draw(st.integers(1, 12))):
        candidates = data.draw(st.lists(st.sampled_from(known), min_size=1, unique=True).map(tuple))
        now += data.draw(st.sampled_from([0.0, 0.001, 30.0]))
        target = balancer.pick(candidates, data.draw(st.sampled_from([None, "", "a", "b", "\udce9"])), now)
        assert any(target is candidate for candidate in candidates)
        target.in_flight = data.draw(st.integers(0, 50))
        target.started_at = data.draw(st.sampled_from([-100.0, 0.0, now]))
        balancer.report(target, data.draw(st.floats(0, 60)), data.draw(st.booleans()), now)


@every
def test_a_list_may_change_between_picks(kind: str) -> None:
    balancer = build(kind)
    candidates = list(targets(3))
    for _ in range(20):
        balancer.pick(candidates, "k", 0.0)
    kept = candidates[1]
    candidates[:] = [kept]
    assert balancer.pick(candidates, "k", 0.0) is kept
    candidates[:] = [kept, Target("new", weight=3)]
    assert {balancer.pick(candidates, f"{n}", 0.0).key for n in range(50)} <= {kept.key, "new"}


@pytest.mark.parametrize("kind", BY_WEIGHT)
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 5), (3, 3, 1)])
def test_idle_targets_share_by_weight(kind: str, weights: tuple[int, ...]) -> None:
    candidates = tuple(Target(f"10.0.0.{n}:80", weight) for n, weight in enumerate(weights))
    taken = serve(build(kind), candidates, 9000)
    for target in candidates:
        assert taken[target.key] == pytest.approx(9000 * target.weight / sum(weights), rel=0.06)


@every
def test_equal_targets_are_all_used(kind: str) -> None:
    taken = serve(build(kind), targets(5), 5000)
    assert len(taken) == 5
    assert min(taken.values()) > 500


@every
def test_a_new_target_is_not_flooded(kind: str) -> None:
    """Seven targets with 20 requests each; an eighth joins. Of what comes it gets no more than an eighth."""
    balancer = build(kind)
    settled = targets(7, in_flight=20)
    for number in range(200):
        target = balancer.pick(settled, f"k{number}", 90.0)
        balancer.report(target, 0.05, True, 90.0)
    newcomer = Target("10.0.0.9:80", started_at=100.0)
    taken = 0
    for number in range(160):
        now = 100.0 + number / 1000
        target = balancer.pick((*settled, newcomer), f"key-{number}", now)
        target.in_flight += 1
        taken += target is newcomer
        if number == 8:
            balancer.report(newcomer, 0.05, True, now)
    assert taken <= 160 / 8 * 1.5


@every
def test_a_new_target_gets_its_share_in_the_end(kind: str) -> None:
    balancer = build(kind)
    newcomer = Target("10.0.0.9:80", started_at=0.0)
    assert serve(balancer, (*targets(3), newcomer), 4000)[newcomer.key] > 400


@every
def test_targets_that_come_and_go_leave_nothing_behind(kind: str) -> None:
    """Names from DNS may be new for ever."""
    balancer = build(kind)
    for number in range(12_000):
        pair = (Target(f"a{number}", weight=2), Target(f"b{number}"))
        assert balancer.pick(pair, "key", 0.0) in pair
    held = containers(balancer, depth=3)
    assert len(held) > 0
    assert all(len(value) <= 4096 for value in held)


def containers(part: object, depth: int) -> list[dict[object, object] | list[object]]:
    """What `part` and its parts hold, wherever it keeps them."""
    inner = [each for each in gc.get_referents(part) if not isinstance(each, type)] if depth else []
    found = [value for each in inner for value in containers(each, depth - 1)]
    return [part, *found] if isinstance(part, dict | list) else found


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no balancer 'best'; there are least_loaded, round_robin"):
        make_balancer(BalanceSettings("best"), random.Random())
