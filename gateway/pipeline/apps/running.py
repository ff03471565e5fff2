"""What an ASGI application works on, behind all of its routes."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.pipeline.apps.asgi_websocket import AsgiWebSocket


class Running:
    """Belongs to the loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.sockets: set[AsgiWebSocket] = set()
        """Open WebSockets."""

    def begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def begin_drain(self) -> None:
        """Ask the clients of open WebSockets to go elsewhere."""
        for socket in list(self.sockets):
            socket.close_away()

    async def quiet(self, timeout_s: float) -> None:
        """Returns when nothing works any more, or the time is up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def cut(self) -> None:
        """End what still works."""
        for task in self._tasks:
            task.cancel()

    def __repr__(self) -> str:
        return f"<Running {len(self._tasks)} tasks, {len(self.sockets)} WebSockets>"
