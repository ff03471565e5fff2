"""What single balancers promise beyond all."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from gateway.decide.balance.consistent_hash import ConsistentHash
from gateway.decide.balance.least_loaded import LeastLoaded
from gateway.decide.balance.newcomer import is_new
from gateway.decide.balance.peak_ewma import PeakEwma
from gateway.decide.balance.round_robin import RoundRobin
from gateway.decide.balance.split import Split
from gateway.decide.balance.two_choices import TwoChoices
from tests.decide.balance.loads import Target, targets

RNG = random.Random(3)


def test_least_loaded_takes_the_fewest_in_flight_by_weight() -> None:
    a, b, c = Target("a", 1, 3), Target("b", 4, 8), Target("c", 1, 4)
    assert LeastLoaded(RNG).pick((a, b, c), None, 0.0) is b
    b.in_flight = 13
    assert LeastLoaded(RNG).pick((a, b, c), None, 0.0) is a
    even = targets(3, in_flight=5)
    even[2].in_flight = 4
    assert LeastLoaded(RNG).pick(even, None, 0.0) is even[2]


def test_least_loaded_goes_round_when_all_are_equal() -> None:
    balancer, candidates = LeastLoaded(RNG), targets(4)
    order = [balancer.pick(candidates, None, 0.0) for _ in range(12)]
    assert order == list(candidates) * 3


def test_least_loaded_shares_fairly_when_two_are_always_busy() -> None:
    """Two requests at a time on three targets: the tie is of three, then of two, and still no one is favoured."""
    balancer, candidates = LeastLoaded(RNG), targets(3)
    taken: Counter[str] = Counter()
    for _ in range(600):
        pair = []
        for _ in range(2):
            target = balancer.pick(candidates, None, 0.0)
            target.in_flight += 1
            pair.append(target)
        for target in pair:
            target.in_flight -= 1
            taken[target.key] += 1
    assert set(taken.values()) == {400}


def test_least_loaded_spreads_at_the_start_when_all_are_new() -> None:
    balancer, candidates = LeastLoaded(RNG), targets(3, started_at=100.0)
    candidates[1].in_flight = 2
    candidates[2].in_flight = 1
    assert balancer.pick(candidates, None, 100.0) is candidates[0]


def test_round_robin_is_smooth() -> None:
    """The example of nginx's commit: weights 5, 1, 1 give a a b a c a a."""
    balancer = RoundRobin(RNG)
    candidates = (Target("a", 5), Target("b"), Target("c"))
    assert "".join(balancer.pick(candidates, None, 0.0).key for _ in range(14)) == "aabacaa" * 2


def test_two_choices_never_takes_the_most_loaded_of_all() -> None:
    balancer, candidates = TwoChoices(random.Random(1)), targets(4, in_flight=1)
    candidates[3].in_flight = 2
    assert {balancer.pick(candidates, None, 0.0).key for _ in range(300)} == {t.key for t in candidates[:3]}


def test_peak_ewma_rises_at_once_and_sinks_slowly() -> None:
    balancer, target = PeakEwma(RNG), Target("a")
    balancer.report(target, 0.010, True, 0.0)
    assert target.ewma_s == 0.010
    balancer.report(target, 0.500, True, 1.0)
    assert target.ewma_s == 0.500
    balancer.report(target, 0.010, True, 2.0)
    assert 0.45 < target.ewma_s < 0.46
    balancer.report(target, 0.010, True, 60.0)
    assert target.ewma_s < 0.012


def test_peak_ewma_does_not_take_quick_failures_for_speed() -> None:
    balancer = PeakEwma(random.Random(1))
    good, broken = candidates = targets(2)
    balancer.report(good, 0.050, True, 0.0)
    balancer.report(broken, 0.0001, False, 0.0)
    assert {balancer.pick(candidates, None, 0.0).key for _ in range(50)} == {good.key}


