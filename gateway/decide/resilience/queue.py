"""Who waits for a permit, and who is next: classes with weights, bounded, with wait deadlines.

Between classes: stride scheduling (Waldspurger and Weihl, "Stride scheduling", 1995), so that each class has its share
by weight as long as somebody waits in it, and a class that asks for less than its share never waits for the others.

Within a class: first come, first served, until its line has not been empty for 100 ms. Such a line is a standing queue
(Nichols and Jacobson, "Controlling queue delay", 2012): it only adds delay. Then the newest is next (adaptive LIFO, as
in Maurer, "Fail at scale", 2015): who is served is served at once, and who waits longest, and is least likely to be
still there, is refused. Unlike there, the wait is not cut to 5 ms meanwhile: it is what the operator promised.
"""

from collections import OrderedDict
from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf
from typing import Generic, TypeVar

from gateway.decide.resilience.drain import DrainRate
from gateway.decide.resilience.queue_settings import QueueSettings

STANDING_S = 0.1
"""A line that has not been empty for so long is a standing queue: CoDel's interval."""

Who = TypeVar("Who")


class Place(Generic[Who]):
    """One place in a line."""

    __slots__ = ("deadline", "line", "since", "who")

    def __init__(self, who: Who, line: "Line[Who]", since: float, deadline: float) -> None:
        self.who = who
        self.line = line
        self.since = since
        self.deadline = deadline


class Line(Generic[Who]):
    """Those of one class."""

    __slots__ = ("empty_at", "passed", "places", "settings")

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.places: OrderedDict[Place[Who], None] = OrderedDict()
        self.passed = 0.0
        """Served so far, each by its weight: the least is next."""
        self.empty_at = -inf
        """When it was seen empty last."""

    def is_standing(self, now: float) -> bool:
        return bool(self.places) and now - self.empty_at > STANDING_S


class Queue(Generic[Who]):
    """All that wait for one thing. Times are seconds on any clock."""

    def __init__(self, classes: Sequence[QueueSettings]) -> None:
        self.lines: dict[str, Line[Who]] = {each.name: Line(each) for each in classes}
        self.drain = DrainRate()
        self._by_deadline: list[tuple[float, int, Place[Who]]] = []
        self._number = 0
        self._passed = 0.0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, who: Who, name: str, now: float, until: float) -> tuple[Place[Who] | None, Place[Who] | None]:
        """The place of `who` (None: the line is full), and who had to make room for it.

        A standing line that is full gives up its oldest; any other keeps those it has.
        """
        line = self.lines[name]
        out = None
        if len(line.places) >= line.settings.max:
            if not line.places or not line.is_standing(now):
                return None, None
            out = next(iter(line.places))
            self.remove(out, now)
        if not line.places:
            line.empty_at = now
            line.passed = max(line.passed, self._passed)
        place = Place(who, line, now, min(until, now + line.settings.wait_s))
        line.places[place] = None
        self._count += 1
        self._number += 1
        heappush(self._by_deadline, (place.deadline, self._number, place))
        return place, out

    def take(self, now: float) -> Place[Who] | None:
        """Whose turn it is; who waited too long is to be taken out by `overdue` before."""
        waiting = [line for line in self.lines.values() if line.places]
        if not waiting:
            return None
        line = min(waiting, key=_passed)
        place = next(reversed(line.places)) if line.is_standing(now) else next(iter(line.places))
        self._passed = line.passed
        line.passed += 1.0 / line.settings.weight
        self.remove(place, now)
        self.drain.count(now)
        return place

    def remove(self, place: Place[Who], now: float) -> None:
        """Who waited there left. Doing so twice does nothing."""
        line = place.line
        if place in line.places:
            del line.places[place]
            self._count -= 1
            if not line.places:
                line.empty_at = now

    def overdue(self, now: float) -> list[Place[Who]]:
        """Take out all whose deadline has come."""
        found = []
        while self._by_deadline and self._by_deadline[0][0] <= now:
            place = heappop(self._by_deadline)[2]
            if place in place.line.places:
                self.remove(place, now)
                found.append(place)
        return found

    @property
    def next_deadline(self) -> float:
        """When to look for those that are overdue; inf: nobody waits."""
        while self._by_deadline and self._by_deadline[0][2] not in self._by_deadline[0][2].line.places:
            heappop(self._by_deadline)
        return self._by_deadline[0][0] if self._by_deadline else inf

    def retry_after_s(self, now: float) -> float:
        """When to come back: as long as it takes until all that wait now were served."""
        return self.drain.retry_after_s(self._count, now)


def _passed(line: Line[Who]) -> float:
    return line.passed
