"""A WebSocket on the server's side, without I/O (RFC 6455): bytes in, whole messages out, and back.

The frames are the work of `websockets`; here fragments become messages and text is checked. No extension is offered:
with permessage-deflate a small frame can become a large message.
"""

import logging
from typing import Final

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, ProtocolError
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.core.errors import GatewayError
from gateway.wire.hops import Lines

NORMAL, AWAY, NO_CODE, ABNORMAL, NOT_UTF8, FAILED = 1000, 1001, 1005, 1006, 1007, 1011
"""Codes of RFC 6455 section 7.4.1."""

_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_quiet: Final = logging.getLogger(__name__)
_quiet.setLevel(logging.ERROR)  # the library would tell of each connection


class WebSocket:
    """One connection, from its handshake to its end."""

    def __init__(self, path: str, lines: Lines, max_bytes: int | None) -> None:
        """path, lines: of the request; max_bytes: of a message, None: any. Raises GatewayError bad_request."""
        self._protocol = ServerProtocol(state=State.OPEN, max_size=max_bytes, logger=_quiet)
        try:
            self.accept, _, _ = self._protocol.process_request(Request(path, Headers(lines)))
        except InvalidHandshake as error:
            raise GatewayError("bad_request", f"the WebSocket handshake is not valid: {error}") from None
        self._begun = bytearray()
        """The fragments so far of a message that has more to come."""
        self._is_text = False
        self._deaf = False

    def feed(self, data: bytes) -> list[str | bytes]:
        """The messages that `data` completes, in their order. What it makes necessary is in `to_send`."""
        self._protocol.receive_data(data)
        messages: list[str | bytes] = []
        for frame in self._protocol.events_received():
            if isinstance(frame, Frame) and int(frame.opcode) <= _BINARY and not self._deaf:
                self._add(frame, messages)
        return messages

    def _add(self, frame: Frame, messages: list[str | bytes]) -> None:
        kind = int(frame.opcode)
        if kind != _CONTINUATION:
            self._is_text = kind == _TEXT
        self._begun += frame.data
        if not frame.fin:
            return
        data = bytes(self._begun)
        self._begun.clear()
        if not self._is_text:
            messages.append(data)
            return
        try:
            messages.append(data.decode())
        except UnicodeDecodeError:
            self.fail(NOT_UTF8, "a text message is not UTF-8")

    @property
    def unfinished(self) -> int:
        """Bytes here of what has more to come."""
        return len(self._protocol.reader.buffer) + len(self._begun)

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent: nobody has begun to close."""
        return self._protocol.state is State.OPEN

    def send(self, message: str | bytes) -> None:
        """To be called while it is open."""
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)

    def ping(self) -> None:
        self._protocol.send_ping(b"")

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, where nobody has. Raises ValueError on what cannot be its code or reason."""
        if not self.is_open:
            return
        try:
            self._protocol.send_close(code, reason)
        except ProtocolError as error:
            raise ValueError(f"a WebSocket is not closed with {code} {reason!r}: {error}") from None

    def deafen(self) -> None:
        """Hand out no more messages."""
        self._deaf = True
        self._begun.clear()

    def fail(self, code: int, reason: str) -> None:
        """End it without the client's part."""
        self.deafen()
        if not self._protocol.eof_sent:
            self._protocol.fail(code, reason)

    def eof(self) -> None:
        """The client ended its side."""
        self._protocol.receive_eof()

    def to_send(self) -> tuple[bytes, bool]:
        """What is to be written, and whether the connection is to be closed behind it."""
        pieces = self._protocol.data_to_send()
        return b"".join(pieces), b"" in pieces

    @property
    def ended_by(self) -> tuple[int, str]:
        """(code, reason) of the end: the client's, else ours; 1006 where there was no closing handshake."""
        close = self._protocol.close_rcvd or self._protocol.close_sent
        return (ABNORMAL, "") if close is None else (int(close.code), close.reason)

    def __repr__(self) -> str:
        return f"<WebSocket {self._protocol.state.name.lower()}>"
