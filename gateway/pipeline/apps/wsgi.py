"""A WSGI application on the threads of an executor (PEP 3333): the body is whole before it is entered."""

import asyncio
import logging
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from gateway.core.errors import GatewayError
from gateway.executors.executor import Executor
from gateway.executors.work import Work
from gateway.pipeline.apps.environ import environ_of
from gateway.pipeline.apps.fairness import Fairness
from gateway.pipeline.apps.mount import Mount
from gateway.pipeline.apps.turns import App, Turns, declared_length
from gateway.pipeline.lane import Lane, TaskAnswer

_log = logging.getLogger(__name__)


class Wsgi(TaskAnswer):
    """The answer of a route with `app: {wsgi: ...}`."""

    def __init__(self, app: App, label: str, executor: Executor, mount: Mount) -> None:
        self.app = app
        self.label = label
        """`module:name`, for logs."""
        self.executor = executor
        self.mount = mount
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, lane: Lane) -> None:
        await lane.collect()
        lane.call.source = "app"
        await _Exchange(self, lane).run()

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that is not forgotten while it runs."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self, turns: Turns) -> None:
        """Have the answer's `close` called, however long it takes until a thread is free for it."""
        while not turns.is_closed:
            try:
                await self.executor.run(Work(turns.close, (), unbounded=True), None, None)
            except GatewayError as error:
                if error.reason.name == "draining":
                    return

    def __repr__(self) -> str:
        return f"<Wsgi {self.label} on {self.executor.name}>"


class _Exchange:
    """One call, on the loop's side."""

    def __init__(self, wsgi: Wsgi, lane: Lane) -> None:
        self._wsgi = wsgi
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        self._turns = Turns(wsgi.app, environ_of(lane, wsgi.mount, wsgi.label), wsgi.label, self._wake)
        self._sender: asyncio.Task[None] | None = None
        self._fairness = Fairness()
        self._made = asyncio.Event()
        self._taken = asyncio.Event()

    async def run(self) -> None:
        """Turn after turn until the answer is complete or nobody wants it."""
        lane, turns = self._lane, self._turns
        try:
            await self._turn(lane.deadline)
            if turns.finished and self._sender is None:
                lane.send_whole(turns.status, turns.headers, turns.take())
                return
            sender = self._begin_sending()
            while not turns.finished and lane.is_live:
                await self._room(sender)
                await self._turn(monotonic() + lane.plan.timeout_s)
            if lane.is_live:
                await sender
        finally:
            if self._sender is not None:
                self._sender.cancel()
            if turns.stop():
                self._wsgi.keep(self._wsgi.close(turns))

    async def _turn(self, deadline: float) -> None:
        """One turn; that of an answer under way waits for its place, however many others do. Raises GatewayError."""
        lane, turns = self._lane, self._turns
        began = monotonic()
        work = Work(turns, (), unbounded=self._sender is not None)
        try:
            await self._wsgi.executor.run(work, deadline, lane.call)
        except (GatewayError, asyncio.CancelledError):
            raise
        except Exception:
            _log.exception("request %s: %s failed", lane.call.request_id, turns.label)
            raise GatewayError("handler_error", "the application failed; the gateway's log says more") from None
        finally:
            lane.spent(monotonic() - began)
            self._made.set()

    # --- sending while it is made -------------------------------------------------------------------------------

    def _wake(self) -> None:
        """On a thread: a piece is there and the next may take long."""
        self._loop.call_soon_threadsafe(self._on_piece)

    def _on_piece(self) -> None:
        if self._lane.is_live:
            self._begin_sending()
            self._made.set()

    def _begin_sending(self) -> asyncio.Task[None]:
        if self._sender is None:
            turns = self._turns
            self._lane.start(turns.status, turns.headers, declared_length(turns.headers))
            self._sender = self._wsgi.keep(self._send())
        return self._sender

    async def _send(self) -> None:
        """Pass pieces on as the client takes them, until all are."""
        turns, lane = self._turns, self._lane
        try:
            while True:
                self._made.clear()
                finished = turns.finished
                data = turns.take()
                if data:
                    await lane.send(data)
                    await self._fairness.sent(len(data))
                    turns.taken(len(data))
                    self._taken.set()
                elif finished:
                    lane.finish()
                    return
                else:
                    await self._made.wait()
        finally:
            self._taken.set()

    async def _room(self, sender: asyncio.Task[None]) -> None:
        """Until another turn is worth its thread."""
        while not self._turns.has_room and not sender.done():
            self._taken.clear()
            await self._taken.wait()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._turns}>"
