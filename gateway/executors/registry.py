"""The executors of one worker, by name."""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from gateway.executors.executor import Executor
from gateway.executors.frames import Step
from gateway.executors.kinds import ProcessesExecutor, ThreadsExecutor
from gateway.executors.meter import Meter, Metrics
from gateway.executors.settings import DEFAULT, ExecutorSettings
from gateway.executors.turns import Turns

PROCESS_NICENESS: Final = 10
"""Added to that of the worker. Beside two processes that compute, on two cores, the p99 of proxied requests moved by
7 ms without it, by 2 ms with 10, by nothing with 19, which would starve them on a busy machine (tests/bench/hybrid)."""


class Executors:
    """All named executors. Belongs to the loop thread; `start` before the first call, `close` at the end."""

    def __init__(
        self,
        settings: Iterable[ExecutorSettings],
        metrics: Metrics,
        loop: AbstractEventLoop,
        steps: Callable[[str], list[Step]] = lambda name: [],
    ) -> None:
        """metrics: the worker's registry, at whose flush gauges are set; steps: what each process
        of the executor of that name runs at its start."""
        self._executors: dict[str, Executor] = {}
        turns = Turns()
        for each in settings:
            meter = Meter(metrics, each.name, each.queue)
            self._executors[each.name] = (
                ProcessesExecutor(each, loop, meter, partial(steps, each.name), PROCESS_NICENESS)
                if each.processes
                else ThreadsExecutor(each, loop, meter, turns)
            )
        metrics.on_flush(self._measure)

    async def start(self) -> None:
        """Returns when all processes are ready. Raises ProcessDied, with what kept one from it."""
        kinds = self._executors.values()
        await asyncio.gather(*[each.start() for each in kinds if isinstance(each, ProcessesExecutor)])

    def get(self, name: str) -> Executor:
        """The executor of that name; "" means the default. Raises KeyError."""
        return self._executors[name or DEFAULT]

    def _measure(self) -> None:
        for each in self._executors.values():
            each.measure()

    @property
    def degraded(self) -> list[int]:
        """Those that do less than they were made for, by their places in the settings."""
        return [place for place, each in enumerate(self._executors.values()) if each.trouble()]

    def close(self) -> None:
        """Take no more calls, and wait for none: a call that does not end keeps nobody from leaving."""
        for each in self._executors.values():
            each.close()

    def stats(self) -> list[dict[str, Any]]:
        return [each.stats() for each in self._executors.values()]

    def __repr__(self) -> str:
        return f"<Executors {list(self._executors.values())}>"
