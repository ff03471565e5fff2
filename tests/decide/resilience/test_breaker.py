"""When the circuit opens, what passes, and that each trial ends exactly once; under a clock that the tests move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.resilience.breaker import (
    CLOSED,
    FAILED,
    HALF_OPEN,
    IGNORED,
    OK,
    OPEN,
    TRIALS,
    Breaker,
    BreakerSettings,
    Outcome,
    Ticket,
)

SETTINGS = BreakerSettings(errors=0.5, window_s=10.0, minimum=20, open_s=5.0)


def admitted(breaker: Breaker, now: float) -> Ticket:
    ticket = breaker.admit(now)
    assert ticket is not None
    return ticket


def send(breaker: Breaker, outcome: Outcome, times: int, now: float) -> None:
    for _ in range(times):
        admitted(breaker, now).end(outcome, now)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(SETTINGS)
    send(breaker, FAILED, 20, now)
    assert breaker.state == OPEN
    return breaker


@pytest.mark.parametrize(
    ("good", "bad", "state"), [(0, 19, CLOSED), (0, 20, OPEN), (11, 10, CLOSED), (10, 10, OPEN), (100, 99, CLOSED)]
)
def test_it_opens_at_the_share_of_enough_requests(good: int, bad: int, state: str) -> None:
    breaker = Breaker(SETTINGS)
    send(breaker, OK, good, 1.0)
    send(breaker, FAILED, bad, 1.0)
    assert breaker.state == state


@pytest.mark.parametrize(("gap_s", "state"), [(8.9, OPEN), (11.0, CLOSED)])
def test_what_is_older_than_the_window_does_not_count(gap_s: float, state: str) -> None:
    breaker = Breaker(SETTINGS)
    send(breaker, FAILED, 10, 0.0)
    send(breaker, FAILED, 10, gap_s)
    assert breaker.state == state


def test_who_left_decides_nothing() -> None:
    breaker = Breaker(SETTINGS)
    send(breaker, IGNORED, 1000, 0.0)
    send(breaker, FAILED, 19, 0.0)
    assert breaker.state == CLOSED


def test_open_lets_nothing_pass_and_says_for_how_long() -> None:
    breaker = opened(now=100.0)
    assert breaker.admit(103.0) is None
    assert breaker.retry_after_s(103.0) == 2.0
    assert breaker.admit(105.0) is not None
    assert breaker.state == HALF_OPEN


def test_trials_close_it_and_it_begins_anew() -> None:
    breaker = opened()
    tickets = [admitted(breaker, 5.0) for _ in range(TRIALS)]
    assert breaker.admit(5.0) is None
    for ticket in tickets:
        ticket.end(OK, 6.0)
    assert breaker.state == CLOSED
    send(breaker, FAILED, 19, 6.0)
    assert breaker.state == CLOSED


def test_one_failed_trial_opens_it_again_and_the_others_decide_nothing() -> None:
    breaker = opened()
    first, *others = [admitted(breaker, 5.0) for _ in range(TRIALS)]
    first.end(FAILED, 6.0)
    for ticket in others:
        ticket.end(OK, 6.0)
    assert breaker.state == OPEN
    assert breaker.admit(10.9) is None
    assert breaker.admit(11.0) is not None


def test_a_trial_whose_client_left_makes_room_for_another() -> None:
    breaker = opened()
    for _ in range(10 * TRIALS):
        admitted(breaker, 5.0).end(IGNORED, 5.0)
    assert breaker.state == HALF_OPEN
    send(breaker, OK, TRIALS, 5.0)
    assert breaker.state == CLOSED


def test_what_began_before_it_opened_decides_nothing_about_the_trials() -> None:
    breaker = Breaker(SETTINGS)
    late = [admitted(breaker, 0.0) for _ in range(10)]
    send(breaker, FAILED, 20, 0.0)
    trial = admitted(breaker, 5.0)
    for ticket in late:
        ticket.end(FAILED, 5.0)
    assert (breaker.state, breaker.trials) == (HALF_OPEN, 1)
    trial.end(OK, 5.0)
    assert (breaker.state, breaker.trials) == (HALF_OPEN, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "end", "end again"]),
            st.integers(0, 30),
            st.sampled_from([OK, FAILED, IGNORED]),
            st.floats(0.0, 3.0),
        ),
        max_size=120,
    )
)
def test_each_trial_ends_exactly_once(steps: list[tuple[str, int, Outcome, float]]) -> None:
    """In any order of asking and ending, also twice: at most TRIALS are under way, and none is lost."""
    breaker = Breaker(BreakerSettings(errors=0.5, window_s=1.0, minimum=2, open_s=2.0))
    now, held, ended = 0.0, list[tuple[Ticket, int]](), list[Ticket]()
    for what, place, outcome, gap_s in steps:
        now += gap_s
        if what == "ask":
            ticket = breaker.admit(now)
            if ticket is not None:
                held.append((ticket, breaker.turn))
        elif what == "end" and held:
            ticket, _ = held.pop(place % len(held))
            ticket.end(outcome, now)
            ended.append(ticket)
        elif ended:
            ended[place % len(ended)].end(outcome, now)
        under_way = sum(turn == breaker.turn for _, turn in held) if breaker.state == HALF_OPEN else 0
        assert breaker.trials == under_way <= TRIALS
    for ticket, _ in held:
        ticket.end(IGNORED, now)
    assert breaker.trials == 0
    later = now + 10.0
    assert breaker.admit(later) is not None


def test_simulated_a_dead_upstream_hears_little_and_is_back_soon_after_it_recovers() -> None:
    """200 requests/s for 2 minutes; the upstream is dead from 30 s to 73 s."""
    breaker = Breaker(SETTINGS)
    heard_dead, closed_at = 0, 0.0
    for tick in range(24_000):
        now = tick / 200
        dead = 30 <= now < 73
        ticket = breaker.admit(now)
        if ticket is None:
            continue
        heard_dead += dead
        ticket.end(FAILED if dead else OK, now)
        if now > 73 and not closed_at and breaker.state == CLOSED:
            closed_at = now
    assert 73 < closed_at < 79  # within `open_s` and the trials
    assert heard_dead < 2100  # the half of a window, then one each 5 s: of 8 600
