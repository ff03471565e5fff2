"""How an executor leaves that no config names any more."""

import asyncio
import math

import pytest

from gateway.core.errors import GatewayError
from gateway.executors.executor import QUIET
from tests.executors.conftest import Made, eventually
from tests.executors.test_call import begun


def limit(made: Made) -> float:
    """As the next scrape shows it: 0 once the executor has ended."""
    return made.count("gateway_executor_queue_limit", executor="default")


def state(made: Made, name: str) -> float:
    return made.count("gateway_executor_workers", executor="default", state=name)


async def test_it_ends_behind_the_calls_that_run_and_wait(made: Made) -> None:
    executor = made(threads=1, queue=3)
    held, running = await begun(executor)
    waiting = asyncio.create_task(executor.call(math.gcd, 12, 18))
    await eventually(lambda: executor.stats()["waiting"])
    executor.retire()
    for _ in range(QUIET + 1):
        assert limit(made) == 3
    held.gate.set()
    assert (await running, await waiting) == ("done", 6)
    await eventually(lambda: limit(made) == 0)
    assert (state(made, "busy"), state(made, "idle")) == (0, 0)
    with pytest.raises(GatewayError, match="draining"):
        await executor.call(math.gcd, 1, 1)


async def test_between_two_pieces_of_one_work_it_does_not_end(made: Made) -> None:
    executor = made(threads=1, queue=3)
    executor.retire()
    assert limit(made) == 3
    held, running = await begun(executor)
    assert limit(made) == 3
    held.gate.set()
    assert await running == "done"
    await eventually(lambda: not executor.stats()["busy"])
    assert limit(made) == 3
    assert limit(made) == 0


async def test_a_call_that_was_given_up_is_shown_until_it_ends(made: Made) -> None:
    executor = made(threads=1, queue=3, timeout_s=0.02)
    held, running = await begun(executor)
    with pytest.raises(GatewayError):
        await running
    executor.retire()
    await eventually(lambda: limit(made) == 0)
    assert state(made, "abandoned") == 1
    held.gate.set()
    await eventually(lambda: state(made, "abandoned") == 0)


async def test_the_successor_of_the_same_name_is_what_is_shown(made: Made) -> None:
    before = made(threads=1, queue=3)
    held, running = await begun(before)
    made(threads=1, queue=7)
    assert limit(made) == 7
    before.retire()
    assert limit(made) == 7
    held.gate.set()
    assert await running == "done"
    for _ in range(QUIET + 1):
        assert limit(made) == 7
