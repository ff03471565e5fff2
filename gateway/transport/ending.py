"""How an exchange with a client ends, and its connection: in order, cut short, or lingering."""

from typing import Final

from gateway.core.exchange import Exchange
from gateway.transport.pace import PacedConnection
from gateway.transport.sink import Teller
from gateway.wire.body import BodyReader

LINGER_S: Final = 2.0
"""How long a closed connection is still read, so that a reset does not destroy the answer (nginx: lingering_close)."""
IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
WAITING: Final = 3
DISCARDING: Final = 4
LINGERING: Final = 5
TUNNEL: Final = 6
CLOSED: Final = 7
STATES: Final = "idle head body waiting discarding lingering tunnel closed".split()


class EndingConnection(PacedConnection):
    """A client connection as far as its ends go. Who inherits sets the attributes."""

    __slots__ = ("_body", "_buffer", "_keep_alive", "_paused", "_state", "exchange", "teller")

    exchange: Exchange | None
    teller: Teller | None
    _state: int
    _buffer: bytes
    """What came and was not looked at yet."""
    _body: BodyReader | None
    _keep_alive: bool
    _paused: bool
    """Whether reading is paused."""

    def abort(self, reason: str) -> None:
        """Cut the connection: the client must see that the answer is not whole."""
        if self._state == CLOSED:
            return
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.on_client_gone()
        self._end_exchange(reason)
        self._state = CLOSED
        self.unsent = b""
        self.transport.abort()

    def drain(self) -> None:
        """Close with the answer under way, or now if there is none."""
        self._keep_alive = False
        if self._state == IDLE and not self._buffer:
            self._close()

    def _close(self) -> None:
        self._state = LINGERING
        self._set_deadline(self._now() + self.listener.settings.body_timeout_s)
        self.flush()
        self.transport.close()

    def _linger(self) -> None:
        """Say that we are done, and read on for a moment, so that the client gets the answer and not a reset."""
        self._state = LINGERING
        self._buffer = b""
        self._body = None
        self._set_deadline(self._now() + LINGER_S)
        self.flush()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def _give_up(self) -> None:
        """The client is gone: free what works for it."""
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.on_client_gone()
        self._end_exchange(None if self._state == TUNNEL else "client_closed")

    def _end_exchange(self, reason: str | None) -> None:
        teller, self.teller = self.teller, None
        if teller is not None:
            teller.on_gone()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            if reason is not None and exchange.reason is None:
                exchange.reason = reason
            self.listener.handler.finished(exchange, self._now())
