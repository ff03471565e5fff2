"""The opening handshake of a WebSocket (RFC 6455 section 4.2), judged by the library that reads the frames."""

import logging
from dataclasses import dataclass
from typing import Final

from websockets.datastructures import Headers as Fields
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.core.errors import GatewayError
from gateway.core.message import Headers
from gateway.pipeline.lane import Lane
from gateway.wire.hops import lines_of
from gateway.wire.write import STATUS_LINES

_OURS: Final = frozenset(
    "connection upgrade sec-websocket-accept sec-websocket-extensions sec-websocket-protocol content-length"
    " transfer-encoding x-request-id".split()
)
_quiet: Final = logging.getLogger(f"{__name__}.frames")
_quiet.setLevel(logging.ERROR)  # it would tell of each connection


@dataclass(frozen=True, slots=True)
class Handshake:
    """A request for a WebSocket that may be accepted."""

    protocol: ServerProtocol
    """Reads and writes frames; open."""
    accept: str
    """Sec-WebSocket-Accept."""

    def head(self, headers: Headers, subprotocol: str | None, request_id: str) -> bytes:
        """The 101 that accepts it."""
        lines = lines_of((name, value) for name, value in headers.items() if name.lower() not in _OURS)
        chosen = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
        ours = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {self.accept}\r\n{chosen}"
        return f"{STATUS_LINES[101]}{ours}{lines}X-Request-Id: {request_id}\r\n\r\n".encode("latin-1")


def handshake_of(lane: Lane) -> Handshake | None:
    """None where it was answered: with 426 to another version of the protocol. Raises GatewayError bad_request."""
    call = lane.call
    version = call.head.fields.get("sec-websocket-version")
    if version is not None and version != "13":
        lane.send_whole(426, Headers([("Sec-WebSocket-Version", "13")]), b"only version 13 is served here\n")
        return None
    if not call.end:
        raise GatewayError("bad_request", "a request for a WebSocket has no body")
    protocol = ServerProtocol(state=State.OPEN, max_size=call.match.value.body_limit, logger=_quiet)
    try:
        accept, _, _ = protocol.process_request(Request(call.path, Fields(call.head.fields.lines)))
    except InvalidHandshake as error:
        raise GatewayError("bad_request", f"the WebSocket handshake is not valid: {error}") from None
    return Handshake(protocol, accept)


def offered(lane: Lane) -> list[str]:
    """The subprotocols that the client offers, in its order."""
    value = lane.call.head.fields.get("sec-websocket-protocol") or ""
    return [name for each in value.split(",") if (name := each.strip(" \t"))]
