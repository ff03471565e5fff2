"""The time that an application may be silent."""

import asyncio
from math import inf

from gateway.pipeline.apps.patience import Patience


async def until_over(patience: Patience, over: asyncio.Event) -> float:
    began = asyncio.get_running_loop().time()
    await asyncio.wait_for(over.wait(), 5)
    patience.end()
    return asyncio.get_running_loop().time() - began


async def test_it_ends() -> None:
    over = asyncio.Event()
    assert await until_over(Patience(asyncio.get_running_loop(), 0.05, over.set), over) >= 0.05


async def test_it_is_renewed() -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    patience = Patience(loop, 0.1, over.set)
    loop.call_later(0.07, patience.renew)
    assert await until_over(patience, over) >= 0.17


async def test_it_waits_while_paused() -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    patience = Patience(loop, 0.05, over.set)
    patience.pause()
    loop.call_later(0.15, patience.renew)
    assert await until_over(patience, over) >= 0.2


async def test_without_end_there_is_no_timer() -> None:
    over = asyncio.Event()
    patience = Patience(asyncio.get_running_loop(), inf, over.set)
    patience.renew()
    patience.end()
    assert not over.is_set()
