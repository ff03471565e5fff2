"""The aggregates of a worker, and the process beside the worker that parses what is large for them."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from gateway.core.exchange import Exchange
from gateway.decide.aggregate.settings import AggregateSettings
from gateway.executors.kinds import ProcessesExecutor
from gateway.executors.meter import Meter
from gateway.executors.registry import PROCESS_NICENESS
from gateway.executors.settings import ExecutorSettings
from gateway.observe.registry import Registry
from gateway.pipeline.aggregate import Aggregate
from gateway.pipeline.aggregate_counts import AggregateCounts
from gateway.pipeline.edits import editor
from gateway.pipeline.settings import RouteSettings
from gateway.upstreams.upstream import Upstream

PARSER: Final = ExecutorSettings("_aggregate", processes=1, queue=1024, timeout_s=30.0)
"""Its queue takes all of one request of 100 sources; `limits.buffered` and the deadlines bound what waits in it.

Not a thread: orjson holds the GIL for as long as it parses (1 MiB of objects: 14 ms, 8 MiB: 150 ms), so the loop
would stand still all the same. With a process it stands still for less than 1 ms, and 7 ms at most
(tests/bench/aggregate --large). The name is none that a config can give."""


class Aggregates:
    """Makes the answers of routes with `aggregate:`."""

    def __init__(
        self,
        *,
        registry: Registry,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._loop = loop
        self._now = now
        self._parser: ProcessesExecutor | None = None

    def make(self, route: RouteSettings, answer: AggregateSettings, upstreams: dict[str, Upstream]) -> Aggregate:
        return Aggregate(
            answer,
            upstreams=upstreams,
            counts=AggregateCounts(route.name, self._registry),
            request_edit=editor(route.request_headers),
            response_edit=editor(route.response_headers),
            elsewhere=self,
            loop=self._loop,
            now=self._now,
            queue=route.class_,
        )

    async def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        deadline: float | None = None,
        exchange: Exchange | None = None,
    ) -> Any:
        """Call it in the process, which begins with the first call. Raises as an Executor's call does."""
        if self._parser is None:
            self._parser = self._start()
        return await self._parser.call(function, *arguments, deadline=deadline, exchange=exchange)

    def _start(self) -> ProcessesExecutor:
        meter = Meter(self._registry, PARSER.name)
        parser = ProcessesExecutor(PARSER, self._loop, meter, list, PROCESS_NICENESS)
        parser.processes.start()  # calls wait until it is ready
        parser.begin()
        return parser

    def close(self) -> None:
        """End the process."""
        if self._parser is not None:
            self._parser.close()
