"""The second lane: an exchange with a task of its own, where the users' Python has a part in it.

The same numbered steps as on the plain path: 3 the plugins are asked, 4 the route answers (a TaskAnswer in this task;
any other answer is begun as ever, and the task ends), 5 plugins are told, ahead of the head of the answer.
"""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from gateway.core.current import enter
from gateway.core.errors import GatewayError
from gateway.core.message import FetchError, Headers
from gateway.pipeline.changes import changes_of
from gateway.pipeline.edits import Editor
from gateway.pipeline.fetcher import Fetcher
from gateway.pipeline.request import ClientRequest
from gateway.pipeline.respond import http_date, respond_error, send_whole
from gateway.pipeline.route import Answer, Call, Changes
from gateway.pipeline.settings import BufferSettings
from gateway.transport.sink import Sink
from gateway.wire.hops import lines_of

_log = logging.getLogger(__name__)
FRAMING: Final = frozenset(
    "connection content-length date keep-alive proxy-connection te trailer transfer-encoding upgrade"
    " x-request-id".split()
)
"""Fields of an answer that are the gateway's to write."""


class Asker(Protocol):
    """The plugins of a route, as one: step 3."""

    async def ask(self, lane: "Lane") -> bool:
        """True where the request is answered already. May raise GatewayError."""
        ...


class TaskAnswer(Answer):
    """An answer that works in the task of its exchange. `run` sends the answer, or raises."""

    __slots__ = ()

    def begin(self, call: Call) -> None:
        raise AssertionError("begun by a Lane")

    @abstractmethod
    async def run(self, lane: "Lane") -> None: ...


@dataclass(frozen=True, slots=True)
class LaneAnswer(Answer):
    """A route's answer for which a task is needed: because it is one, or because plugins are asked first."""

    answer: Answer
    asker: Asker | None
    buffer: BufferSettings
    timeout_s: float
    """Until the head of the answer; inf: off."""
    response_edit: Editor | None
    fetcher: Fetcher
    queue: str
    """Where what its Python asks of upstreams waits for its turn."""
    now: Callable[[], float]

    def begin(self, call: Call) -> None:
        Lane(self, call).begin()


