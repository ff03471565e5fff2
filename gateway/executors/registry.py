"""The executors of one config, by name."""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Any, Final

from gateway.executors.executor import Executor
from gateway.executors.frames import Steps
from gateway.executors.kinds import ProcessesExecutor, ThreadsExecutor
from gateway.executors.meter import Meter, Metrics
from gateway.executors.settings import DEFAULT, ExecutorSettings
from gateway.executors.turns import Turns

PROCESS_NICENESS: Final = 10
"""Added to that of the worker. Beside two processes that compute, on two cores, the p99 of proxied requests moved by
7 ms without it, by 2 ms with 10, by nothing with 19, which would starve them on a busy machine (tests/bench/hybrid)."""


Share = Callable[[Hashable, Callable[[], Executor]], Executor]
"""What is made under that key, or was before and is still there."""


def _new(key: Hashable, make: Callable[[], Executor]) -> Executor:
    return make()


class Executors:
    """The executors that one config names. Belongs to the loop thread; `start` before the first call."""

    def __init__(
        self,
        settings: Iterable[ExecutorSettings],
        metrics: Metrics,
        loop: AbstractEventLoop,
        steps: Callable[[str], Steps] = lambda name: list,
        *,
        turns: Turns | None = None,
        share: Share = _new,
    ) -> None:
        """metrics: the worker's registry, at whose flush gauges are set; steps: what each process of the executor of
        that name runs at its start; turns: those of all executors of this process."""
        self._metrics = metrics
        self._loop = loop
        self._turns = turns or Turns()
        self._fresh: list[Executor] = []
        """Those that nobody had before."""
        self._executors: dict[str, Executor] = {}
        for each in settings:
            own = steps(each.name) if each.processes else list
            self._executors[each.name] = share((each, own), partial(self._make, each, own))

    def _make(self, settings: ExecutorSettings, steps: Steps) -> Executor:
        meter = Meter(self._metrics, settings.name)
        made = (
            ProcessesExecutor(settings, self._loop, meter, steps, PROCESS_NICENESS)
            if settings.processes
            else ThreadsExecutor(settings, self._loop, meter, self._turns)
        )
        self._fresh.append(made)
        return made

    async def start(self) -> None:
        """Returns when all processes that are new are ready. Raises ProcessDied, with what kept one from it."""
        await asyncio.gather(*[each.start() for each in self._fresh])

    def begin(self) -> None:
        """Show what they do in the metrics."""
        for each in self._executors.values():
            each.begin()

    def get(self, name: str) -> Executor:
        """The executor of that name; "" means the default. Raises KeyError."""
        return self._executors[name or DEFAULT]

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
