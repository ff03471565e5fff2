"""A client connection: HTTP/1.x in, one request at a time, answers out in order.

    head ---> body ---> waiting ---> (answer sent) ---> idle ---> head ...
                \\-> discarding the rest -> idle, or lingering -> closed         upgraded: tunnel

The connection frames and times; what to answer is the Handler's. It never reads ahead without bound: while an
exchange is under way at most READ_AHEAD bytes of later requests are kept, and reading pauses beyond (below that it
goes on, since a paused socket shows neither FIN nor RST).
"""

import asyncio
from math import inf
from typing import Any, Final, cast

from gateway.core.errors import GatewayError
from gateway.transport.answering import DISCARD_LIMIT, AnsweringConnection
from gateway.transport.ending import BODY, CLOSED, DISCARDING, HEAD, IDLE, LINGERING, STATES, TUNNEL, WAITING
from gateway.transport.listener import Listener
from gateway.wire.body import BodyReader
from gateway.wire.head import RequestHead, check_partial_head, empty_lines

READ_AHEAD: Final = 64 * 1024
"""Bytes of pipelined requests kept while an exchange is under way."""
REQUESTS_PER_CALLBACK: Final = 16
"""Pipelined requests begun in one callback; the rest wait for the next turn of the loop."""


class ServerConnection(AnsweringConnection):
    """One client connection."""

    __slots__ = (
        "__weakref__",
        "_body_seen",
        "_resuming",
        "_scanned",
        "body_limit",
        "forwarding",
        "peer",
        "tls",
    )

    def __init__(self, listener: Listener, peer: str | None = None) -> None:
        """`peer` is the client's address where a PROXY header told it."""
        self.listener = listener
        self.peer = peer
        self.tls: str | None = None
        self.transport = cast(asyncio.Transport, None)
        self.outbox = listener.outbox
        self.unsent = b""
        self.sink = None
        self.teller = None
        self.exchange = None
        self.deadline = self.armed = inf
        self.version = "HTTP/1.1"
        self.body_limit: int | None = None
        self.expects_continue = False
        self.forwarding: Any = None
        """A place for the handler to keep what it worked out about this client."""
        self._state = IDLE
        self._buffer = b""
        self._scanned = 0
        self._body_seen = 0
        self._body = None
        self._keep_alive = True
        self._chunked_out = False
        self._paused = False
        self._read_ahead = 0
        self._resuming = False
        self._held = 0
        self._stalled_at = -1

    # --- the socket ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        listener = self.listener
        if self.peer is None:
            name = transport.get_extra_info("peername")
            self.peer = name[0].partition("%")[0].removeprefix("::ffff:") if isinstance(name, tuple) else ""
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is not None:
            cipher = ssl_object.cipher()
            self.tls = f"{ssl_object.version()} {cipher[0] if cipher else ''}".strip()
        listener.connections.add(self)
        listener.on_open()
        self._set_deadline(listener.deadlines.clock() + listener.settings.header_timeout_s)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state <= HEAD:
            self._read_head(data)
        elif state == BODY:
            self._read_body(data)
        elif state == WAITING:
            self._keep_for_later(data)
        elif state == TUNNEL:
            self.exchange.bytes_in += len(data)  # type: ignore[union-attr]
            self.sink.on_request_data(data, False)  # type: ignore[union-attr]
        elif state == DISCARDING:
            self._discard(data)

    def eof_received(self) -> bool:
        """A client that closes its side has given up what it asked for (as nginx and Go's net/http see it).

        What it has not taken yet may still take a while to go out; nothing is added to it.
        """
        self.flush()
        self._give_up()
        self._state = LINGERING
        self._wait_until(self._now() + self.listener.settings.body_timeout_s)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._give_up()
        self._state = CLOSED
        listener = self.listener
        listener.connections.discard(self)
        listener.deadlines.forget(self)
        listener.on_close()
        self._release_held()
        self._buffer = self.unsent = b""
        self._body = None
        self.transport = cast(asyncio.Transport, None)

    def go_on(self) -> None:
        """The client takes its answers again: from the deadline of a slow reader back to that of the state."""
        state = self._state
        if state == IDLE:
            self._become_idle(self._now())
        elif state == HEAD:
            self._set_deadline(self._now() + self.listener.settings.header_timeout_s)
            self.resume_reading()
            self._resume_soon()
        elif state == DISCARDING or (state == BODY and not self._paused):
            self._body_progress()
        elif state == BODY or state == WAITING or state == TUNNEL:
            self.deadline = inf

    def on_deadline(self, now: float) -> None:
        state = self._state
        if self._stalled_at >= 0 and state != CLOSED:
            self._check_progress(now)
        elif state == IDLE:
            self._close()
        elif state == HEAD:
            self._reject(GatewayError("request_timeout", "the request head did not arrive in time"))
        elif state == BODY:
            self._fail_body(GatewayError("request_timeout", "the request body stopped arriving"))
        elif state != CLOSED:
            self.transport.abort()

    # --- reading ------------------------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        """Begin as many requests as `data` completes, up to the cap; none while answers wait for a slow client."""
        if self._stalled_at >= 0:
            self._keep_for_later(data)
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        budget = REQUESTS_PER_CALLBACK
        while data and self._state <= HEAD:
            if budget == 0 or self._stalled_at >= 0:
                self._buffer = data
                self._resume_soon()
                if len(data) > READ_AHEAD:
                    self.pause_reading()
                return
            budget -= 1
            try:
                rest = self._next_request(data)
            except GatewayError as error:
                self._reject(error)
                return
            if rest is None:
                return
            data = rest
        if data:
            if self._state == WAITING:
                self._keep_for_later(data)
            else:
                self.data_received(data)

    def _next_request(self, data: bytes) -> bytes | None:
        """Begin the request at the start of `data`; what is behind it, or None where its head is not whole yet."""
        start = empty_lines(data) if data[0] in b"\r\n" else 0
        end = data.find(b"\r\n\r\n", self._scanned if self._scanned > start else start)
        if end < 0:
            self._scanned = check_partial_head(data, start, self._scanned, self.listener.settings.head)
            self._wait_for_head(data)
            return None
        self._scanned = 0
        line_end = data.find(b"\r\n", start)
        limits = self.listener.settings.head
        if line_end - start > limits.line_bytes:
            raise GatewayError("uri_too_long", f"the request line exceeds {limits.line_bytes} bytes")
        fields = self.listener.fields(data[line_end + 2 : end + 4])
        head = RequestHead(data[start:line_end].decode("latin-1"), fields)
        return self._begin(head, data[end + 4 :])

    def _begin(self, head: RequestHead, data: bytes) -> bytes:
        """Hand the request to the handler with the part of its body that is here; what is behind it."""
        self.version = head.version
        self._keep_alive = head.keep_alive and not self.listener.draining
        self.deadline = inf
        fields = head.fields
        length = fields.length
        self.expects_continue = fields.expects is not None and head.version == "HTTP/1.1" and not data
        self._body_seen = 0
        self.body_limit = None
        if length == 0:
            self._state = WAITING
            self.listener.handler.handle(self, head, b"", True)
            return data
        self._state = BODY
        self._body = body = BodyReader(length, self.listener.settings.head)
        piece, end = body.feed(data), body.done
        self._body_seen = len(piece)
        if end:
            self._state = WAITING
            self._body = None
        else:
            self._body_progress()
        self.listener.handler.handle(self, head, piece, end)
        return body.rest

    def _read_body(self, data: bytes) -> None:
        body = cast(BodyReader, self._body)
        try:
            piece, end = body.feed(data), body.done
        except GatewayError as error:
            self._fail_body(error)
            return
        self._body_seen += len(piece)
        if self.exchange is not None:
            self.exchange.bytes_in += len(piece)
        if self.body_limit is not None and self._body_seen > self.body_limit:
            self._fail_body(GatewayError("body_too_large", f"the body exceeds {self.body_limit} bytes"))
            return
        if end:
            self._state = WAITING
            self._body = None
            self._wait_until(inf)
            if body.rest:
                self._keep_for_later(body.rest)
        else:
            self._body_progress()
        if self.sink is not None and (piece or end):
            self.sink.on_request_data(piece, end)

    def _body_progress(self) -> None:
        self._wait_until(self._now() + self.listener.settings.body_timeout_s)

    def _fail_body(self, error: GatewayError) -> None:
        """The body broke its framing, its limit or its time: answer if nothing went out yet, else cut."""
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.on_client_gone()
        if self.exchange is not None and self.exchange.status:
            self.abort(error.reason.name)
        else:
            self._reject(error)

    def _keep_for_later(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > READ_AHEAD:
            self.pause_reading()

    def _wait_for_head(self, data: bytes) -> None:
        if self._state == IDLE:
            self._state = HEAD
            self._set_deadline(self._now() + self.listener.settings.header_timeout_s)
        self._buffer = data
        self.resume_reading()

    def _discard(self, data: bytes) -> None:
        """Read the rest of a body whose answer is out already; then go on, unless it is too much."""
        body = cast(BodyReader, self._body)
        try:
            self._body_seen += len(body.feed(data))
        except GatewayError:
            self._close()
            return
        if body.done:
            self._body = None
            if not self._keep_alive:
                self._close()
                return
            self._become_idle(self._now())
            if body.rest:
                self._read_head(body.rest)
        elif self._body_seen > DISCARD_LIMIT:
            self._linger()

    def pause_reading(self) -> None:
        """Stop reading from the client; its time does not count meanwhile."""
        if not self._paused and self._state != CLOSED:
            self._paused = True
            self.transport.pause_reading()
            if self._state == BODY:
                self._wait_until(inf)

    def resume_reading(self) -> None:
        if self._paused and self._state != CLOSED:
            self._paused = False
            self.transport.resume_reading()
            if self._state == BODY:
                self._body_progress()

    def _become_idle(self, now: float) -> None:
        self._state = IDLE
        if self._stalled_at >= 0:
            return
        self.deadline = now + self.listener.settings.keep_alive_s
        if self.deadline < self.armed:
            self.listener.deadlines.arm(self)
        if self._paused:
            self.resume_reading()
        if self._buffer:
            self._resume_soon()

    def _resume_soon(self) -> None:
        """Go on with the requests in the buffer at the next turn of the loop, so that one client does not hog it."""
        if not self._resuming:
            self._resuming = True
            self.listener.call_soon(self._resume)

    def _resume(self) -> None:
        self._resuming = False
        if self._state <= HEAD and self._buffer:
            self._read_head(b"")

    def _reject(self, error: GatewayError) -> None:
        """Answer what is not a request and never read this connection again (RFC 9112 section 9.3)."""
        self._keep_alive = False
        self._buffer = b""
        self._body = None
        self.expects_continue = False
        self._state = BODY
        self.listener.handler.reject(self, error)

    def __repr__(self) -> str:
        return f"<ServerConnection {self.peer} {STATES[self._state]}>"
