"""Who waits for a permit, and who is next: classes with weights, bounded, with wait deadlines.

Between classes: stride scheduling (Waldspurger and Weihl, "Stride scheduling", 1995), so that each class has its share
by weight as long as somebody waits in it, and a class that asks for less than its share never waits for the others.
So the lower classes are the first whose lines stand, and are shed. Within a class: see `line.py`.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf
from typing import Generic

from gateway.decide.resilience.line import Line, Place, Who
from gateway.decide.resilience.queue_settings import QueueSettings


class Queue(Generic[Who]):
    """All that wait for one thing. Times are seconds on any clock."""

    def __init__(self, classes: Sequence[QueueSettings]) -> None:
        self.lines: dict[str, Line[Who]] = {each.name: Line(each) for each in classes}
        self._hurried: list[tuple[float, int, Place[Who]]] = []
        """Those whose own time ends before they have waited for as long as their class may, by that time."""
        self._number = 0
        self._passed = 0.0
        self._count = 0

    def change(self, classes: Sequence[QueueSettings]) -> None:
        """Other classes: who waits keeps the place, also in one that is no more, until the next change."""
        before, self.lines = self.lines, {}
        for each in classes:
            self.lines[each.name] = line = before.pop(each.name, None) or Line(each)
            line.change(each)
        self.lines |= {name: line for name, line in before.items() if line.places}
        self._hurried = []
        for line in self.lines.values():
            for place in line.places:
                self._hurry(place)

    def __len__(self) -> int:
        return self._count

    def put(self, who: Who, name: str, now: float, until: float) -> tuple[Place[Who] | None, Place[Who] | None]:
        """The place of `who` (None: the line is full), and who had to make room for it.

        A standing line that is full gives up its oldest; any other keeps those it has.
        """
        line = self.lines[name]
        out = None
        if len(line.places) >= line.settings.max:
            if not line.is_standing(now):
                return None, None
            out = next(iter(line.places))
            self.remove(out, now)
        if not line.places:
            line.empty_at = now
            line.passed = max(line.passed, self._passed)
        place = Place(who, line, now, until)
        line.places[place] = None
        self._count += 1
        self._hurry(place)
        return place, out

    def _hurry(self, place: Place[Who]) -> None:
        if place.until < place.since + place.line.settings.wait_s:
            self._number += 1
            heappush(self._hurried, (place.until, self._number, place))

    def take(self, now: float) -> Place[Who] | None:
        """Whose turn it is; also one who is overdue and was not taken out yet."""
        line: Line[Who] | None = None
        for each in self.lines.values():
            if each.places and (line is None or each.passed < line.passed):
                line = each
        if line is None:
            return None
        place = next(reversed(line.places)) if line.is_standing(now) else next(iter(line.places))
        self._passed = line.passed
        line.passed += 1.0 / line.settings.weight
        self.remove(place, now)
        line.drain.count(now)
        return place

    def passed(self, name: str, now: float) -> None:
        """One of that class did not have to wait."""
        self.lines[name].drain.count(now)

    def remove(self, place: Place[Who], now: float) -> None:
        """Who waited there left. Doing so twice does nothing."""
        line = place.line
        if place in line.places:
            del line.places[place]
            self._count -= 1
            if not line.places:
                line.empty_at = now

    def overdue(self, now: float, most: int) -> list[Place[Who]]:
        """Take out those whose deadline has come, `most` of them at most."""
        found: list[Place[Who]] = []
        for line in self.lines.values():
            if not line.places:
                continue
            line.measure(now)
            while len(found) < most and line.places and line.due((place := next(iter(line.places))).since) <= now:
                self.remove(place, now)
                found.append(place)
        while len(found) < most and self._hurried and self._hurried[0][0] <= now:
            place = heappop(self._hurried)[2]
            if place in place.line.places:
                self.remove(place, now)
                found.append(place)
        return found

    @property
    def next_deadline(self) -> float:
        """When to look for those that are overdue; inf: nobody waits."""
        while self._hurried and self._hurried[0][2] not in self._hurried[0][2].line.places:
            heappop(self._hurried)
        found = self._hurried[0][0] if self._hurried else inf
        for line in self.lines.values():
            if line.places:
                found = min(found, line.due(next(iter(line.places)).since))
        return found

    def retry_after_s(self, name: str, now: float) -> float:
        """When to come back: when all that wait in that class now were served, and one more; 1 to 30 s."""
        line = self.lines[name]
        return max(1.0, line.drain.time_s(len(line.places) + 1, now))
