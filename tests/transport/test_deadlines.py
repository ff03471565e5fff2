"""The timing wheel against a naive list of deadlines."""

from collections.abc import Callable
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.transport.deadlines import SLOTS_PER_SECOND, Deadlines

SLOT = 1 / SLOTS_PER_SECOND
SLACK = 1e-9


class _Timed:
    """Moves its deadline as a connection does."""

    def __init__(self, wheel: Deadlines) -> None:
        self.wheel = wheel
        self.deadline = self.armed = inf
        self.fired: list[float] = []
        self.then: Callable[[float], None] = lambda now: None

    def move(self, deadline: float) -> None:
        self.deadline = deadline
        if deadline < self.armed:
            self.wheel.arm(self)

    def on_deadline(self, now: float) -> None:
        self.fired.append(now)
        self.then(now)


class _Clock:
    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


_SECONDS = st.floats(0, 3, allow_nan=False)
_OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("move"), st.integers(0, 4), _SECONDS),
        st.tuples(st.just("clear"), st.integers(0, 4), st.just(0.0)),
        st.tuples(st.just("forget"), st.integers(0, 4), st.just(0.0)),
        st.tuples(st.just("tick"), st.just(0), _SECONDS),
    ),
    max_size=60,
)


@given(start=st.floats(0, 1e7), operations=_OPERATIONS)
@settings(max_examples=400, deadline=None)
def test_against_a_list(start: float, operations: list[tuple[str, int, float]]) -> None:
    clock = _Clock(start)
    wheel = Deadlines(clock)
    items = [_Timed(wheel) for _ in range(5)]
    due: dict[int, tuple[float, float]] = {}
    """Item to (deadline, when it must have fired at the latest)."""
    for operation, index, value in operations:
        item = items[index]
        if operation == "move":
            item.move(clock.now + value)
            due[index] = clock.now + value, clock.now + value + 2 * SLOT
        elif operation == "clear":
            item.deadline = inf
            due.pop(index, None)
        elif operation == "forget":
            wheel.forget(item)
            due.pop(index, None)
        else:
            clock.now += value
            wheel.tick(clock.now)
            for number, each in enumerate(items):
                deadline, latest = due.get(number, (inf, inf))
                if each.fired:
                    assert each.fired == [clock.now], "fires once"
                    assert deadline <= clock.now + SLACK, "never early, never what was cleared"
                    del due[number]
                    each.fired.clear()
                else:
                    assert latest > clock.now - SLACK, "never more than a slot late"
    for each in items:
        wheel.forget(each)
    assert len(wheel) == 0


def test_an_item_is_in_one_slot_however_often_it_moves() -> None:
    wheel = Deadlines(_Clock())
    item = _Timed(wheel)
    for step in range(1000):
        item.move(100 + 60 + step / 10)
        item.move(100 + 60 - step / 100)
    assert len(wheel) == 1


def test_what_fires_may_forget_what_is_due_with_it() -> None:
    wheel = Deadlines(_Clock())
    items = [_Timed(wheel) for _ in range(10)]
    for item in items:
        item.move(101)
        item.then = lambda now: [wheel.forget(each) for each in items] and None
    wheel.tick(101.1)
    assert sum(len(item.fired) for item in items) == 1
    assert len(wheel) == 0


def test_what_fires_may_move_itself_and_what_is_due_with_it() -> None:
    wheel = Deadlines(_Clock())
    items = [_Timed(wheel) for _ in range(10)]
    for item in items:
        item.move(101)
        item.then = lambda now: [each.move(now + 1) for each in items] and None
    wheel.tick(101.1)
    assert sum(len(item.fired) for item in items) == 1, "the others were moved"
    assert len(wheel) == 10
    for item in items:
        item.then = lambda now: None
        item.fired.clear()
    wheel.tick(103)
    assert all(len(item.fired) == 1 for item in items)


def test_a_jump_of_the_clock_fires_all_once() -> None:
    clock = _Clock()
    wheel = Deadlines(clock)
    items = [_Timed(wheel) for _ in range(100)]
    for number, item in enumerate(items):
        item.move(100 + number)
    wheel.tick(100_000)
    assert all(item.fired == [100_000] for item in items)


def test_one_that_fails_does_not_keep_the_others_from_firing() -> None:
    clock = _Clock()
    wheel = Deadlines(clock)
    items = [_Timed(wheel) for _ in range(5)]
    for item in items:
        item.then = lambda now: 1 / 0  # type: ignore[assignment, return-value]
        item.move(clock.now + 1)
    wheel.tick(clock.now + 2)
    assert [len(item.fired) for item in items] == [1] * 5
