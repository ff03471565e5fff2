"""The applications of a worker: made for their routes, started, drained, ended."""

import asyncio
from typing import TYPE_CHECKING

from gateway.executors.registry import Executors
from gateway.pipeline.apps.lifespan import Lifespan
from gateway.pipeline.apps.mount import Mount
from gateway.pipeline.apps.running import Running
from gateway.pipeline.apps.wsgi import Wsgi
from gateway.pipeline.edits import editor
from gateway.pipeline.lane import TaskAnswer
from gateway.pipeline.python import Code, load
from gateway.pipeline.settings import AppSettings, RouteSettings
from gateway.runtime.shares import Share

if TYPE_CHECKING:
    from gateway.pipeline.apps.asgi import Asgi

BEHIND_S = 10.0
"""For what a removed application still does behind the answers that it gave."""


class Apps:
    """All that were started and have not ended. Belongs to the loop thread, but `make`."""

    def __init__(self) -> None:
        self._alive: set[App] = set()

    def make(self, route: RouteSettings, app: AppSettings, executors: Executors, share: Share) -> TaskAnswer:
        """What answers the route. Raises CodeError. On any thread."""
        code = load(app.app)
        mount = Mount(app.strip, editor(route.request_headers))
        if app.kind == "wsgi":
            return Wsgi(code.function, code.label, executors.get(app.executor), mount)
        return share.take(("asgi", app.app), lambda: App(code, self._alive)).answer(route, mount)

    def begin_drain(self) -> None:
        for each in self._alive:
            each.begin_drain()

    async def stop(self) -> None:
        """Cut what they still do, and let them end."""
        await asyncio.gather(*[each.stop() for each in self._alive])

    def __repr__(self) -> str:
        return f"<Apps {self._alive}>"


class App:
    """An ASGI application. Belongs to the loop thread, but `answer`."""

    def __init__(self, code: Code, alive: "set[App]") -> None:
        self._lifespan = Lifespan(code.function, code.label)
        self._running = Running()
        self._alive = alive
        self._leaving: asyncio.Task[None] | None = None

    def answer(self, route: RouteSettings, mount: Mount) -> "Asgi":
        """What answers the route."""
        from gateway.pipeline.apps.asgi import Asgi  # brings a library for WebSockets that few workers need

        return Asgi(self._lifespan, self._running, mount, frozenset(route.upgrade))

    async def start(self) -> None:
        """Raises AppError."""
        self._alive.add(self)
        await self._lifespan.start()

    def begin_drain(self) -> None:
        self._running.begin_drain()

    def retire(self) -> None:
        """Let it end, behind what it still does."""
        self._leaving = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        await self._running.quiet(BEHIND_S)
        await self.stop()

    async def stop(self) -> None:
        """Cut what it still does, and let it end."""
        self._running.cut()
        await self._lifespan.stop()
        self._alive.discard(self)

    def __repr__(self) -> str:
        return f"<App {self._lifespan.label}>"
