"""Step 5: plugins are told of an answer before its head goes out, whoever made it, in the reverse of their order.

Meanwhile the answer is held: its source is paused as for a slow client. An answer whose length is known and within
the route's `buffer.response` is held whole, so that plugins see its body; of any other they see the head.
"""

import asyncio
import logging
from collections.abc import Sequence

from gateway.core.current import enter
from gateway.core.errors import GatewayError
from gateway.core.message import Headers, Response
from gateway.pipeline.lane import FRAMING, Lane
from gateway.pipeline.plugin import Plugin
from gateway.pipeline.respond import respond_error
from gateway.transport.sink import Teller
from gateway.wire.hops import lines_of

_log = logging.getLogger(__name__)


class Telling(Teller):
    """Holds one answer while plugins are told of it."""

    __slots__ = (
        "_ended",
        "_lane",
        "_length",
        "_lines",
        "_parts",
        "_replacing",
        "_size",
        "_status",
        "_task",
        "_told",
        "_trailers",
    )

    def __init__(self, lane: Lane, told: Sequence[Plugin]) -> None:
        """told: who is told, in the order in which they were asked; may grow until the answer comes."""
        self._lane = lane
        self._told = told
        self._task: asyncio.Task[None] | None = None
        self._replacing = False
        self._status = 0
        self._lines = ""
        self._length = -1
        self._ended = False
        self._trailers = ""
        self._parts: list[bytes] = []
        self._size = 0

    # --- the answer ---------------------------------------------------------------------------------------------

    def on_answer(self, status: int, lines: str, length: int, data: bytes, end: bool) -> None:
        """Hold the answer, or one that takes its place: then the plugins have been told, or this is what failed."""
        self._drop()
        self._status, self._lines, self._length, self._ended = status, lines, length, end
        self._trailers = ""
        self._hold(data)
        if self._replacing:
            return
        if self._task is not None:
            self._task.cancel()
            self._let_go(self._response())
        elif not self._told:
            self._let_go(self._response())
        elif end or not 0 <= length <= self._lane.plan.buffer.response_bytes:
            self._begin()

    def on_answer_data(self, data: bytes, end: bool, trailers: str) -> None:
        self._hold(data)
        self._ended, self._trailers = end, trailers
        if self._task is None:
            if end:
                self._begin()
        elif not end:
            self._pause()

    def on_gone(self) -> None:
        self._drop()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = self._lane.plan.fetcher.loop.create_task(self._tell())
        if not self._ended:
            self._pause()

    def _pause(self) -> None:
        """Whoever makes the answer waits, as for a slow client."""
        sink = self._lane.connection.sink
        if sink is not None:
            sink.on_client_slow()

    def _hold(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self._size += len(data)
            self._lane.connection.listener.buffered.add(len(data))

    def _drop(self) -> None:
        self._parts = []
        if self._size:
            self._lane.connection.listener.buffered.add(-self._size)
            self._size = 0

    # --- telling ------------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        lane = self._lane
        enter(lane.call.request_id, lane.deadline)
        response = self._response()
        for plugin in reversed(self._told):
            try:
                response = await plugin.tell(lane, response)
            except GatewayError as error:
                response = self._replace(error)
            except Exception:
                _log.exception("request %s: internal error; please report it", lane.call.request_id)
                response = self._replace(GatewayError("internal_error", "the gateway failed; its log says more"))
        self._let_go(response)

    def _response(self) -> Response:
        """What is held, as plugins see it."""
        lines = [line.partition(": ") for line in self._lines.split("\r\n") if line]
        fields = [(name, value) for name, _, value in lines if name.lower() not in FRAMING]
        whole = self._ended and not self._trailers and self._lane.call.method != "HEAD"
        return Response.of_checked(self._status, Headers.of_checked(fields), b"".join(self._parts) if whole else None)

    def _replace(self, error: GatewayError) -> Response:
        """The answer to an error takes the place of what is held, and whoever makes that can stop."""
        connection = self._lane.connection
        sink, connection.sink = connection.sink, None
        if sink is not None:
            sink.on_client_gone()
        self._replacing = True
        respond_error(connection, self._lane.call, error, self._lane.plan.now())
        self._replacing = False
        return self._response()

    # --- letting go ---------------------------------------------------------------------------------------------

    def _let_go(self, response: Response) -> None:
        """Send what is held with the head of `response`, and the rest as it comes."""
        connection, now = self._lane.connection, self._lane.plan.now()
        connection.teller = None
        data, length = b"".join(self._parts), self._length
        self._drop()
        if response.status in (204, 304):
            data, length = b"", 0
        elif response.body is not None:
            assert isinstance(response.body, bytes)
            data, length = response.body, len(response.body)
        lines = self._lines_for(response)
        if self._ended and not self._trailers:
            connection.send(response.status, lines, length, data, True, now)
            return
        connection.send(response.status, lines, length, data, False, now)
        if self._ended:
            connection.send_data(b"", True, self._trailers, now)
        elif connection.sink is not None and not connection.is_slow:
            connection.sink.on_client_ready()

    def _lines_for(self, response: Response) -> str:
        """The fields as plugins left them, and ours; the length anew where the body is here."""
        fields = lines_of((name, value) for name, value in response.headers.items() if name.lower() not in FRAMING)
        ours = [line for line in self._lines.split("\r\n") if line.partition(":")[0].lower() in FRAMING]
        if response.body is not None or response.status != self._status:
            ours = [line for line in ours if not line.lower().startswith("content-length:")]
        if response.body is not None and response.status not in (204, 304):
            ours.append(f"Content-Length: {len(response.body)}")  # type: ignore[arg-type]
        return fields + "".join([f"{line}\r\n" for line in ours])

    def __repr__(self) -> str:
        return f"<Telling {self._lane.call.request_id} {self._status} held={self._size}>"
