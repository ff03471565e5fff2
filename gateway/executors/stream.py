"""A plain iterable as an async one: its `next()` runs on an executor, piece by piece, no faster than they are taken."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from gateway.core.clock import monotonic
from gateway.core.exchange import Exchange
from gateway.executors.work import Work

if TYPE_CHECKING:
    from gateway.executors.executor import Executor

AHEAD_BYTES: Final = 64 * 1024
AHEAD_PIECES: Final = 64
"""What is pulled ahead of who takes it; then the thread goes back to the others."""
TURN_S: Final = 0.05
"""A thread that has pulled for so long goes back to the others, too."""


class _Puller:
    """Pulls on an executor's thread, hands over to the loop. Whoever ends it closes the iterable, once, on a thread."""

    def __init__(self, iterable: Iterable[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self.arrived = asyncio.Event()
        self.ended = False
        """There is nothing more to pull."""
        self._iterable = iterable
        self._iterator: Iterator[bytes] | None = None
        self._loop = loop
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self._ahead_bytes = 0
        self._pulling = False
        self._stopped = False

    # --- on the loop ---

    def take(self) -> list[bytes]:
        """What has arrived."""
        with self._lock:
            self.arrived.clear()
            pieces, self._pieces = self._pieces, []
            self._ahead_bytes = 0
        return pieces

    def stop(self) -> bool:
        """Pull no more. True where the iterable is still to be closed, with `close` on a thread."""
        with self._lock:
            self._stopped = True
            return not self._pulling and not self.ended

    # --- on a thread ---

    def pull(self) -> None:
        """Pull for one turn, or until enough is there. Raises what the iterable raises."""
        with self._lock:
            if self._stopped:
                return
            self._pulling = True
        over = True
        try:
            over = self._pull(monotonic() + TURN_S)
        finally:
            with self._lock:
                self._pulling = False
                self.ended = over or self._stopped
            if self.ended:
                self.close()

    def _pull(self, until: float) -> bool:
        """Whether there is nothing more."""
        if self._iterator is None:
            self._iterator = iter(self._iterable)
        for piece in self._iterator:
            enough = self._hand_over(piece)
            if enough or self._stopped or monotonic() > until:
                return False
        return True

    def _hand_over(self, piece: bytes) -> bool:
        """Whether enough is there."""
        with self._lock:
            tell = not self._pieces
            self._pieces.append(piece)
            self._ahead_bytes += len(piece)
            enough = self._ahead_bytes >= AHEAD_BYTES or len(self._pieces) >= AHEAD_PIECES
        if tell:
            self._loop.call_soon_threadsafe(self.arrived.set)
        return enough

    def close(self) -> None:
        """Let the iterable release what it holds."""
        close: Any = getattr(self._iterable, "close", None)
        if close is not None:
            close()


async def stream(
    executor: "Executor", iterable: Iterable[bytes], deadline: float | None, exchange: Exchange | None
) -> AsyncIterator[bytes]:
    """See Executor.stream."""
    loop = asyncio.get_running_loop()
    puller = _Puller(iterable, loop)
    unbounded = False
    try:
        while not puller.ended:
            work = Work(puller.pull, (), unbounded=unbounded)
            unbounded = True
            pulling = loop.create_task(executor.run(work, deadline, exchange))
            pulling.add_done_callback(lambda _: puller.arrived.set())
            try:
                async for piece in _pieces(puller, pulling):
                    yield piece
            finally:
                pulling.cancel()
    finally:
        if puller.stop():
            executor.run_alone(Work(puller.close, (), unbounded=True))


async def _pieces(puller: _Puller, pulling: "asyncio.Task[None]") -> AsyncIterator[bytes]:
    """What one turn brings. Raises what it raised, behind what it brought."""
    while True:
        await puller.arrived.wait()
        done = pulling.done()
        for piece in puller.take():
            yield piece
        if done:
            pulling.result()
            return
