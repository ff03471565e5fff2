"""A named executor, as the request path calls it: bounded, with a deadline, withdrawn with its caller."""

import logging
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop, CancelledError, Future, Task, TimerHandle, current_task
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any, Final, TypeVar

from gateway.core.clock import monotonic
from gateway.core.errors import GatewayError
from gateway.core.exchange import Exchange
from gateway.executors.meter import Meter
from gateway.executors.settings import ExecutorSettings
from gateway.executors.threads import QueueFull, ThreadExecutor
from gateway.executors.work import Work, label_of

QUIET: Final = 2
"""Looks at a retired executor with nothing to do, half a second apart, after which it ends."""
_T = TypeVar("_T")
_log: Final = logging.getLogger(__name__)


class Executor(ABC):
    """Runs plain functions away from the event loop. Belongs to the loop thread."""

    kind = ""
    """threads | processes"""
    _LATE = ""
    """How a call is counted that was ended, or given up, while it ran."""

    def __init__(
        self, settings: ExecutorSettings, loop: AbstractEventLoop, meter: Meter, threads: ThreadExecutor
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self._loop = loop
        self._meter = meter
        self._threads = threads
        self._troubled = ""
        self._begun = False
        self._quiet = -1
        """Since it retired: how often in a row it was seen with nothing to do; below 0 until then."""
        self._alone: set[Task[None]] = set()

    @abstractmethod
    async def start(self) -> None:
        """Get ready for calls. Raises ProcessDied."""

    def begin(self) -> None:
        """From now on its gauges are its own, in place of an executor of the same name that retires."""
        if not self._begun:
            self._begun = True
            self._meter.metrics.on_flush(self.measure)

    async def call(
        self,
        function: Callable[..., _T],
        *arguments: Any,
        deadline: float | None = None,
        exchange: Exchange | None = None,
    ) -> _T:
        """What the function returns; what it raises comes through.

        Raises GatewayError: `executor_full` at once when the queue is full, `executor_timeout` when waiting and
        running took longer than the executor's `timeout` or than until `deadline` (monotonic). When the caller is
        cancelled, what has not begun never will. `exchange.executor_s` takes what it took.
        """
        result: _T = await self.run(self._work(function, arguments), deadline, exchange)
        return result

    @abstractmethod
    def stream(
        self,
        iterable: Iterable[bytes],
        *,
        deadline: float | None = None,
        exchange: Exchange | None = None,
    ) -> AsyncIterator[bytes]:
        """The pieces of a plain iterable, each `next()` called on this executor; then its `close()`, if it has one.

        A piece is passed on as soon as it is there. Between pieces that nobody takes, no thread is held. Raises as
        `call` does, for a `next()` that takes too long; a full queue only refuses what has not begun.
        """

    @abstractmethod
    def _work(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Work: ...

    @abstractmethod
    def _give_up(self, work: Work) -> bool:
        """Do without the end of what runs; False where it has ended."""

    @abstractmethod
    def _idle(self) -> int:
        """Threads or processes that wait for a call."""

    @abstractmethod
    def trouble(self) -> str:
        """Why it does less than it was made for; empty while it does not."""

    async def run(self, work: Work, deadline: float | None, exchange: Exchange | None) -> Any:
        """As `call`."""
        asked_at = monotonic()
        due = asked_at + self.settings.timeout_s
        if deadline is not None and deadline < due:
            due = deadline
        future = self._submit(work)
        timer = self._loop.call_later(due - asked_at, self._expire, work, future, asked_at)
        try:
            result = await future
        except CancelledError:
            if work.late and not _caller_is_cancelled():
                raise self._timeout(work, due - asked_at) from None
            self._leave(work, timer, asked_at)
            raise
        except BaseException:
            self._count(work, timer, asked_at, "error")
            raise
        finally:
            if exchange is not None:
                exchange.executor_s = (exchange.executor_s or 0.0) + (work.ended_at or monotonic()) - asked_at
        self._count(work, timer, asked_at, "ok")
        return result

    def _submit(self, work: Work) -> "Future[Any]":
        try:
            return self._loop.run_in_executor(self._threads, work)
        except QueueFull:
            self._meter.count("rejected")
            detail = f"the executor {self.name} is full: {self._threads.waiting} calls wait"
            raise GatewayError("executor_full", detail, retry_after_s=self._drained_in_s()) from None
        except RuntimeError:  # closed
            raise GatewayError("draining", "the gateway shuts down") from None

    def _drained_in_s(self) -> float:
        """When those who wait now will have begun: nobody waits longer than the timeout."""
        rate, most = self._meter.rate, self.settings.timeout_s
        return min(self._threads.waiting / rate, most) if rate else most

    def _expire(self, work: Work, future: "Future[Any]", asked_at: float) -> None:
        """The time is up. A result that is under way to the loop still arrives."""
        now = monotonic()
        if self._threads.withdraw(work):
            self._meter.gave_up(now - asked_at)
        elif not work.future.done() and self._give_up(work):
            self._meter.ended(self._LATE, asked_at, work.begun_at, now)
        else:
            return
        work.late = True
        future.cancel()

    def _timeout(self, work: Work, timeout_s: float) -> GatewayError:
        what = "ran longer than it may" if work.begun_at else "waited longer than it may"
        return GatewayError("executor_timeout", f"the call on the executor {self.name} {what} ({timeout_s:.3g}s)")

    def _leave(self, work: Work, timer: TimerHandle, asked_at: float) -> None:
        """Nobody waits for the result: what has not begun never will, what runs keeps its deadline."""
        if self._threads.withdraw(work):
            timer.cancel()
            return

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._ended_alone, work, timer, asked_at)

        work.future.add_done_callback(ended)

    def _ended_alone(self, work: Work, timer: TimerHandle, asked_at: float) -> None:
        if not work.late:
            self._count(work, timer, asked_at, "error" if work.future.exception() else "ok")

    def _count(self, work: Work, timer: TimerHandle, asked_at: float, outcome: str) -> None:
        timer.cancel()
        self._meter.ended(outcome, asked_at, work.begun_at, work.ended_at)

    def run_alone(self, work: Work) -> None:
        """Run what nobody waits for; what it raises is logged."""
        task = self._loop.create_task(self._run_alone(work))
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)

    async def _run_alone(self, work: Work) -> None:
        try:
            await self.run(work, None, None)
        except Exception as error:
            _log.warning("executor %s: %s failed: %s", self.name, label_of(work.function), error)

    def retire(self) -> None:
        """The last exchange that used it is over: end when what it still does for nobody is done."""
        if self._begun:
            self._quiet = 0
        else:
            self.close()

    def _leave_quietly(self) -> None:
        """Between two pieces of one work, such as an iterator and its `close()`, it is quiet for a moment only."""
        threads = self._threads
        self._quiet = 0 if threads.busy or threads.waiting or self._alone else self._quiet + 1
        if self._quiet == QUIET:
            self.close()
        if self._quiet >= QUIET and not threads.lost:
            self._meter.metrics.off_flush(self.measure)

    def measure(self) -> None:
        """Set the gauges, and say so when there is trouble, or no more; to be called about twice a second."""
        threads = self._threads
        if self._quiet >= 0:
            self._leave_quietly()
        self._meter.measure(
            monotonic(),
            busy=threads.busy,
            idle=self._idle(),
            lost=threads.lost,
            waiting=threads.waiting,
            limit=0 if self._quiet >= QUIET else threads.queue,
        )
        trouble = self.trouble()
        if bool(trouble) != bool(self._troubled):
            if trouble:
                _log.error("executor %s is degraded: %s", self.name, trouble)
            else:
                _log.warning("executor %s is whole again", self.name)
        self._troubled = trouble

    def close(self) -> None:
        """Take no more calls, and wait for none."""
        self._threads.shutdown()

    def stats(self) -> dict[str, Any]:
        threads = self._threads
        return {
            "name": self.name,
            "kind": self.kind,
            "limit": threads.threads,
            "busy": threads.busy,
            "idle": self._idle(),
            "abandoned": threads.lost,
            "waiting": threads.waiting,
            "queue": threads.queue,
            "rate": self._meter.rate,
            "trouble": self.trouble(),
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._threads}>"


def _caller_is_cancelled() -> bool:
    task = current_task()
    return task is not None and task.cancelling() > 0
