"""Where an application stands in a route: what it sees of the path, of the fields, and of both ends."""

from dataclasses import dataclass
from typing import Any

from gateway.core.errors import GatewayError
from gateway.decide.route.rewrite import Rewrite
from gateway.decide.route.table import Match
from gateway.pipeline.edits import Editor
from gateway.pipeline.lane import Lane
from gateway.pipeline.settings import ForwardSettings
from gateway.wire.hops import lines_of

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """A path in two parts, both still encoded: `root + path` is the whole."""

    root: str
    """What `strip` took off, without a slash at its end."""
    path: str
    """The rest; begins with a slash."""


class Mount:
    """What is the same for all requests of one route to one application."""

    def __init__(self, strip: str, request_edit: Editor | None) -> None:
        """strip: leading segments that are not the application's; request_edit: the route's `headers: request`."""
        self._rewrite = Rewrite(ForwardSettings((), strip=strip)) if strip else None
        self._edit = request_edit

    def place(self, path: str, match: Match[Any]) -> Place:
        """The parts of a normalised path. Raises GatewayError on one that a plugin left in no form to be sent."""
        if not (path.startswith("/") and path.isascii()):
            raise GatewayError("plugin_error", "a plugin set a path that is not one: / and percent-encoded ASCII")
        if self._rewrite is None:
            return Place("", path)
        left = self._rewrite(path, match)
        return Place(path.removesuffix(left), left)

    def fields(self, lane: Lane) -> list[tuple[str, str]]:
        """(name, value) of what the application sees; names with `_` are dropped, since WSGI takes `-` for the same."""
        lines = lane.request.headers.items()
        if self._edit is not None:
            edited = self._edit.apply(lines_of(lines))
            lines = [
                (name, value) for name, _, value in (line.partition(": ") for line in edited.split("\r\n")) if name
            ]
        seen = [(name, value) for name, value in lines if "_" not in name and name.lower() != "x-request-id"]
        return [*seen, ("X-Request-Id", lane.call.request_id)]


def client_address(lane: Lane) -> tuple[str, int]:
    """(address, port) of the client; port 0 where a proxy speaks for it, ("", 0) on a unix socket."""
    name = lane.connection.transport.get_extra_info("peername")
    known = isinstance(name, tuple) and lane.call.client_ip == lane.connection.peer
    return lane.call.client_ip, name[1] if known else 0


def server_address(lane: Lane) -> tuple[str, int]:
    """(host, port) that the client asked for, as far as it said so."""
    authority, default = lane.call.head.authority, _DEFAULT_PORTS.get(lane.call.scheme, 80)
    host, colon, port = authority.rpartition(":")
    if colon and port.isdecimal():
        return host, int(port)
    return authority or "localhost", default
