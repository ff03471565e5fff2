"""The opening handshake of a WebSocket (RFC 6455 section 4.2) on a route with an application."""

from typing import Final

from gateway.core.errors import GatewayError
from gateway.core.message import Headers
from gateway.pipeline.lane import Lane
from gateway.wire.hops import lines_of
from gateway.wire.websocket import WebSocket
from gateway.wire.write import STATUS_LINES

_OURS: Final = frozenset(
    "connection upgrade sec-websocket-accept sec-websocket-extensions sec-websocket-protocol content-length"
    " transfer-encoding x-request-id".split()
)


def asks_for_websocket(lane: Lane) -> bool:
    """Whether the request wants to become one."""
    call = lane.call
    upgrade = call.head.fields.upgrade
    return upgrade is not None and upgrade.lower() == "websocket" and call.method == "GET" and call.protocol[-1] == "1"


def websocket_of(lane: Lane) -> WebSocket | None:
    """None where it was answered: with 426 to another version of the protocol. Raises GatewayError bad_request."""
    call = lane.call
    version = call.head.fields.get("sec-websocket-version")
    if version is not None and version != "13":
        lane.send_whole(426, Headers([("Sec-WebSocket-Version", "13")]), b"only version 13 is served here\n")
        return None
    if not call.end:
        raise GatewayError("bad_request", "a request for a WebSocket has no body")
    return WebSocket(call.path, call.head.fields.lines, call.match.value.body_limit)


def offered(lane: Lane) -> list[str]:
    """The subprotocols that the client offers, in its order."""
    value = lane.call.head.fields.get("sec-websocket-protocol") or ""
    return [name for each in value.split(",") if (name := each.strip(" \t"))]


def accepting(lane: Lane, websocket: WebSocket, headers: Headers, subprotocol: str | None) -> bytes:
    """The 101. Raises ValueError on a subprotocol that no field can hold."""
    ours = Headers([("Sec-WebSocket-Accept", websocket.accept)])
    if subprotocol is not None:
        ours.add("Sec-WebSocket-Protocol", subprotocol)
    mine = lines_of((name, value) for name, value in headers.items() if name.lower() not in _OURS)
    edit = lane.plan.response_edit
    if edit is not None:
        mine = edit.apply(mine)
    upgrade = f"Upgrade: websocket\r\nConnection: Upgrade\r\n{lines_of(ours.items())}"
    return f"{STATUS_LINES[101]}{upgrade}{mine}X-Request-Id: {lane.call.request_id}\r\n\r\n".encode("latin-1")
