"""The applications of a worker: made for their routes, started, drained, ended."""

from typing import TYPE_CHECKING

from gateway.executors.registry import Executors
from gateway.pipeline.apps.lifespan import Lifespan
from gateway.pipeline.apps.mount import Mount
from gateway.pipeline.apps.wsgi import Wsgi
from gateway.pipeline.edits import editor
from gateway.pipeline.lane import TaskAnswer
from gateway.pipeline.python import CodeError, load
from gateway.pipeline.settings import AppSettings, HeaderEdits, RouteSettings

if TYPE_CHECKING:
    from gateway.pipeline.apps.asgi import Asgi


class Apps:
    """Belongs to the loop thread."""

    def __init__(self, executors: Executors) -> None:
        self._executors = executors
        self._lifespans: dict[str, Lifespan] = {}
        self._asgi: dict[tuple[AppSettings, HeaderEdits, tuple[str, ...]], Asgi] = {}
        self._begun = False

    def make(self, route: RouteSettings, app: AppSettings) -> TaskAnswer:
        """What answers the route. Raises CodeError."""
        code = load(app.app)
        mount = Mount(app.strip, editor(route.request_headers))
        if app.kind == "wsgi":
            return Wsgi(code.function, code.label, self._executors.get(app.executor), mount)
        from gateway.pipeline.apps.asgi import Asgi  # brings a library for WebSockets that few workers need

        lifespan = self._lifespans.get(app.app)
        if lifespan is None:
            if self._begun:
                raise CodeError(f"{app.app}: a new ASGI application begins with the workers: restart the gateway")
            lifespan = self._lifespans[app.app] = Lifespan(code.function, code.label)
        key = app, route.request_headers, route.upgrade
        answer = self._asgi.get(key)
        if answer is None:
            answer = self._asgi[key] = Asgi(lifespan, mount, frozenset(route.upgrade))
        return answer

    async def start(self) -> None:
        """Start them one after the other. Raises AppError; those that were started are ended then."""
        self._begun = True
        try:
            for each in self._lifespans.values():
                await each.start()
        except BaseException:
            await self.stop()
            raise

    def begin_drain(self) -> None:
        for each in self._asgi.values():
            each.begin_drain()

    async def stop(self) -> None:
        """Cut what they still do, and let them end."""
        for answer in self._asgi.values():
            answer.close()
        for lifespan in self._lifespans.values():
            await lifespan.stop()

    def __repr__(self) -> str:
        return f"<Apps {list(self._asgi.values())}>"
