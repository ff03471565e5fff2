"""Plain iterables as async ones."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.executors.stream import AHEAD_BYTES, AHEAD_PIECES
from tests.executors.conftest import Made, eventually


class Source:
    """An iterable that notes who pulls and who closes, and can be held before each piece."""

    def __init__(self, pieces: list[bytes], *, held: bool = False, error: Exception | None = None) -> None:
        self.pulled = 0
        self.closed = 0
        self.threads: set[int] = set()
        self.more = threading.Semaphore(0)
        self._pieces = pieces
        self._held = held
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.threads.add(threading.get_ident())
            if self._held:
                assert self.more.acquire(timeout=10)
            self.pulled += 1
            yield piece
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


async def collect(pieces: Any) -> list[bytes]:
    return [piece async for piece in pieces]


async def test_all_pieces_come_in_order_off_the_loop(made: Made) -> None:
    executor = made(threads=2)
    source = Source([b"%d" % number for number in range(1000)])
    assert await collect(executor.stream(source)) == [b"%d" % number for number in range(1000)]
    assert threading.get_ident() not in source.threads
    assert source.closed == 1
    assert await collect(executor.stream([])) == []


async def test_a_piece_is_passed_on_before_the_next_is_there(made: Made) -> None:
    source = Source([b"one", b"two"], held=True)
    pieces = made(threads=1).stream(source)
    source.more.release()
    assert await anext(pieces) == b"one"
    source.more.release()
    assert await anext(pieces) == b"two"
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)


@pytest.mark.parametrize("piece", [b"x", b"x" * (AHEAD_BYTES // 2)], ids=["small", "large"])
async def test_pieces_that_nobody_takes_hold_no_thread(made: Made, piece: bytes) -> None:
    executor = made(threads=1)
    source = Source([piece] * 1000)
    pieces = executor.stream(source)
    assert await anext(pieces) == piece
    await eventually(lambda: not executor.stats()["busy"])
    assert source.pulled <= 2 * AHEAD_PIECES
    assert source.pulled * len(piece) <= 3 * AHEAD_BYTES
    assert await executor.call(len, "abc") == 3
    assert len(await collect(pieces)) == 999


async def test_what_the_iterable_raises_comes_behind_its_pieces(made: Made) -> None:
    source = Source([b"one"], error=ValueError("no more"))
    pieces = made(threads=1).stream(source)
    assert await anext(pieces) == b"one"
    with pytest.raises(ValueError, match="no more"):
        await anext(pieces)
    assert source.closed == 1


async def test_who_takes_no_more_closes_it_on_a_thread(made: Made) -> None:
    executor = made(threads=1)
    source = Source([b"x"] * 1000)
    pieces = executor.stream(source)
    await anext(pieces)
    await pieces.aclose()
    await eventually(lambda: source.closed)
    await eventually(lambda: not executor.stats()["busy"])
    assert source.closed == 1
    assert threading.get_ident() not in source.threads


async def test_who_leaves_in_the_middle_of_a_piece_closes_it_behind_that(made: Made) -> None:
    executor = made(threads=1)
    source = Source([b"x"] * 3, held=True)
    task = asyncio.create_task(collect(executor.stream(source)))
    await eventually(lambda: source.threads)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed == 0
    source.more.release()
    await eventually(lambda: source.closed)
    assert source.pulled == 1


async def test_a_full_executor_refuses_a_stream_but_not_the_rest_of_one(made: Made) -> None:
    executor = made(threads=1, queue=0)
    source = Source([b"x"] * 1000)
    pieces = executor.stream(source)
    await anext(pieces)
    await eventually(lambda: not executor.stats()["busy"])
    gate = threading.Event()
    holding = asyncio.create_task(executor.call(gate.wait))
    await asyncio.sleep(0)
    with pytest.raises(GatewayError, match="executor_full"):
        await collect(executor.stream([b"x"]))
    rest = asyncio.create_task(collect(pieces))
    await eventually(lambda: executor.stats()["waiting"])
    gate.set()
    assert len(await rest) == 999
    await holding


async def test_a_piece_that_takes_too_long_is_a_timeout(made: Made) -> None:
    source = Source([b"x"], held=True)
    with pytest.raises(GatewayError, match="executor_timeout"):
        await collect(made(threads=1, timeout_s=0.02).stream(source))
    source.more.release()
    await eventually(lambda: source.closed)
