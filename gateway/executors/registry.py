"""The executors of one worker, by name."""

from asyncio import AbstractEventLoop
from collections.abc import Iterable
from typing import Any

from gateway.executors.executor import Executor, ThreadsExecutor
from gateway.executors.meter import Meter, Metrics
from gateway.executors.settings import DEFAULT, ExecutorSettings

THREAD_NICENESS = 0


class Executors:
    """All named executors. Belongs to the loop thread; `start` before the first call, `close` at the end."""

    def __init__(self, settings: Iterable[ExecutorSettings], metrics: Metrics, loop: AbstractEventLoop) -> None:
        """metrics: the worker's registry; gauges are set when it is flushed."""
        self._executors: dict[str, Executor] = {}
        for each in settings:
            meter = Meter(metrics, each.name, each.queue)
            self._executors[each.name] = ThreadsExecutor(each, loop, meter, THREAD_NICENESS)
        metrics.on_flush(self._measure)

    def get(self, name: str) -> Executor:
        """The executor of that name; "" means the default. Raises KeyError."""
        return self._executors[name or DEFAULT]

    def _measure(self) -> None:
        for each in self._executors.values():
            each.measure()

    @property
    def degraded(self) -> bool:
        """Whether one of them does less than it was made for."""
        return any(each.trouble() for each in self._executors.values())

    def close(self) -> None:
        """Take no more calls, and wait for none: a call that does not end keeps nobody from leaving."""
        for each in self._executors.values():
            each.close()

    def stats(self) -> list[dict[str, Any]]:
        return [each.stats() for each in self._executors.values()]

    def __repr__(self) -> str:
        return f"<Executors {list(self._executors.values())}>"
