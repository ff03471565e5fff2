"""The connections to one target: leased newest first, given back, capped, with a bounded wait.

A dial is not tied to who asked for it: whoever waits first gets the first connection that is free, be it new or given
back (as Go's net/http does), so a slow connect holds up nobody who could be served.
"""

import asyncio
from collections import deque
from dataclasses import replace
from math import inf
from typing import Protocol

from gateway.core.errors import GatewayError
from gateway.transport.answer_heads import HeadMemo
from gateway.transport.client import UpstreamConnection
from gateway.transport.deadlines import Deadlines
from gateway.transport.dial import Destination, Dialer
from gateway.transport.outgoing import Outbox
from gateway.transport.settings import ConnectionsSettings


class Taker(Protocol):
    """Who waits for a connection; exactly one of the two is called, unless the wait is given up."""

    def on_connection(self, connection: UpstreamConnection) -> None: ...
    def on_no_connection(self, error: GatewayError) -> None: ...


class Waiting:
    """One place in the line for a connection."""

    __slots__ = ("_line", "armed", "deadline", "dialled", "taker")

    def __init__(self, line: "Connections", taker: Taker, *, dialled: bool) -> None:
        self._line = line
        self.dialled = dialled
        """Whether a connection is opened for it; else one has to become free."""
        self.taker: Taker | None = taker
        self.deadline = self.armed = inf

    def leave(self) -> Taker | None:
        """Give up the place; who had it."""
        taker, self.taker = self.taker, None
        if taker is not None:
            self._line.waiting -= 1
            self._line.deadlines.forget(self)
        return taker

    def on_deadline(self, now: float) -> None:
        taker = self.leave()
        if taker is None:
            return
        line = self._line
        if self.dialled:
            error = GatewayError("connect_timeout", f"no connection to {line.to} within the time of the request")
        else:
            error = GatewayError("upstream_busy", f"all {line.settings.max} connections to {line.to} are taken")
        taker.on_no_connection(error)


class Connections:
    """Connections to one target, of one worker."""

    def __init__(
        self,
        *,
        to: Destination,
        settings: ConnectionsSettings,
        dialer: Dialer,
        deadlines: Deadlines,
        outbox: Outbox,
        memo: HeadMemo,
    ) -> None:
        self.to = to
        self.settings = settings
        self.deadlines = deadlines
        self.outbox = outbox
        self.memo = memo
        self._dialer = dialer
        self._idle: list[UpstreamConnection] = []
        self._line: deque[Waiting] = deque()
        self.waiting = 0
        """How many in the line still want a connection."""
        self._open: set[UpstreamConnection] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._closed = False

    def lease(self) -> UpstreamConnection | None:
        """The idle connection that was used last, if there is one."""
        return self._idle.pop() if self._idle else None

    def wait(self, taker: Taker, until: float) -> Waiting:
        """Stand in line for a connection until `until` at the latest, dialling one where the cap allows."""
        while self._line and self._line[0].taker is None:
            self._line.popleft()
        has_room = len(self._open) + len(self._dials) < self.settings.max
        waiting = Waiting(self, taker, dialled=has_room)
        self._line.append(waiting)
        self.waiting += 1
        if has_room:
            self._dial()
        else:
            until = min(until, self.deadlines.clock() + self.settings.wait_s)
        waiting.deadline = until
        if until < waiting.armed:
            self.deadlines.arm(waiting)
        return waiting

    def give_back(self, connection: UpstreamConnection) -> None:
        """A connection whose answer is whole."""
        if self._line:
            waiting = self._next()
            if waiting is not None:
                self._hand(waiting, connection)
                return
        if self._closed or len(self._idle) >= self.settings.idle or connection.idle_timeout_s <= 0:
            connection.close()
        else:
            self._idle.append(connection)

    def opened(self, connection: UpstreamConnection) -> None:
        self._open.add(connection)

    def closed(self, connection: UpstreamConnection) -> None:
        """A connection is gone; who waits for its place gets a new one."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._dial_for_line()

    def close(self) -> None:
        """Close what is idle; connections in use close when their answer is whole."""
        self._closed = True
        for connection in list(self._idle):
            connection.close()

    def become(self, other: "Connections") -> bool:
        """Go on with the settings of `other`; False where its connections go elsewhere or speak other TLS."""
        if replace(self.to, timeout_s=other.to.timeout_s) != other.to:
            return False
        self.to, self.settings = other.to, other.settings
        for connection in self._idle[: max(len(self._idle) - self.settings.idle, 0)]:
            connection.close()
        self._dial_for_line()
        return True

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def active(self) -> int:
        return len(self._open) - len(self._idle)

    def _next(self) -> Waiting | None:
        while self._line:
            waiting = self._line.popleft()
            if waiting.taker is not None:
                return waiting
        return None

    def _hand(self, waiting: Waiting, connection: UpstreamConnection) -> None:
        connection.deadline = inf
        taker = waiting.leave()
        assert taker is not None
        taker.on_connection(connection)

    def _dial_for_line(self) -> None:
        """One dial for each who waits and has none under way, up to the cap."""
        while len(self._dials) < self.waiting and len(self._open) + len(self._dials) < self.settings.max:
            self._dial()

    def _dial(self) -> None:
        task = asyncio.get_running_loop().create_task(self._open_one())
        self._dials.add(task)
        task.add_done_callback(self._dialled)

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._dials.discard(task)
        self._dial_for_line()

    async def _open_one(self) -> None:
        begun = self.deadlines.clock()
        connection = UpstreamConnection(self)
        try:
            await self._dialer.dial(self.to, connection)
        except GatewayError as error:
            connection.close_unopened()
            self._fail_next(error)
            return
        connection.connect_s = self.deadlines.clock() - begun
        if connection.is_idle:
            connection.begin_idle()
            self.give_back(connection)
        else:
            self._fail_next(GatewayError("upstream_reset", f"{self.to} closed the connection before any request"))

    def _fail_next(self, error: GatewayError) -> None:
        """A dial came to nothing: whoever waits first is told."""
        waiting = self._next()
        taker = None if waiting is None else waiting.leave()
        if taker is not None:
            taker.on_no_connection(error)

    def __repr__(self) -> str:
        return f"<Connections {self.to} idle={self.idle} active={self.active} waiting={self.waiting}>"
