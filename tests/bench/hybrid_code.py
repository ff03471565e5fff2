"""The users' Python of tests/bench/hybrid, and a bare event loop that it is compared with."""

import asyncio
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvloop

BLOCKED_S = 0.05
BURN_ROUNDS = 300_000
"""About 20 ms of a core."""


def empty(request: Any) -> bytes:
    return b"{}"


async def soon(request: Any) -> bytes:
    return b"{}"


def block(request: Any) -> bytes:
    time.sleep(BLOCKED_S)
    return b"{}"


def burn(request: Any) -> bytes:
    number = 0
    for each in range(BURN_ROUNDS):
        number += each & 7
    return b"%d" % number


async def _bare(calls: int, side_by_side: int) -> float:
    """Microseconds of CPU of one `run_in_executor` of `empty`."""
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(16)

    async def one() -> None:
        for _ in range(calls // side_by_side):
            await loop.run_in_executor(executor, empty, None)

    return await _cost_us(one, calls, side_by_side)


async def _ours(calls: int, side_by_side: int) -> float:
    """The same through an executor of the gateway."""
    from gateway.executors.registry import Executors
    from gateway.executors.settings import ExecutorSettings
    from gateway.observe.registry import Registry

    settings = [ExecutorSettings("default", threads=16)]
    executor = Executors(settings, Registry(), asyncio.get_running_loop()).get("")

    async def one() -> None:
        for _ in range(calls // side_by_side):
            await executor.call(empty, None)

    return await _cost_us(one, calls, side_by_side)


async def _cost_us(one: Any, calls: int, side_by_side: int) -> float:
    await one()
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.gather(*[one() for _ in range(side_by_side)])
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return spent / calls * 1e6


if __name__ == "__main__":
    measured = {"bare": _bare, "ours": _ours}[sys.argv[1]]
    print(uvloop.run(measured(20_000, int(sys.argv[2]))))
