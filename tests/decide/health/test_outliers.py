"""Who is put aside, for how long, and who is not; under a clock that the tests move."""

import random

import pytest

from gateway.decide.health.outliers import (
    CONSECUTIVE,
    LONGEST_S,
    MIN_REQUESTS,
    SUCCESS_RATE,
    Ejection,
    Outliers,
    OutlierSettings,
)


def fail(outliers: Outliers, key: str, times: int, now: float, among: int = 4) -> Ejection | None:
    """The first ejection of so many failures at once."""
    found = [outliers.report(key, False, now, among) for _ in range(times)]
    return next((each for each in found if each is not None), None)


def load(outliers: Outliers, key: str, good: int, bad: int, among: int) -> None:
    """Answers whose failures are never in a row."""
    for place in range(good + bad):
        assert outliers.report(key, place >= bad * 2 or place % 2 == 0, 0.0, among) is None


@pytest.mark.parametrize(
    ("errors", "gap_s", "ejected"), [(4, 0.0, False), (5, 0.0, True), (5, 2.5, True), (5, 3.0, False)]
)
def test_errors_in_a_row_within_the_window(errors: int, gap_s: float, ejected: bool) -> None:
    outliers = Outliers(OutlierSettings(errors=5, window_s=10.0))
    found = [outliers.report("a", False, place * gap_s, 4) for place in range(errors)]
    assert [each is not None for each in found] == [False] * (errors - 1) + [ejected]
    assert outliers.is_away("a") is ejected


def test_one_success_ends_the_row() -> None:
    outliers = Outliers(OutlierSettings(errors=2))
    for now in range(100):
        assert outliers.report("a", now % 2 == 0, float(now), 4) is None


def test_it_comes_back_and_each_time_stays_away_longer_until_it_does_well() -> None:
    outliers = Outliers(OutlierSettings(errors=1, window_s=10.0, eject_s=5.0))
    now, stays = 0.0, []
    for well_s in (0.0, 0.0, 9.0, 25.0, 1000.0):
        ejection = fail(outliers, "a", 1, now)
        assert ejection is not None
        stays.append(ejection.for_s)
        assert outliers.next_return == now + ejection.for_s
        assert outliers.come_back(now + ejection.for_s - 0.001) == []
        now += ejection.for_s
        assert outliers.come_back(now) == ["a"]
        now += well_s
    assert stays == [5.0, 10.0, 15.0, 20.0, 15.0]  # 25 s of doing well took two off
    again = fail(outliers, "a", 1, now)
    assert again is not None
    assert again.for_s == 5.0


@pytest.mark.parametrize(("eject_s", "longest"), [(100.0, LONGEST_S), (600.0, 600.0)])
def test_it_stays_away_so_long_at_most(eject_s: float, longest: float) -> None:
    outliers = Outliers(OutlierSettings(errors=1, eject_s=eject_s))
    now, stay = 0.0, 0.0
    for _ in range(10):
        ejection = fail(outliers, "a", 1, now)
        assert ejection is not None
        stay = ejection.for_s
        now += stay
        outliers.come_back(now)
    assert stay == longest


@pytest.mark.parametrize(
    ("targets", "share", "away"),
    [(1, 1.0, 0), (2, 0.5, 1), (2, 0.0, 1), (3, 0.5, 1), (4, 0.5, 2), (10, 0.3, 3), (4, 1.0, 4)],
)
def test_never_more_than_so_many(targets: int, share: float, away: int) -> None:
    outliers = Outliers(OutlierSettings(errors=1, max_ejected=share))
    for key in range(targets):
        fail(outliers, str(key), 3, 0.0, among=targets)
    assert sum(outliers.is_away(str(key)) for key in range(targets)) == away


@pytest.mark.parametrize(
    ("targets", "requests", "bad", "ejected"),
    [
        (5, MIN_REQUESTS, 40, ["0"]),
        (4, MIN_REQUESTS, 40, []),  # too few to compare
        (5, MIN_REQUESTS - 1, 40, []),  # too few requests to tell
        (5, 1000, 10, []),  # far below the others in deviations, and yet no harm
        (10, 1000, 100, ["0"]),
    ],
)
def test_a_success_rate_far_below_the_others(targets: int, requests: int, bad: int, ejected: list[str]) -> None:
    outliers = Outliers(OutlierSettings())
    for key in range(targets):
        load(outliers, str(key), requests - (0 if key else bad), 0 if key else bad, targets)
    found = outliers.evaluate(10.0, targets)
    assert [each.key for each in found] == ejected
    assert {each.reason for each in found} <= {SUCCESS_RATE}
    assert not outliers.seen


def test_all_that_fail_alike_stay() -> None:
    outliers = Outliers(OutlierSettings())
    for key in range(6):
        load(outliers, str(key), 100, 50, 6)
    assert outliers.evaluate(10.0, 6) == []


def test_what_it_answers_while_away_and_who_left_do_not_count() -> None:
    outliers = Outliers(OutlierSettings(errors=2, max_ejected=0.5))
    assert fail(outliers, "a", 2, 0.0, among=2) is not None
    assert fail(outliers, "a", 9, 1.0, among=2) is None
    assert fail(outliers, "b", 9, 1.0, among=2) is None  # one is away already
    outliers.keep(["b", "c"])
    assert not outliers.is_away("a")
    ejection = fail(outliers, "b", 2, 2.0, among=2)
    assert ejection is not None
    assert ejection.reason == CONSECUTIVE


def test_simulated_a_dead_target_costs_few_requests_and_returns_when_it_recovers() -> None:
    """100 requests/s over 5 targets for 10 minutes; one is dead from 60 s to 240 s."""
    rng, outliers = random.Random(4), Outliers(OutlierSettings(errors=5, window_s=10.0, eject_s=10.0))
    targets = [str(key) for key in range(5)]
    failed, back_at = 0, 0.0
    for tick in range(60_000):
        now = tick / 100
        if "0" in outliers.come_back(now):
            back_at = now
        if tick % 1000 == 0:
            outliers.evaluate(now, 5)
        key = rng.choice([each for each in targets if not outliers.is_away(each)])
        ok = not (key == "0" and 60 <= now < 240)
        failed += not ok
        outliers.report(key, ok, now, 5)
    assert not outliers.is_away("0")
    assert 240 <= back_at < 300
    assert failed <= 5 * 6  # 5 each time it came back, of 3 600 that were meant for it
