"""A script for an upstream that answers by the first segment of the path, as the test sets it and when it says so."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.upstream import Recorded, Wire

Act = bytes | Callable[[Wire, Recorded], Awaitable[None]]


def whole(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def ok(value: Any, status: int = 200, *, indent: int | None = None) -> bytes:
    """An answer with `value` as JSON."""
    return whole(json.dumps(value, indent=indent).encode(), status)


class Stage:
    """`acts` are answers, or coroutines that give one; what is in `held` is answered when its event is set."""

    def __init__(self) -> None:
        self.acts: dict[str, Act] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.gone = 0
        """Requests whose connection was closed while they waited."""

    def reset(self, **acts: Act) -> None:
        self.acts = acts
        self.held = {}
        self.gone = 0

    async def __call__(self, wire: Wire) -> None:
        while True:
            recorded = await wire.request()
            name = recorded.line.split(b"/")[1].split(b" ")[0].split(b"?")[0].decode()
            if name in self.held and not await self._let_go(wire, self.held[name]):
                self.gone += 1
                return
            act = self.acts[name]
            if isinstance(act, bytes):
                await wire.send(act)
            else:
                await act(wire, recorded)

    async def hang(self, wire: Wire, recorded: Recorded) -> None:
        """An act that never ends."""
        await wire.eof()
        self.gone += 1
        raise EOFError

    async def _let_go(self, wire: Wire, event: asyncio.Event) -> bool:
        """Wait for the event; False where the other side was gone before."""
        waiting = asyncio.ensure_future(event.wait()), asyncio.ensure_future(wire.eof())
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return event.is_set()
