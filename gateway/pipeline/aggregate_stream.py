"""How an aggregate goes to its client: in pieces that wait where the client is slow; as a stream, as they land."""

from collections import deque
from collections.abc import Callable, Iterable

from gateway.core.errors import GatewayError
from gateway.decide.aggregate.events import end_event, source_event
from gateway.pipeline.respond import http_date, problem, respond_error
from gateway.pipeline.route import Call


class Pieces:
    """An answer of which each piece is sent when the client takes it; the head goes out with the first."""

    __slots__ = ("_begun", "_call", "_ended", "_length", "_lines", "_now", "_waiting")

    def __init__(self, call: Call, lines: str, length: int, now: Callable[[], float]) -> None:
        """lines: complete field lines of the head, without Date and X-Request-Id; length: -1 where it is not known."""
        self._call = call
        self._lines = lines
        self._length = length
        self._now = now
        self._waiting: deque[bytes] = deque()
        self._begun = False
        self._ended = False

    def add(self, pieces: Iterable[bytes], *, last: bool) -> None:
        """More of the answer; with `last` all that was missing."""
        self._waiting.extend(pieces)
        self._ended = last
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
                connection.send(200, self._head(), self._length, data, last, self._now())

    def drop(self) -> None:
        """The client is gone."""
        self._waiting.clear()

    @property
    def size(self) -> int:
        """Bytes that wait for the client."""
        return sum(map(len, self._waiting))

    def _head(self) -> str:
        return f"Date: {http_date()}\r\n{self._lines}X-Request-Id: {self._call.request_id}\r\n"


class AggregateStream(Pieces):
    """What a client sees of an aggregate that it asked for as a stream."""

    __slots__ = ("_form",)

    def __init__(self, call: Call, form: str, lines: str, now: Callable[[], float]) -> None:
        super().__init__(call, lines, -1, now)
        self._form = form

    def arrived(self, name: str, raw: bytes) -> None:
        """A source has its value."""
        self.add((source_event(self._form, name, raw),), last=False)

    def end(self, report: bytes | None) -> None:
        """All that could come is there."""
        self.add((end_event(self._form, report, None),), last=True)

    def fail(self, error: GatewayError, report: bytes | None) -> None:
        """Nothing more comes: an answer of its own where nothing went out yet, else the last event."""
        if not self._begun and not self._waiting:
            respond_error(self._call.connection, self._call, error, self._now())
            return
        self._call.reason = error.reason.name
        self.add((end_event(self._form, report, problem(error, self._call.request_id)),), last=True)
