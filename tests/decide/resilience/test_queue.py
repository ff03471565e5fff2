"""Who waits, who is next, and who is refused."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.resilience.queue import STANDING_S, Queue
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
    assert [each.who for each in queue.overdue(0.3)] == ["b"]
    assert [each.who for each in queue.overdue(0.5)] == ["a"]
    assert [each.who for each in queue.overdue(9.0)] == ["c"]
    assert len(queue) == 0


def test_when_to_come_back_is_what_the_drain_rate_says() -> None:
    queue: Queue[str] = Queue(WIDE)
    now = 0.0
    for _ in range(600):
        put(queue, "a", now)
    for _ in range(300):
        now += 0.01
        taken(queue, now)
    assert 2.5 < queue.retry_after_s(now) < 3.5, "300 wait, 100 a second are served"
    assert queue.retry_after_s(now + 60.0) == 30.0, "nothing drains"


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
            ended.update(each.who for each in queue.overdue(now))
    ended.update(each.who for each in queue.overdue(99.0))
    assert ended == Counter({number: 1 for number, step in enumerate(steps) if step.startswith("put")})
    assert len(queue) == 0
