"""Executors on the loop of the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.core.clock import monotonic
from gateway.executors.registry import Executors
from gateway.executors.settings import ExecutorSettings
from gateway.observe.registry import Registry

Make = Callable[..., Executors]


async def eventually(condition: Callable[[], Any]) -> None:
    """Return when the condition holds; the loop turns meanwhile."""
    deadline = monotonic() + 10
    while not condition():
        assert monotonic() < deadline, "not within 10 s"
        await asyncio.sleep(0.001)


class Made:
    """What a test made, and the registry that it counts in."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.executors: list[Executors] = []

    def __call__(self, steps: Any = None, **settings: Any) -> Any:
        """The default executor of these settings, not started."""
        return self.all_of(ExecutorSettings("default", **settings), steps=steps).get("")

    def all_of(self, *settings: ExecutorSettings, steps: Any = None) -> Executors:
        loop = asyncio.get_running_loop()
        more = () if steps is None else (steps,)
        executors = Executors(settings, self.registry, loop, *more)
        executors.begin()
        self.executors.append(executors)
        return executors

    def count(self, metric: str, **labels: str) -> float:
        """The value of a counter or gauge, as the next scrape shows it."""
        self.registry.flush(asyncio.get_running_loop().time())
        find = self.registry.counter if metric.endswith("_total") else self.registry.gauge
        return self.registry.cells[find(metric, **labels)]


@pytest.fixture
async def made() -> AsyncIterator[Made]:
    everything = Made()
    yield everything
    for executors in everything.executors:
        executors.close()
