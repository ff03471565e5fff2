"""Step 3: the plugins of a route are asked in the order of the file; step 5 (tell.py) goes back through them."""

from collections.abc import Sequence

from gateway.core.errors import GatewayError
from gateway.core.message import Response
from gateway.pipeline.lane import Lane
from gateway.pipeline.plugin import Plugin
from gateway.pipeline.respond import RETRY_AFTER_S, problem
from gateway.pipeline.stream import send
from gateway.pipeline.tell import Telling


class Plugins:
    """All plugins of a route."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._plugins = tuple(plugins)
        self._asks = any(plugin.asks for plugin in plugins)
        self._tells = any(plugin.tells for plugin in plugins)

    async def ask(self, lane: Lane) -> bool:
        """Ask one after the other; True where one of them answered. Raises GatewayError where one failed.

        Who was asked is told of the answer, whoever makes it.
        """
        asked: list[Plugin] = []
        if self._tells:
            lane.connection.teller = Telling(lane, asked)
        if self._asks:
            await lane.collect(lane.plan.buffer.request_bytes)
        for plugin in self._plugins:
            if plugin.asks and (response := await plugin.ask(lane)) is not None:
                await _answer(lane, plugin, response)
                return True
            if plugin.tells:
                asked.append(plugin)
        return False

    def __repr__(self) -> str:
        return f"<Plugins {', '.join(plugin.name for plugin in self._plugins)}>"


async def _answer(lane: Lane, plugin: Plugin, response: Response) -> None:
    """Send a plugin's answer; from 400 on it is a refusal, and says so."""
    call = lane.call
    call.source = "handler"
    if response.status >= 400:
        call.source, call.reason = "gateway", "plugin_denied"
        response = _refusal(response, call.request_id)
    await send(lane, response, plugin.executor, plugin.name)


def _refusal(response: Response, request_id: str) -> Response:
    """A copy of the plugin's answer with the reason; without a body of its own it gets the problem document."""
    status, headers, body = response.status, response.headers.copy(), response.body
    headers["x-gateway-reason"] = "plugin_denied"
    if status in (429, 503):
        headers.setdefault("retry-after", str(RETRY_AFTER_S))
    if body == b"":
        headers["content-type"] = "application/problem+json"
        body = problem(GatewayError("plugin_denied", "a plugin refused the request", status=status), request_id)
    refusal = Response.of_checked(status, headers, None)
    refusal.body = body
    return refusal
