"""A connection to a target: one request at a time, the answer framed strictly.

A connection in doubt is closed, never reused: bytes that nobody asked for, an answer before the request was sent as a
whole, a framing error, `Connection: close`.
"""

import asyncio
import ssl
from math import inf
from typing import TYPE_CHECKING, Final, cast

from gateway.core.errors import GatewayError
from gateway.transport.answer_heads import ANSWER_LIMITS
from gateway.transport.outgoing import Outgoing
from gateway.transport.user import User
from gateway.wire.body import BodyReader
from gateway.wire.fields import UNTIL_CLOSE
from gateway.wire.head import ResponseHead

if TYPE_CHECKING:
    from gateway.transport.connections import Connections

MAX_INTERIM: Final = 8
"""Informational answers to one request; more is an error."""
CLOSE_S: Final = 5.0
"""A connection that is closed in good order may take this long to send what it still has."""

IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
UNTIL_END: Final = 3
TUNNEL: Final = 4
CLOSED: Final = 5
_STATES: Final = "idle head body until-end tunnel closed".split()


class UpstreamConnection(Outgoing):
    """One connection to one target."""

    __slots__ = (
        "__weakref__",
        "_body",
        "_interims",
        "_keep",
        "_method",
        "_paused",
        "_pending",
        "_state",
        "_timeout_s",
        "_whole",
        "armed",
        "connect_s",
        "deadline",
        "idle_timeout_s",
        "owner",
        "request_sent",
        "served",
        "user",
    )

    def __init__(self, owner: "Connections") -> None:
        self.owner = owner
        self.transport = cast(asyncio.Transport, None)
        self.outbox = owner.outbox
        self.unsent = b""
        self.user: User | None = None
        self.deadline = self.armed = inf
        self.idle_timeout_s = owner.settings.idle_timeout_s
        self.served = 0
        """Requests that were begun on this connection."""
        self.connect_s = 0.0
        self.request_sent = True
        """Whether the current request went out as a whole."""
        self._state = IDLE
        self._whole = False
        """Whether the request was given as one piece: then what waits in `unsent` is all of it."""
        self._method = ""
        self._keep = True
        self._interims = 0
        self._timeout_s = inf
        self._pending = b""
        self._body: BodyReader | None = None
        self._paused = False

    # --- using it -----------------------------------------------------------------------------------------------

    def send(self, user: User, method: str, data: bytes, end: bool, head_timeout_s: float, now: float) -> None:
        """Begin a request: its head with the first of its body; `end` when that is all of it."""
        self.user = user
        self.served += 1
        self._state = HEAD
        self._method = method
        self._keep = True
        self._interims = 0
        self._timeout_s = head_timeout_s
        self.request_sent = self._whole = end
        self.write(data)
        self.deadline = now + head_timeout_s
        if self.deadline < self.armed:
            self.owner.deadlines.arm(self)

    def send_data(self, data: bytes, end: bool) -> None:
        """More of the request's body; the time for the answer counts from here."""
        if self._state == CLOSED:
            return
        if data:
            self.write(data)
        if end:
            self.request_sent = True
        if self._state == HEAD or self._state == TUNNEL:
            self._set_deadline(self.owner.deadlines.clock() + self._timeout_s)

    def expect_progress(self, idle_timeout_s: float, now: float) -> None:
        """From now on each read may take this long (seconds; inf for ever)."""
        self._timeout_s = idle_timeout_s
        if self._state != CLOSED and self._state != IDLE and not self._paused:
            self._set_deadline(now + idle_timeout_s)

    def cancel(self) -> None:
        """The user no longer wants the answer: nothing more is told, and the connection is closed."""
        self.close()

    def close(self) -> None:
        """Close at once where something is unfinished, in good order where nothing is, or in a tunnel."""
        if self._state != CLOSED:
            in_order = self._state == IDLE or self._state == TUNNEL or self.user is None
            self._lose()
            if in_order:
                self.flush()
                self.transport.close()
                if self.transport.get_write_buffer_size():
                    self._set_deadline(self.owner.deadlines.clock() + CLOSE_S)
            else:
                self.unsent = b""
                self.transport.abort()

    def begin_idle(self) -> None:
        """Fresh from the dial: idle until it is leased."""
        self._set_deadline(self.owner.deadlines.clock() + self.idle_timeout_s)

    def close_unopened(self) -> None:
        """The dial failed; where TLS failed, a transport was made already."""
        if self.transport is not None:
            self.close()

    def pause_reading(self) -> None:
        """The client is slow: its time does not count against the target."""
        if not self._paused and self._state != CLOSED:
            self._paused = True
            self.deadline = inf
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and self._state != CLOSED:
            self._paused = False
            self.transport.resume_reading()
            self._set_deadline(self.owner.deadlines.clock() + self._timeout_s)

    # --- the socket ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=64 * 1024)
        self.owner.opened(self)

    def data_received(self, data: bytes) -> None:
        now = self.owner.deadlines.clock()
        state = self._state
        try:
            if state == HEAD:
                if self.unsent and self._whole:
                    self._fail("upstream_reset", "the upstream sent bytes that nobody had asked for")
                    return
                if self._pending:
                    data = self._pending + data
                    self._pending = b""
                self._read_head(data, now)
            elif state == IDLE or state == CLOSED:
                self.close()
            else:
                self._set_deadline(now + self._timeout_s)
                self._read_body(data, now)
        except GatewayError as error:
            self._fail("upstream_protocol", error.detail)
        if self.outbox.urgent:  # the upstream has room: whose turn it is must not wait for what others read
            self.outbox.hurry()

    def eof_received(self) -> bool:
        """The target ended its side; ours ends too, at once, so that nothing more is written to it."""
        if self._state == IDLE:
            self.close()
        elif self._state == TUNNEL:
            self._end_tunnel()
        elif self._state == UNTIL_END and self.user is not None and self._ended_in_order():
            user, now = self.user, self.owner.deadlines.clock()
            self._release(now)
            user.on_data(b"", True, None, now)
        elif self._state != CLOSED:
            self._break()
        return False

    def _ended_in_order(self) -> bool:
        """Whether a TLS peer said that it was done (close_notify); a bare FIN may be a cut (RFC 9112 section 9.8)."""
        tls = self.transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return bool(tls.read(1) == b"")
        except ssl.SSLError as error:
            return isinstance(error, ssl.SSLZeroReturnError)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state == TUNNEL:
            self._end_tunnel()
        elif self._state == IDLE or self._state == CLOSED:
            self._lose()
        else:
            self._break()
        self.owner.deadlines.forget(self)
        self.unsent = b""
        self.transport = cast(asyncio.Transport, None)

    def pause_writing(self) -> None:
        if self.user is not None:
            self.user.on_target_slow()

    def resume_writing(self) -> None:
        if self.user is not None:
            self.user.on_target_ready()

    def on_deadline(self, now: float) -> None:
        if self._state == IDLE:
            self.close()
        elif self._state == TUNNEL:
            self._end_tunnel()
        elif self._state == CLOSED:
            self.transport.abort()
        else:
            what = "begin its answer" if self._state == HEAD else "go on with its answer"
            self._fail("upstream_timeout", f"the upstream did not {what} within {self._timeout_s:g}s")

    # --- reading the answer -------------------------------------------------------------------------------------

    def _read_head(self, data: bytes, now: float) -> None:
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > ANSWER_LIMITS.headers_bytes:
                    raise GatewayError("upstream_protocol", "the upstream's head is too large")
                if not b"HTTP/1.".startswith(data[:7]) and not data.startswith(b"HTTP/1."):
                    raise GatewayError("upstream_protocol", "the upstream's answer is not HTTP/1.1")
                if data.count(b"\n") != data.count(b"\r\n"):
                    raise GatewayError("upstream_protocol", "a line of the upstream's head ends in a bare LF")
                self._pending = data
                return
            end += 4
            head = self.owner.memo.parse(data[:end])
            data = data[end:]
            if head.status >= 200 or head.status == 101:
                break
            self._interim(head)
            if self._state != HEAD:
                return
        if head.status == 101:
            self._upgrade(head, data)
        else:
            self._answer(head, data, now)

    def _interim(self, head: ResponseHead) -> None:
        self._interims += 1
        if self._interims > MAX_INTERIM:
            raise GatewayError("upstream_protocol", f"more than {MAX_INTERIM} informational answers")
        if self.user is not None:
            self.user.on_interim(head)

    def _answer(self, head: ResponseHead, data: bytes, now: float) -> None:
        user = cast(User, self.user)
        self._keep = head.keep_alive
        if head.idle_timeout_s is not None:
            self.idle_timeout_s = head.idle_timeout_s
        length = head.length if self._method != "HEAD" else 0
        if head.bodiless:
            length = 0
        if length >= 0:
            size = len(data)
            if size >= length:
                if size > length:
                    data = data[:length]
                    self._keep = False
                self._release(now)
                user.on_head(head, data, True, now)
                return
        body = BodyReader(length, ANSWER_LIMITS)
        data = body.feed(data)
        if body.done:
            self._keep = self._keep and not body.rest
            if body.trailers is None:
                self._release(now)
                user.on_head(head, data, True, now)
            else:
                user.on_head(head, data, False, now)
                if self.user is user:
                    self._release(now)
                    user.on_data(b"", True, body.trailers, now)
            return
        self._body = body
        self._state = UNTIL_END if length == UNTIL_CLOSE else BODY
        self._keep = self._keep and length != UNTIL_CLOSE
        user.on_head(head, data, False, now)

    def _read_body(self, data: bytes, now: float) -> None:
        user = cast(User, self.user)
        body = self._body
        if body is None:
            user.on_data(data, False, None, now)
            return
        data = body.feed(data)
        if body.done:
            self._keep = self._keep and not body.rest
            self._release(now)
            user.on_data(data, True, body.trailers, now)
        elif data:
            user.on_data(data, False, None, now)

    def _upgrade(self, head: ResponseHead, data: bytes) -> None:
        user = cast(User, self.user)
        self._state = TUNNEL
        self._keep = False
        user.on_upgrade(head, data)

    # --- ends ---------------------------------------------------------------------------------------------------

    def _release(self, now: float) -> None:
        """The answer is whole: back to the idle ones, or closed where anything is in doubt."""
        self.user = None
        self._body = None
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if self._keep and self.request_sent:
            self._state = IDLE
            self.deadline = now + self.idle_timeout_s
            if self.deadline < self.armed:
                self.owner.deadlines.arm(self)
            self.owner.give_back(self)
        else:
            self.close()

    def _end_tunnel(self) -> None:
        user = cast(User, self.user)
        self.close()
        user.on_tunnel_end()

    def _break(self) -> None:
        self._fail("upstream_reset", "the upstream closed the connection before its answer was whole")

    def _fail(self, reason: str, detail: str) -> None:
        user = self.user
        sent = not (self.unsent and self._whole)
        self.close()
        if user is not None:
            user.on_failure(reason, detail, sent)

    def _lose(self) -> None:
        """Mark as closed and tell the owner, once."""
        if self._state != CLOSED:
            self._state = CLOSED
            self.user = None
            self._pending = b""
            self._body = None
            self.owner.deadlines.forget(self)
            self.owner.closed(self)

    def _set_deadline(self, deadline: float) -> None:
        self.deadline = deadline
        if deadline < self.armed:
            self.owner.deadlines.arm(self)

    @property
    def is_idle(self) -> bool:
        return self._state == IDLE

    def __repr__(self) -> str:
        return f"<UpstreamConnection {_STATES[self._state]} served={self.served}>"