class Lane(Sink):
    """One exchange with its task. When the client leaves, the task is cancelled."""

    __slots__ = (
        "_answered",
        "_body_end",
        "_collected",
        "_held",
        "_parts",
        "_request",
        "_slow",
        "_waiter",
        "call",
        "connection",
        "plan",
        "task",
    )

    def __init__(self, plan: LaneAnswer, call: Call) -> None:
        self.plan = plan
        self.call = call
        self.connection = call.connection
        self.task: asyncio.Task[None] | None = None
        self._parts: list[bytes] = [call.data] if call.data else []
        self._held = 0
        """Bytes of the parts, as counted against `limits.buffered`."""
        self._body_end = call.end
        self._collected = call.end and not call.data
        """Whether the users' Python may see the body: it is whole, and not too large for who asked for it."""
        self._answered = False
        """Whether the end of the answer was sent, maybe to a teller that holds it."""
        self._slow = False
        self._waiter: asyncio.Future[None] | None = None
        self._request: ClientRequest | None = None

    def begin(self) -> None:
        """Become the connection's sink, and start the task."""
        connection = self.connection
        if not self._body_end:
            connection.listener.buffered.check()
        connection.sink = self
        connection.set_read_ahead(self.plan.buffer.response_bytes)
        self._slow = connection.is_slow
        self._hold(len(self.call.data))
        self.task = self.plan.fetcher.loop.create_task(self._run())

    # --- the steps ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        plan = self.plan
        enter(self.call.request_id, self.deadline)
        try:
            if plan.asker is not None and await plan.asker.ask(self):
                return
            if self._request is not None and self._request.has_body and not self._collected:
                raise GatewayError(
                    "plugin_error", "a plugin set a body in place of one beyond the route's buffer.request"
                )
            if isinstance(plan.answer, TaskAnswer):
                self._take_body()
                await plan.answer.run(self)
                self._check_answered()
            else:
                self._hand_over(plan.answer)
        except asyncio.CancelledError:
            raise
        except GatewayError as error:
            self.fail(error)
        except FetchError as error:
            self.fail(GatewayError(error.reason, error.detail))
        except Exception:
            _log.exception("request %s: internal error; please report it", self.call.request_id)
            self.fail(GatewayError("internal_error", "the gateway failed; its log says more"))
        finally:
            self._hold(-self._held)

    def _take_body(self) -> None:
        """Go on with the body that plugins left."""
        request = self._request
        if request is not None and request.has_body:
            self._parts = [request.body] if request.body else []
            self._hold(len(request.body) - self._held)

    def _hand_over(self, answer: Answer) -> None:
        """Begin an answer that needs no task, with what is here of the body and what plugins changed."""
        call = self.call
        call.data, call.end = b"".join(self._parts), self._body_end
        if self._request is not None:
            call.changes = self._changes(self._request)
        self._parts = []
        self._hold(-self._held)
        self.connection.sink = None
        answer.begin(call)

    def _changes(self, request: ClientRequest) -> Changes | None:
        """What plugins changed. Raises GatewayError plugin_error."""
        try:
            return changes_of(request, self.call)
        except GatewayError as error:
            _log.error("request %s: %s", self.call.request_id, error.detail)
            raise

    def _check_answered(self) -> None:
        if self.is_live and not self._answered:
            raise GatewayError("internal_error", "the route's answer sent nothing")

    def fail(self, error: GatewayError) -> None:
        """Answer with an error, or cut an answer that is under way."""
        if self.connection.exchange is self.call:
            respond_error(self.connection, self.call, error, self.plan.now())

    def desert(self, error: GatewayError) -> None:
        """Answer with an error in the place of code that does not end; whoever makes an answer can stop."""
        connection = self.connection
        if connection.exchange is self.call:
            sink, connection.sink = connection.sink, None
            if sink is not None:
                sink.on_client_gone()
            self.fail(error)

    @property
    def is_live(self) -> bool:
        """Whether the client still waits for (more of) the answer."""
        return self.connection.exchange is self.call and not self._answered

    @property
    def deadline(self) -> float:
        """When the head of the answer is due, on the monotonic clock."""
        return self.call.started_at + self.plan.timeout_s

    def spent(self, seconds: float) -> None:
        """Time that the users' code had, which is no overhead of the gateway's."""
        self.call.overhead_s -= seconds

    # --- the request --------------------------------------------------------------------------------------------

    @property
    def request(self) -> ClientRequest:
        """What the users' Python sees. Its body is None until `collect` was awaited, unless there is none."""
        request = self._request
        if request is None:
            body = b"".join(self._parts) if self._collected else None
            request = self._request = ClientRequest(self.call, body, self.deadline, self.plan.fetcher, self.plan.queue)
        return request

    @request.setter
    def request(self, request: ClientRequest) -> None:
        self._request = request

    @property
    def is_collected(self) -> bool:
        """Whether the body was collected, or there is none."""
        return self._collected

    async def collect(self, limit: float = inf) -> bytes | None:
        """The whole body, also as `request.body`; None where it is more than `limit` bytes, and then left in place.

        Raises GatewayError shed_overload when `limits.buffered` is reached.
        """
        self.connection.continue_request()
        while not self._body_end and self._held <= limit and self.call.head.fields.length <= limit:
            self.connection.listener.buffered.check()
            self.connection.resume_reading()
            await self._wait()
        if not self._body_end or self._held > limit:
            return None
        self._collected = True
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        body = self._parts[0] if self._parts else b""
        if self._request is not None and not self._request.has_body:
            self._request.body = body
        return body

    async def receive(self) -> tuple[bytes, bool]:
        """The next of the body, and whether that was the last. Reading pauses while nobody receives."""
        self.connection.continue_request()
        while not self._parts and not self._body_end:
            self.connection.resume_reading()
            await self._wait()
        data = b"".join(self._parts)
        self._parts = []
        self._hold(-self._held)
        return data, self._body_end

    def on_request_data(self, data: bytes, end: bool) -> None:
        if data:
            self._parts.append(data)
            self._hold(len(data))
        self._body_end = end
        if self._held > self.plan.buffer.request_bytes:
            self.connection.pause_reading()
        self._wake()

    def _hold(self, size: int) -> None:
        if size:
            self._held += size
            self.connection.listener.buffered.add(size)

    # --- the answer ---------------------------------------------------------------------------------------------

    def send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the whole answer in one write; framing, Date and X-Request-Id are the gateway's own."""
        if not self.is_live:
            return
        length = headers.get("content-length") or ""
        if self.call.method == "HEAD" and not body and length.isascii() and length.isdecimal():
            self.start(status, headers, int(length))
            return
        self._answered = True
        send_whole(self.connection, self.call, status, self._lines(headers), body, self.plan.now())

    def start(self, status: int, headers: Headers, length: int = -1) -> None:
        """Send the head of an answer whose body follows; `length` in bytes, below 0 where it is not known."""
        if not self.is_live:
            return
        if (headers.get("content-type") or "").startswith("text/event-stream"):
            self.call.stream = "sse"
        framing = "" if length < 0 else f"Content-Length: {length}\r\n"
        lines = f"Date: {http_date()}\r\n{self._lines(headers)}{framing}X-Request-Id: {self.call.request_id}\r\n"
        self._answered = self.call.method == "HEAD" or status in (204, 304)
        self.connection.send(status, lines, length, b"", self._answered, self.plan.now())

    async def send(self, data: bytes) -> None:
        """Send more of the body; returns when the client can take more."""
        if self.is_live and data:
            self.connection.send_data(data, False, "", self.plan.now())
        while self._slow:
            await self._wait()

    def finish(self) -> None:
        """The answer is complete."""
        if self.is_live:
            self._answered = True
            self.connection.send_data(b"", True, "", self.plan.now())

    def abort(self, reason: str) -> None:
        """Cut the connection: the client must see that the answer is not whole."""
        if self.is_live:
            self.connection.abort(reason)

    def _lines(self, headers: Headers) -> str:
        lines = lines_of((name, value) for name, value in headers.items() if name.lower() not in FRAMING)
        edit = self.plan.response_edit
        return edit.apply(lines) if edit is not None else lines

    # --- the client ---------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """Until something happens on the client's side; an application may wait in several tasks at once."""
        if self._waiter is None:
            self._waiter = self.plan.fetcher.loop.create_future()
        await asyncio.shield(self._waiter)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def on_client_gone(self) -> None:
        self._parts = []
        self._body_end = True
        self._slow = False
        self._hold(-self._held)
        self._wake()
        if self.task is not None:
            self.task.cancel()

    def on_client_slow(self) -> None:
        self._slow = True

    def on_client_ready(self) -> None:
        self._slow = False
        self._wake()

    def __repr__(self) -> str:
        return f"<Lane {self.call.request_id} {self.plan.answer}>"
