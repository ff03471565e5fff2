"""Connection scopes (ASGI 3.0, specs/www)."""

from typing import Any, Final
from urllib.parse import unquote

from gateway.pipeline.apps.mount import Mount, client_address
from gateway.pipeline.lane import Lane

Scope = dict[str, Any]

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
"""2.4: `send` raises OSError when the client is gone, so frameworks need not listen for that while they answer."""
_WEBSOCKET_SCHEMES: Final = {"http": "ws", "https": "wss"}


def http_scope(lane: Lane, mount: Mount, state: dict[str, Any]) -> Scope:
    """Of a request."""
    return {
        "type": "http",
        "asgi": dict(_ASGI),
        "method": lane.request.method,
        "scheme": lane.call.scheme,
        **_common(lane, mount, state),
    }


def websocket_scope(lane: Lane, mount: Mount, state: dict[str, Any], subprotocols: list[str]) -> Scope:
    """Of a WebSocket that waits to be accepted."""
    return {
        "type": "websocket",
        "asgi": dict(_ASGI),
        "scheme": _WEBSOCKET_SCHEMES.get(lane.call.scheme, "ws"),
        "subprotocols": subprotocols,
        "extensions": {"websocket.http.response": {}},
        **_common(lane, mount, state),
    }


def _common(lane: Lane, mount: Mount, state: dict[str, Any]) -> Scope:
    request = lane.request
    place = mount.place(request.path, lane.call.match)
    path = place.root + place.path
    return {
        "http_version": lane.call.protocol.removeprefix("HTTP/"),
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "root_path": unquote(place.root),
        "query_string": request.query.encode(),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in mount.fields(lane)],
        "client": client_address(lane) if lane.call.client_ip else None,
        "server": _server(lane),
        "state": state.copy(),
    }


def _server(lane: Lane) -> tuple[str, int | None] | None:
    """(host, port) that it listens on, or (path, None)."""
    name = lane.connection.transport.get_extra_info("sockname")
    if isinstance(name, tuple):
        return name[0], name[1]
    return (name, None) if isinstance(name, str) and name else None
