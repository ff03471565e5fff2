"""How an answer goes out to a client: framed as its version takes it; 101 and the tunnel behind it."""

from abc import abstractmethod
from math import inf
from typing import Final

from gateway.transport.ending import BODY, CLOSED, DISCARDING, TUNNEL, EndingConnection
from gateway.wire.chunked import encode_chunk
from gateway.wire.write import CONTINUE, STATUS_LINES

DISCARD_LIMIT: Final = 256 * 1024
"""A request body that nobody wants is read up to this to keep the connection; beyond, the connection is closed."""


class AnsweringConnection(EndingConnection):
    """A client connection as far as its answers go. Who inherits sets the attributes."""

    __slots__ = ("_chunked_out", "expects_continue", "version")

    version: str
    """Of the request, such as `HTTP/1.1`."""
    expects_continue: bool
    _chunked_out: bool

    @abstractmethod
    def resume_reading(self) -> None: ...

    @abstractmethod
    def _become_idle(self, now: float) -> None: ...

    @abstractmethod
    def _body_progress(self) -> None: ...

    def continue_request(self) -> None:
        """Tell a client that waits (`Expect: 100-continue`) to send its body (RFC 9110 10.1.1)."""
        if self.expects_continue and self._state == BODY:
            self.expects_continue = False
            self.write(CONTINUE)

    def send_interim(self, data: bytes) -> None:
        """Pass an informational answer on; an HTTP/1.0 client has no use for it."""
        if self._state != CLOSED and self.version == "HTTP/1.1":
            self.write(data)

    def send(self, status: int, lines: str, length: int, data: bytes, end: bool, now: float) -> None:
        """Send the head of the answer with the first of its body.

        length: bytes of the body, or below 0 where it is not known: then it is sent in chunks, or to an HTTP/1.0
        client until the connection closes. `lines` are complete field lines, framing excepted (Content-Length stays).
        """
        exchange = self.exchange
        if exchange is None:
            return
        if self.teller is not None:
            self.teller.on_answer(status, lines, length, data, end)
            return
        exchange.status = status
        if length < 0 or self._state == BODY or not self._keep_alive or self.version != "HTTP/1.1":
            lines += self._framing(length, data, end)
        head = f"{STATUS_LINES[status]}{lines}\r\n".encode("latin-1")
        if data:
            exchange.bytes_out += len(data)
            head += encode_chunk(data) if self._chunked_out else data
        self.write(head)
        if end:
            self._finish(b"", "", now)

    def send_data(self, data: bytes, end: bool, trailers: str, now: float) -> None:
        """Send more of the body."""
        exchange = self.exchange
        if exchange is None:
            return
        if self.teller is not None:
            self.teller.on_answer_data(data, end, trailers)
            return
        if data:
            exchange.bytes_out += len(data)
            if self._chunked_out:
                data = encode_chunk(data)
                if end:
                    self._finish(data, trailers, now)
                    return
            self.write(data)
        if end:
            self._finish(b"", trailers, now)

    def become_tunnel(self, head: bytes) -> bytes:
        """Send `head` (101) and pass bytes both ways from here on; returns what the client sent already."""
        self._state = TUNNEL
        self.teller = None
        self._wait_until(inf)
        if self.exchange is not None:
            self.exchange.status = 101
        self.write(head)
        early, self._buffer = self._buffer, b""
        self.resume_reading()
        return early

    def write_tunnel(self, data: bytes) -> None:
        if self._state == TUNNEL:
            self.write(data)

    def close_tunnel(self, *, linger: bool = False) -> None:
        """Send what is buffered, then close; linger: after the client has, within LINGER_S."""
        if self._state == TUNNEL:
            self.sink = None
            self._end_exchange(None)
            if linger:
                self._linger()
            else:
                self._close()

    def _framing(self, length: int, data: bytes, end: bool) -> str:
        """The lines that say where the answer ends and what becomes of the connection."""
        lines = ""
        if self._state == BODY and not self._can_discard():
            self._keep_alive = False
        if length < 0 and not (end and not data):
            if self.version == "HTTP/1.1":
                self._chunked_out = True
                lines = "Transfer-Encoding: chunked\r\n"
            else:
                self._keep_alive = False
        if not self._keep_alive:
            lines += "Connection: close\r\n"
        elif self.version == "HTTP/1.0":
            lines += "Connection: keep-alive\r\n"
        return lines

    def _finish(self, data: bytes, trailers: str, now: float) -> None:
        """The answer is out as a whole: end the exchange, then go on, discard the rest of the body, or close."""
        if self._chunked_out:
            self._chunked_out = False
            self.write(data + f"0\r\n{trailers}\r\n".encode("latin-1"))
        self.sink = None
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self.listener.handler.finished(exchange, now)
        if self._state == BODY:
            if not self._keep_alive or self.expects_continue:
                self._linger()
                return
            self._state = DISCARDING
            self.resume_reading()
            self._body_progress()
            return
        if not self._keep_alive:
            self._close()
            return
        self._become_idle(now)

    def _can_discard(self) -> bool:
        """Whether the rest of the request's body is known to be small enough to be read and dropped."""
        body = self._body
        return not self.expects_continue and body is not None and (body.is_chunked or body.left <= DISCARD_LIMIT)
