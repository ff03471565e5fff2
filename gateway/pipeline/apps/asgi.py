"""An ASGI 3 application on the event loop: HTTP and WebSocket.

The application runs in a task of its own beside that of the lane: it is told when its client leaves, not cancelled
in what it began, and what it does behind its answer goes on.
"""

import asyncio
import logging
from typing import Final

from gateway.core.errors import GatewayError
from gateway.pipeline.apps.asgi_http import AsgiHttp
from gateway.pipeline.apps.asgi_scope import Scope, http_scope, websocket_scope
from gateway.pipeline.apps.asgi_websocket import AsgiWebSocket
from gateway.pipeline.apps.handshake import asks_for_websocket, offered, websocket_of
from gateway.pipeline.apps.lifespan import App, Lifespan
from gateway.pipeline.apps.mount import Mount
from gateway.pipeline.apps.patience import Patience
from gateway.pipeline.apps.running import Running
from gateway.pipeline.apps.turns import ClientLeft
from gateway.pipeline.lane import Lane, TaskAnswer

LEAVE_S: Final = 1.0
"""For an application that streams to hear that its client left; after that it is cancelled."""

_log = logging.getLogger(__name__)


class Asgi(TaskAnswer):
    """The answer of a route with `app: {asgi: ...}`."""

    def __init__(self, lifespan: Lifespan, running: Running, mount: Mount, upgrades: frozenset[str]) -> None:
        """upgrades: protocols that the route allows, lower case."""
        self.app: App = lifespan.app
        self.label = lifespan.label
        self._lifespan = lifespan
        self._running = running
        self._mount = mount
        self._takes_websockets = "websocket" in upgrades

    async def run(self, lane: Lane) -> None:
        lane.call.source = "app"
        if self._takes_websockets and asks_for_websocket(lane):
            await self._run_websocket(lane)
        else:
            await self._run_http(lane)

    async def _run_http(self, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        scope = http_scope(lane, self._mount, self._lifespan.state)
        patience = Patience(loop, lane.plan.timeout_s, lambda: self._on_silence(over, task, lane))
        exchange = AsgiHttp(lane, over, patience)
        task = self._running.begin(self._call(scope, exchange, over, lane))
        try:
            await over
        finally:
            patience.end()
            self._mind_end(exchange, task)

    async def _run_websocket(self, lane: Lane) -> None:
        websocket = websocket_of(lane)
        if websocket is None:
            return
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        scope = websocket_scope(lane, self._mount, self._lifespan.state, offered(lane))
        patience = Patience(loop, lane.plan.timeout_s, lambda: self._on_silence(over, task, lane))
        socket = AsgiWebSocket(lane, websocket, over, patience)
        self._running.sockets.add(socket)
        task = self._running.begin(self._call(scope, socket, over, lane))
        try:
            await over
        finally:
            patience.end()
            self._running.sockets.discard(socket)
            self._mind_end(socket, task)

    def _mind_end(self, exchange: AsgiHttp | AsgiWebSocket, task: asyncio.Task[None]) -> None:
        """Cancel the application where it neither sends nor listens and so does not hear that nobody is there."""

        def look() -> None:
            if exchange.is_unheard and not task.done():
                task.cancel()

        if exchange.is_unheard and not task.done():
            asyncio.get_running_loop().call_later(LEAVE_S, look)

    def _on_silence(self, over: asyncio.Future[None], task: asyncio.Task[None], lane: Lane) -> None:
        task.cancel()
        if not over.done():
            _log.warning("request %s: %s sent nothing in time", lane.call.request_id, self.label)
            detail = f"the application sent nothing for {lane.plan.timeout_s:g}s"
            over.set_exception(GatewayError("handler_error", detail, status=504))

    async def _call(
        self, scope: Scope, exchange: AsgiHttp | AsgiWebSocket, over: asyncio.Future[None], lane: Lane
    ) -> None:
        """The whole of the application's work on one exchange."""
        failure = ""
        try:
            await self.app(scope, exchange.receive, exchange.send)
            failure = exchange.missing
            if failure and not over.done():
                _log.error("request %s: %s returned %s", lane.call.request_id, self.label, failure)
        except Exception as error:
            failure = "with an exception"
            if not (over.cancelled() and is_farewell(error)):
                _log.exception("request %s: %s failed", lane.call.request_id, self.label)
        exchange.ended(failure)
        if failure and not over.done():
            over.set_exception(GatewayError("handler_error", "the application failed; the gateway's log says more"))

    def __repr__(self) -> str:
        return f"<Asgi {self.label} {self._running}>"


def is_farewell(error: BaseException | None) -> bool:
    """Whether it comes of sending to a client that is gone."""
    while error is not None:
        if isinstance(error, ClientLeft):
            return True
        if isinstance(error, BaseExceptionGroup):
            return all(is_farewell(each) for each in error.exceptions)
        error = error.__cause__ or error.__context__
    return False
