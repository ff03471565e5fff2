"""The two kinds of executors: threads of this process, and processes beside it."""

import asyncio
import logging
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

from gateway.core.exchange import Exchange
from gateway.executors.executor import Executor
from gateway.executors.frames import Steps
from gateway.executors.meter import Meter
from gateway.executors.processes import Call, Processes
from gateway.executors.settings import ExecutorSettings
from gateway.executors.stream import stream
from gateway.executors.threads import ThreadExecutor
from gateway.executors.turns import Turns
from gateway.executors.work import Work, label_of

_log: Final = logging.getLogger(__name__)


class ThreadsExecutor(Executor):
    """On threads of this process."""

    kind = "threads"
    _LATE = "abandoned"

    def __init__(self, settings: ExecutorSettings, loop: AbstractEventLoop, meter: Meter, turns: Turns) -> None:
        threads = ThreadExecutor(
            settings.name,
            threads=settings.threads,
            queue=settings.queue,
            spare=settings.abandoned_limit,
            run=turns.run,
        )
        super().__init__(settings, loop, meter, threads)
        self._last_lost = ""

    async def start(self) -> None:
        """Threads begin with the calls."""

    def _work(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Work:
        return Work(function, arguments)

    def _give_up(self, work: Work) -> bool:
        if not self._threads.abandon(work):
            return False
        self._last_lost = label_of(work.function)
        if self._threads.lost == 1:
            _log.warning(
                "executor %s: %s did not end in time; its thread is given up until it does",
                self.name,
                self._last_lost,
            )
        return True

    def _idle(self) -> int:
        return self._threads.idle

    def trouble(self) -> str:
        lost, spare = self._threads.lost, self.settings.abandoned_limit
        if lost <= spare:
            return ""
        return (
            f"{lost} calls do not end (up to {spare} are made up for), {self._threads.capacity} of "
            f"{self.settings.threads} threads are left; the last of them was {self._last_lost}"
        )

    def stream(
        self,
        iterable: Iterable[bytes],
        *,
        deadline: float | None = None,
        exchange: Exchange | None = None,
    ) -> AsyncIterator[bytes]:
        return stream(self, iterable, deadline, exchange)


class ProcessesExecutor(Executor):
    """In processes of its own. What is called, its arguments and its result are pickled."""

    kind = "processes"
    _LATE = "timeout"

    def __init__(
        self,
        settings: ExecutorSettings,
        loop: AbstractEventLoop,
        meter: Meter,
        steps: Steps,
        niceness: int,
    ) -> None:
        # A thread for each process: it sends the call, waits for the reply, and sees the process end.
        threads = ThreadExecutor(settings.name, threads=settings.processes, queue=settings.queue)
        super().__init__(settings, loop, meter, threads)
        self.processes = Processes(settings.name, settings.processes, steps, niceness)

    async def start(self) -> None:
        """Start the processes; returns when they are ready. Raises ProcessDied."""
        await asyncio.gather(*[asyncio.wrap_future(each, loop=self._loop) for each in self.processes.start()])

    def _work(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Work:
        return Work(Call(self.processes, function, arguments), ())

    def _give_up(self, work: Work) -> bool:
        call = work.function
        return isinstance(call, Call) and self.processes.kill(call)

    def _idle(self) -> int:
        return self.processes.idle

    def trouble(self) -> str:
        failure = self.processes.failure
        return f"a process cannot start: {failure}" if failure else ""

    def measure(self) -> None:
        self.processes.check()
        super().measure()

    def stream(
        self,
        iterable: Iterable[bytes],
        *,
        deadline: float | None = None,
        exchange: Exchange | None = None,
    ) -> AsyncIterator[bytes]:
        raise TypeError(f"an iterator cannot leave its process: use threads, or return bytes (executor {self.name})")

    def close(self) -> None:
        super().close()
        self.processes.close()
