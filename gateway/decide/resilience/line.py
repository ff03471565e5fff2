"""Those of one class that wait, and how long they still may.

First come, first served, until the line has not been empty for 100 ms. Such a line is a standing queue: it bridges no
burst, it only adds delay (Nichols and Jacobson, "Controlling queue delay", ACM Queue, 2012). Then the newest is next
(adaptive LIFO; Maurer, "Fail at scale", ACM Queue, 2015): who is served is served at once, and who waits longest, and
is least likely to be still there, is refused.

A line that stands for longer than its class may wait would not have been bridged by waiting, so from then on the wait
shrinks as fast as time goes by, to a tenth: who is refused is told soon. Maurer cuts it to 5 ms after 100 ms for all;
here a class that may wait for long is one whose bursts are to be bridged for long, and an upstream that is slow must
find somebody in line whenever it has room. To shrink rather than to cut keeps a whole line from being refused in one
moment. With the line empty, all is as before.
"""

from collections import OrderedDict
from math import inf
from typing import Final, Generic, TypeVar

from gateway.decide.resilience.drain import DrainRate
from gateway.decide.resilience.queue_settings import QueueSettings

STANDING_S: Final = 0.1
"""A line that has not been empty for so long is a standing queue: CoDel's interval."""
SHORTEST: Final = 0.1
"""Of the wait of its class, in a line that stands for long."""
TURNS: Final = 10
"""It stays as long as so many are served, since that evens out in which order permits and requests come."""

Who = TypeVar("Who")


class Place(Generic[Who]):
    """One place in a line; `until` is when the request itself has no more time."""

    __slots__ = ("line", "since", "until", "who")

    def __init__(self, who: Who, line: "Line[Who]", since: float, until: float) -> None:
        self.who = who
        self.line = line
        self.since = since
        self.until = until

    @property
    def deadline(self) -> float:
        """Until when it may wait, as the line stands now."""
        return min(self.until, self.line.due(self.since))

    def is_shed(self, now: float) -> bool:
        """Whether it is overdue only since the line stands for so long."""
        return now < min(self.until, self.since + self.line.settings.wait_s)


class Line(Generic[Who]):
    """Those of one class, by the time that they came."""

    __slots__ = ("drain", "empty_at", "passed", "places", "settings", "shortest_s")

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.places: OrderedDict[Place[Who], None] = OrderedDict()
        self.drain = DrainRate()
        """Permits that the class gets."""
        self.passed = 0.0
        """Served so far, each by its weight: the least is next."""
        self.empty_at = -inf
        """When it was seen empty last."""
        self.shortest_s = settings.wait_s
        """To what the wait may shrink."""

    def change(self, settings: QueueSettings) -> None:
        """Other settings of the same class."""
        self.settings = settings
        self.shortest_s = settings.wait_s

    def is_standing(self, now: float) -> bool:
        return bool(self.places) and now - self.empty_at > STANDING_S

    def due(self, since: float) -> float:
        """When who waits since then has waited for long enough; it may wait until `empty_at + 2 * wait - now` ago."""
        wait_s = self.settings.wait_s
        shrunk = (since + self.empty_at) / 2.0 + wait_s
        return min(since + wait_s, max(since + self.shortest_s, shrunk))

    def measure(self, now: float) -> None:
        """Find anew to what the wait may shrink."""
        wait_s = self.settings.wait_s
        self.shortest_s = min(wait_s, max(wait_s * SHORTEST, self.drain.time_s(TURNS, now)))
