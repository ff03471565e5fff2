"""The applications of one config: made for their routes, started, drained, ended."""

from typing import TYPE_CHECKING

from gateway.executors.registry import Executors
from gateway.pipeline.apps.lifespan import Lifespan
from gateway.pipeline.apps.mount import Mount
from gateway.pipeline.apps.wsgi import Wsgi
from gateway.pipeline.edits import editor
from gateway.pipeline.lane import TaskAnswer
from gateway.pipeline.python import load
from gateway.pipeline.settings import AppSettings, RouteSettings

if TYPE_CHECKING:
    from gateway.pipeline.apps.asgi import Asgi


class Apps:
    """Belongs to the loop thread."""

    def __init__(self, executors: Executors) -> None:
        self._executors = executors
        self._lifespans: dict[str, Lifespan] = {}
        self._asgi: list[Asgi] = []

    def make(self, route: RouteSettings, app: AppSettings) -> TaskAnswer:
        """What answers the route. Raises CodeError."""
        code = load(app.app)
        mount = Mount(app.strip, editor(route.request_headers))
        if app.kind == "wsgi":
            return Wsgi(code.function, code.label, self._executors.get(app.executor), mount)
        from gateway.pipeline.apps.asgi import Asgi  # brings a library for WebSockets that few workers need

        lifespan = self._lifespans.get(app.app)
        if lifespan is None:
            lifespan = self._lifespans[app.app] = Lifespan(code.function, code.label)
        answer = Asgi(lifespan, mount, frozenset(route.upgrade))
        self._asgi.append(answer)
        return answer

    async def start(self) -> None:
        """Start them one after the other. Raises AppError; those that were started are ended then."""
        try:
            for each in self._lifespans.values():
                await each.start()
        except BaseException:
            await self.stop()
            raise

    def begin_drain(self) -> None:
        for each in self._asgi:
            each.begin_drain()

    async def stop(self) -> None:
        """Cut what they still do, and let them end."""
        for answer in self._asgi:
            answer.close()
        for lifespan in self._lifespans.values():
            await lifespan.stop()

    def __repr__(self) -> str:
        return f"<Apps {self._asgi}>"