def test_peak_ewma_weighs_latency_by_queue_and_tries_the_slow_again() -> None:
    balancer = PeakEwma(random.Random(1))
    fast, slow = candidates = targets(2)
    balancer.report(fast, 0.010, True, 0.0)
    balancer.report(slow, 0.100, True, 0.0)
    assert balancer.pick(candidates, None, 0.0) is fast
    fast.in_flight = 20
    assert balancer.pick(candidates, None, 0.0) is slow
    fast.in_flight = 0
    balancer.report(fast, 0.010, True, 30.0)
    assert balancer.pick(candidates, None, 30.0) is slow


def test_peak_ewma_gives_an_untried_target_one_request_and_waits_for_its_answer() -> None:
    balancer = PeakEwma(random.Random(1))
    known, fresh = candidates = targets(2)
    balancer.report(known, 0.010, True, 0.0)
    assert balancer.pick(candidates, None, 0.0) is fresh
    fresh.in_flight = 1
    known.in_flight = 100
    assert balancer.pick(candidates, None, 0.0) is known


def homes(balancer: ConsistentHash, candidates: tuple[Target, ...]) -> dict[str, str]:
    return {f"user-{n}": balancer.pick(candidates, f"user-{n}", 0.0).key for n in range(4000)}


def test_consistent_hash_is_the_same_in_every_process() -> None:
    candidates = targets(5)
    assert [ConsistentHash(RNG).pick(candidates, f"user-{n}", 0.0).key[7] for n in range(12)] == list("404103201332")


def test_consistent_hash_moves_only_the_keys_it_must() -> None:
    balancer, candidates = ConsistentHash(RNG), targets(5)
    before = homes(balancer, candidates)
    gone = candidates[2]
    after = homes(balancer, tuple(t for t in candidates if t is not gone))
    assert all(after[key] == home for key, home in before.items() if home != gone.key)
    assert {after[key] for key, home in before.items() if home == gone.key} == {
        t.key for t in candidates if t is not gone
    }
    joined = Target("10.0.0.9:80")
    grown = homes(balancer, (*candidates, joined))
    moved = {key for key, home in before.items() if grown[key] != home}
    assert {grown[key] for key in moved} == {joined.key}
    assert len(moved) == pytest.approx(4000 / 6, rel=0.15)


def test_consistent_hash_bounds_the_load_of_a_hot_key() -> None:
    balancer, candidates = ConsistentHash(RNG), targets(5)
    for _ in range(100):
        balancer.pick(candidates, "hot", 0.0).in_flight += 1
    assert max(target.in_flight for target in candidates) <= 1.25 * 100 / 5 + 1
    assert min(target.in_flight for target in candidates) == 0


def test_consistent_hash_without_a_key_spreads_by_load() -> None:
    balancer, candidates = ConsistentHash(RNG), targets(3)
    assert {balancer.pick(candidates, None, 0.0).key for _ in range(3)} == {t.key for t in candidates}


def test_split_follows_the_shares() -> None:
    rng = random.Random(5)
    split = Split((("a", 90), ("b", 10), ("off", 0)))
    taken = Counter(split.pick(rng) for _ in range(20_000))
    assert set(taken) == {"a", "b"}
    assert taken["b"] == pytest.approx(2000, rel=0.1)
    assert {Split((("only", 5),)).pick(rng) for _ in range(10)} == {"only"}
    with pytest.raises(ValueError, match="above 0"):
        Split((("a", 0),))


def test_draws_at_the_upper_edge_stay_inside() -> None:
    class Edge:
        def random(self) -> float:
            return 1 - 2**-53

    candidates = tuple(Target(f"t{n}", weight) for n, weight in enumerate((1000, 3, 1)))
    assert TwoChoices(Edge()).pick(candidates, None, 0.0) is candidates[2]
    assert TwoChoices(Edge()).pick(targets(3), None, 0.0).key == "10.0.0.2:80"
    assert all(a != b for a, b in pairwise([Split((("a", 1), ("b", 2))).pick(Edge()), "a"]))


def test_a_target_is_new_for_as_long_as_its_slow_start() -> None:
    target = Target("10.0.0.1:80", started_at=100.0, slow_start_s=2.0)
    assert is_new(target, 101.9)
    assert not is_new(target, 102.0)
    assert not is_new(Target("10.0.0.1:80", started_at=100.0, slow_start_s=0.0), 100.0)
