"""Results as they land: what a client sees of an aggregate that it asked for as a stream."""

from collections import deque
from collections.abc import Callable

from gateway.core.errors import GatewayError
from gateway.decide.aggregate.events import end_event, source_event
from gateway.pipeline.respond import http_date, problem, respond_error
from gateway.pipeline.route import Call


class AggregateStream:
    """Sends each value when it is there and the client takes it; the head goes out with the first."""

    __slots__ = ("_begun", "_call", "_ended", "_form", "_lines", "_now", "_waiting")

    def __init__(self, call: Call, form: str, lines: str, now: Callable[[], float]) -> None:
        """lines: complete field lines of the head, without Date and X-Request-Id."""
        self._call = call
        self._form = form
        self._lines = lines
        self._now = now
        self._waiting: deque[bytes] = deque()
        self._begun = False
        self._ended = False

    def arrived(self, name: str, raw: bytes) -> None:
        """A source has its value."""
        self._waiting.append(source_event(self._form, name, raw))
        self.send()

    def end(self, report: bytes | None) -> None:
        """All that could come is there."""
        self._waiting.append(end_event(self._form, report, None))
        self._ended = True
        self.send()

    def fail(self, error: GatewayError, report: bytes | None) -> None:
        """Nothing more comes: an answer of its own where nothing went out yet, else the last event."""
        if not self._begun and not self._waiting:
            respond_error(self._call.connection, self._call, error, self._now())
            return
        self._call.reason = error.reason.name
        self._waiting.append(end_event(self._form, report, problem(error, self._call.request_id)))
        self._ended = True
        self.send()

    def send(self) -> None:
        """What waits, as far as the client takes it."""
        connection = self._call.connection
        while self._waiting and not connection.is_slow:
            data = self._waiting.popleft()
            last = self._ended and not self._waiting
            if self._begun:
                connection.send_data(data, last, "", self._now())
            else:
                self._begun = True
                connection.send(200, self._head(), -1, data, last, self._now())

    def drop(self) -> None:
        """The client is gone."""
        self._waiting.clear()

    @property
    def is_done(self) -> bool:
        """Whether nothing waits for the client."""
        return not self._waiting

    def _head(self) -> str:
        return f"Date: {http_date()}\r\n{self._lines}X-Request-Id: {self._call.request_id}\r\n"
