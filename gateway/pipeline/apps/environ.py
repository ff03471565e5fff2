"""The environment of a WSGI call (PEP 3333), with the body whole."""

import logging
from collections.abc import Iterable
from io import BytesIO
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from gateway.pipeline.apps.mount import Mount, client_address, server_address
from gateway.pipeline.lane import Lane

_log = logging.getLogger(__name__)
_APART: Final = frozenset({"content-type", "content-length"})
_NEVER: Final = frozenset({"proxy", "transfer-encoding"})
"""HTTP_PROXY would be taken for a setting (CVE-2016-5385 and its kin); the body's coding is undone."""

Environ = dict[str, Any]


def environ_of(lane: Lane, mount: Mount, label: str) -> Environ:
    """All that PEP 3333 asks for; the body must have been collected."""
    request, call = lane.request, lane.call
    place = mount.place(request.path, call.match)
    host, port = server_address(lane)
    address, client_port = client_address(lane)
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": decoded(place.root),
        "PATH_INFO": decoded(place.path),
        "QUERY_STRING": request.query,
        "REQUEST_URI": call.path if call.query is None else f"{call.path}?{call.query}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": call.protocol,
        "REMOTE_ADDR": address,
        "REMOTE_PORT": str(client_port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": call.scheme,
        "wsgi.input": BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": ErrorStream(label),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    _add_fields(environ, mount.fields(lane))
    if request.body or "content-length" in request.headers:
        environ["CONTENT_LENGTH"] = str(len(request.body))
    return environ


def decoded(path: str) -> str:
    """As PEP 3333 has text: each byte a character."""
    return unquote_to_bytes(path).decode("latin-1") if "%" in path else path


def _add_fields(environ: Environ, fields: list[tuple[str, str]]) -> None:
    for name, value in fields:
        lower = name.lower()
        if lower in _NEVER:
            continue
        key = lower.upper().replace("-", "_")
        if lower not in _APART:
            key = f"HTTP_{key}"
        known = environ.get(key)
        between = "; " if lower == "cookie" else ", "
        environ[key] = value if known is None else f"{known}{between}{value}"


class ErrorStream:
    """`wsgi.errors`: each line becomes a line of the gateway's log."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._partial = ""

    def write(self, text: str) -> int:
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._tell(line)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        partial, self._partial = self._partial, ""
        self._tell(partial)

    def _tell(self, line: str) -> None:
        if line.strip():
            _log.warning("%s: %s", self._label, line)
