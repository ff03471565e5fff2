"""How long an application may be silent: until the head of its answer, then between pieces."""

import asyncio
from collections.abc import Callable
from math import inf


class Patience:
    """One timer of the loop at most; renewing it touches one attribute."""

    __slots__ = ("_due", "_loop", "_timeout_s", "_timer", "_when_over")

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout_s: float, when_over: Callable[[], None]) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._when_over = when_over
        self._due = loop.time() + timeout_s
        self._timer = None if timeout_s == inf else loop.call_at(self._due, self._look)

    def pause(self) -> None:
        """Something else is waited for: a slow client."""
        self._due = inf

    def renew(self) -> None:
        """It was heard of."""
        self._due = self._loop.time() + self._timeout_s

    def _look(self) -> None:
        now = self._loop.time()
        if now >= self._due:
            self._timer = None
            self._when_over()
        else:
            self._timer = self._loop.call_at(min(self._due, now + self._timeout_s), self._look)

    def end(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
