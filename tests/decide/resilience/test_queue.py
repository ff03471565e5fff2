"""Who waits, who is next, and who is refused."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.resilience.line import STANDING_S
from gateway.decide.resilience.queue import Queue
from gateway.decide.resilience.queue_settings import QueueSettings

CLASSES = (QueueSettings("default", max=3, wait_s=0.5), QueueSettings("checkout", max=3, wait_s=3.0, weight=10))
WIDE = (QueueSettings("default", max=1000, wait_s=9.0), QueueSettings("checkout", max=1000, wait_s=9.0, weight=10))


def put(queue: Queue[str], who: str, now: float = 0.0, name: str = "default", until: float = 99.0) -> str | None:
    """Who had to make room."""
    place, out = queue.put(who, name, now, until)
    assert place is not None
    return None if out is None else out.who


def taken(queue: Queue[str], now: float = 0.0) -> str | None:
    place = queue.take(now)
    return None if place is None else place.who


def test_first_come_first_served() -> None:
    queue: Queue[str] = Queue(CLASSES)
    for who in "abc":
        put(queue, who)
    assert [taken(queue) for _ in range(4)] == ["a", "b", "c", None]


def test_newest_first_in_a_standing_line() -> None:
    queue: Queue[str] = Queue(CLASSES)
    for who in "abc":
        put(queue, who)
    later = STANDING_S + 0.01
    assert [taken(queue, later) for _ in range(3)] == ["c", "b", "a"]
    put(queue, "d", later)
    put(queue, "e", later)
    assert taken(queue, later) == "d", "the line was empty meanwhile"


def test_a_full_line_takes_nobody_and_a_standing_one_gives_up_its_oldest() -> None:
    queue: Queue[str] = Queue(CLASSES)
    for who in "abc":
        put(queue, who)
    assert queue.put("d", "default", 0.01, 99.0) == (None, None)
    assert put(queue, "d", STANDING_S + 0.01) == "a"
    assert len(queue) == 3
    assert put(queue, "x", name="checkout") is None, "another class has its own room"


def test_classes_share_by_weight() -> None:
    queue: Queue[str] = Queue(WIDE)
    for _ in range(500):
        put(queue, "d")
        put(queue, "c", name="checkout")
    shares = Counter(taken(queue) for _ in range(440))
    assert shares == {"c": 400, "d": 40}


def test_who_asks_for_less_than_its_share_never_waits() -> None:
    queue: Queue[str] = Queue(WIDE)
    for _ in range(500):
        put(queue, "d")
    for _ in range(100):
        taken(queue)
        put(queue, "c", name="checkout")
        assert taken(queue) == "c"


def test_a_class_that_was_silent_has_saved_nothing_up() -> None:
    queue: Queue[str] = Queue(WIDE)
    for _ in range(500):
        put(queue, "c", name="checkout")
    for _ in range(400):
        taken(queue)
    for _ in range(100):
        put(queue, "d")
    assert Counter(taken(queue) for _ in range(44))["d"] <= 5


def test_each_is_overdue_at_its_own_deadline() -> None:
    queue: Queue[str] = Queue(CLASSES)
    put(queue, "a", 0.0)
    put(queue, "b", 0.1, until=0.2)
    put(queue, "c", 0.1, "checkout")
    assert queue.next_deadline == 0.2
    assert [each.who for each in queue.overdue(0.3, 99)] == ["b"]
    assert [each.who for each in queue.overdue(0.5, 99)] == ["a"]
    assert [each.who for each in queue.overdue(9.0, 99)] == ["c"]
    assert len(queue) == 0


def test_no_more_are_taken_out_than_asked_for() -> None:
    queue: Queue[str] = Queue(CLASSES)
    put(queue, "a", 0.0)
    put(queue, "b", 0.1, until=0.2)
    put(queue, "c", 0.1, "checkout")
    assert [[each.who for each in queue.overdue(9.0, most)] for most in (2, 2, 2)] == [["a", "b"], ["c"], []]


def test_when_to_come_back_is_what_the_drain_rate_says() -> None:
    queue: Queue[str] = Queue(WIDE)
    now = 0.0
    for _ in range(600):
        put(queue, "a", now)
    for _ in range(300):
        now += 0.01
        taken(queue, now)
    assert 2.5 < queue.retry_after_s("default", now) < 3.5, "300 wait, 100 a second are served"
    assert queue.retry_after_s("default", now + 60.0) == 30.0, "nothing drains"


def test_who_had_not_to_wait_counts_for_when_to_come_back() -> None:
    queue: Queue[str] = Queue((QueueSettings("default", max=0),))
    for number in range(300):
        queue.passed("default", number * 0.01)
    assert queue.retry_after_s("default", 3.0) == 1.0
    assert 5.0 < queue.retry_after_s("default", 9.5) <= 30.0, "nobody gets in any more"


def flood(queue: Queue[float], seconds: float, *, arrive: float, drain: float, begin: float = 0.0) -> list[float]:
    """So many come and are served a second; how long those waited who were refused, in order."""
    waited: list[float] = []
    served = 0
    for number in range(int(seconds * arrive)):
        now = begin + number / arrive
        waited += [now - each.since for each in queue.overdue(now, 99)]
        queue.put(now, "default", now, 999.0)
        while served < (now - begin) * drain and queue.take(now) is not None:
            served += 1
    return waited


def test_in_a_line_that_stands_the_wait_shrinks_to_a_tenth() -> None:
    queue: Queue[float] = Queue((QueueSettings("default", max=1000, wait_s=0.5),))
    first = flood(queue, 0.55, arrive=2700.0, drain=700.0)
    assert first
    assert min(first) > 0.4, "for as long as the class may wait, nobody is refused sooner"
    shrinking = flood(queue, 0.4, arrive=2700.0, drain=700.0, begin=0.55)
    assert max(shrinking) < 0.5
    steps = [sum(0.02 * number <= wait < 0.02 * (number + 1) for wait in shrinking) for number in range(25)]
    assert max(steps) < 200, "never all at once"
    later = flood(queue, 2.0, arrive=2700.0, drain=700.0, begin=0.95)
    assert 0.045 < min(later[200:]) <= max(later[200:]) < 0.055
    assert len(queue) < 200


def test_a_burst_that_the_wait_bridges_loses_nobody() -> None:
    queue: Queue[float] = Queue((QueueSettings("default", max=1000, wait_s=0.5),))
    assert flood(queue, 0.2, arrive=2000.0, drain=1000.0) == []
    assert flood(queue, 0.4, arrive=100.0, drain=1000.0, begin=0.2) == []
    assert len(queue) == 0


def test_a_slow_upstream_always_finds_somebody_in_line() -> None:
    queue: Queue[float] = Queue((QueueSettings("default", max=1000, wait_s=10.0),))
    waited = flood(queue, 100.0, arrive=2.0, drain=0.5)
    assert min(waited[-50:]) > 8.0, "a tenth of the wait would be less than from one permit to the next"


def test_a_line_that_was_empty_may_wait_as_long_as_ever() -> None:
    queue: Queue[float] = Queue((QueueSettings("default", max=1000, wait_s=0.5),))
    flood(queue, 3.0, arrive=2700.0, drain=700.0)
    while queue.take(3.0):
        pass
    place, _ = queue.put(3.0, "default", 3.0, 99.0)
    assert place is not None
    assert place.deadline == 3.5
    assert queue.next_deadline == 3.5


def test_the_lower_class_is_shed_and_the_higher_never_waits() -> None:
    """3 000 a second come, 300 of them orders, and 1 000 are served."""
    queue: Queue[str] = Queue((QueueSettings("default"), QueueSettings("checkout", max=5000, wait_s=3.0, weight=10)))
    waits: dict[str, list[float]] = {"default": [], "checkout": []}
    refused: Counter[str] = Counter()
    for number in range(9000):
        now = number / 3000.0
        refused.update(each.line.settings.name for each in queue.overdue(now, 99))
        queue.put("", "default" if number % 10 else "checkout", now, 99.0)
        if number % 3 == 0:
            place = queue.take(now)
            assert place is not None
            waits[place.line.settings.name].append(now - place.since)
    assert refused.keys() == {"default"}
    assert len(waits["checkout"]) >= 899
    assert max(waits["checkout"]) < 0.01


@given(st.lists(st.sampled_from(["put d", "put c", "take", "leave", "wait"]), max_size=200))
def test_each_ends_once(steps: list[str]) -> None:
    queue: Queue[int] = Queue(CLASSES)
    now, ended, places = 0.0, Counter[int](), []
    for number, step in enumerate(steps):
        if step.startswith("put"):
            place, out = queue.put(number, "default" if step == "put d" else "checkout", now, 99.0)
            ended.update([number] if place is None else [])
            ended.update([out.who] if out else [])
            places.extend([place] if place else [])
        elif step == "take":
            took = queue.take(now)
            ended.update([took.who] if took else [])
        elif step == "leave" and places and places[-1].who not in ended:
            queue.remove(places[-1], now)
            ended.update([places[-1].who])
        elif step == "wait":
            now += 0.2
            ended.update(each.who for each in queue.overdue(now, 99))
    ended.update(each.who for each in queue.overdue(99.0, 99))
    assert ended == Counter({number: 1 for number, step in enumerate(steps) if step.startswith("put")})
    assert len(queue) == 0
