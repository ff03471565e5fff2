"""Calls that compute take turns: the interpreter runs one thread at a time anyway, and the loop is one of those.

Threads that block give way to the loop by themselves. One that computes gives way when it is asked, after the switch
interval; but when several compute, the next turn is as likely another's as the loop's, and a proxied request needs some
four. So of all calls that compute, on all executors of the process, one runs at a time. That takes nothing from them
together, and leaves the loop a single thread to ask. Measured (tests/bench/hybrid, 16 threads that compute, 800 proxied
requests/s): the p99 of these goes from 8 to 200 ms without turns, whatever the interval; with turns to 60 ms at 5 ms,
Python's default, to 20 ms at 0.5 ms, and to 13 ms at 0.1 ms.
"""

import threading
import time
from collections import deque
from types import CodeType
from typing import Final

from gateway.core.clock import monotonic
from gateway.executors.work import Work

SWITCH_S: Final = 0.0001
"""Switch interval of a worker: how long the loop waits for a thread that computes. Less gains nothing."""
HEAVY_S: Final = 0.002
"""CPU of a call below which it is not looked at: too little to be in anybody's way."""
SLICE_S: Final = 0.1
"""After which the next is let in beside one that still computes: a long call must not starve short ones."""
COMPUTES: Final = 0.4
"""Share of its time that a call has to spend computing, to be one of those that take turns."""
SEEN_TO_WAIT: Final = 3
"""Calls in a row that did not, before a function runs freely: one alone may have been held up by a busy machine."""
FREE_S: Final = 10.0
"""How long what was found to wait more than to compute runs freely, before it is looked at again."""
_HABITS: Final = 1000
"""Functions known at the most; beyond that all are forgotten."""


class Turns:
    """Runs calls; which functions compute is learned from what they do, one call at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: deque[_Ticket] = deque()
        self._holder: _Ticket | None = None
        self._since = 0.0
        self._habits: dict[object, _Habit] = {}

    def run(self, work: Work) -> None:
        """Run it, maybe later; for threads of executors."""
        key = _key(work.function)
        habit = self._habits.get(key)
        if habit is not None and habit.computes:
            self._run_in_turn(work, habit)
            return
        before = time.thread_time()
        work()
        if time.thread_time() - before > HEAVY_S:
            self._suspect(key, habit)

    def _suspect(self, key: object, habit: "_Habit | None") -> None:
        """From now on it takes turns, until it is seen to wait."""
        if habit is None:
            if len(self._habits) >= _HABITS:
                self._habits.clear()
            self._habits[key] = _Habit()
        elif monotonic() > habit.free_until:
            habit.computes = True

    def _run_in_turn(self, work: Work, habit: "_Habit") -> None:
        ticket = self._enter()
        try:
            own, everybody, delayed = time.thread_time(), time.process_time(), _delay_s()
            work()
            own, everybody = time.thread_time() - own, time.process_time() - everybody
            wall = work.ended_at - work.begun_at - (_delay_s() - delayed)
        finally:
            self._leave(ticket)
        # What others computed meanwhile it may have waited for, through no fault of its own.
        habit.waited = habit.waited + 1 if own < COMPUTES * (wall - (everybody - own)) else 0
        if habit.waited >= SEEN_TO_WAIT:
            habit.computes, habit.waited = False, 0
            habit.free_until = monotonic() + FREE_S

    def _enter(self) -> "_Ticket":
        ticket = _Ticket()
        with self._lock:
            self._line.append(ticket)
            is_first = self._line[0] is ticket
        if not is_first:
            ticket.wait(-1)
        while (left := self._take(ticket)) > 0.0:
            ticket.wait(left)
        return ticket

    def _take(self, ticket: "_Ticket") -> float:
        """For the first in the line: 0 where it has the turn now, or else the seconds until it will at the latest."""
        with self._lock:
            now = monotonic()
            left = 0.0 if self._holder is None else self._since + SLICE_S - now
            if left > 0.0:
                return left
            self._line.popleft()
            self._holder, self._since = ticket, now
            if self._line:
                self._line[0].wake()
            return 0.0

    def _leave(self, ticket: "_Ticket") -> None:
        with self._lock:
            if self._holder is ticket:
                self._holder = None
                if self._line:
                    self._line[0].wake()


class _Ticket:
    """A place in the line."""

    __slots__ = ("_asleep",)

    def __init__(self) -> None:
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wait(self, seconds: float) -> None:
        self._asleep.acquire(timeout=seconds)

    def wake(self) -> None:
        """Called with the lock of the line held, so that nobody else does meanwhile."""
        if self._asleep.locked():
            self._asleep.release()


class _Habit:
    """What a function was seen to do."""

    __slots__ = ("computes", "free_until", "waited")

    def __init__(self) -> None:
        self.computes = True
        self.waited = 0
        """Calls in a row that waited more than they computed."""
        self.free_until = 0.0


def _key(function: object) -> object:
    """The same for all calls of a function, also where each call makes a method or a closure of its own."""
    code = getattr(getattr(function, "__wrapped__", function), "__code__", None)
    return code if isinstance(code, CodeType) else type(function)


def _delay_s() -> float:
    """How long this thread waited for a processor so far; 0 where the system does not say."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as stat:
            return int(stat.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
