"""What plugins changed of a request that goes on to an upstream."""

import re
from typing import Final

from gateway.core.errors import GatewayError
from gateway.core.message import Request
from gateway.pipeline.request import ClientRequest
from gateway.pipeline.route import Call, Changes
from gateway.wire.fields import CHUNKED
from gateway.wire.hops import lines_of
from gateway.wire.names import field_name

_PATH: Final = re.compile(r"/[!\"$->@-~]*").fullmatch
_QUERY: Final = re.compile(r"[!\"$-~]*").fullmatch


def changes_of(request: ClientRequest, call: Call) -> Changes | None:
    """Compare what plugins left with what came; a changed body becomes the call's. Raises GatewayError plugin_error."""
    path = request.path if request.path != call.normal_path else None
    query = request.query if request.query != (call.query or "") else None
    if (path is not None and not _PATH(path)) or (query is not None and not _QUERY(query)):
        raise GatewayError("plugin_error", "a plugin set a path or a query with characters that must be encoded")
    body_changed = request.has_body and request.body != call.data
    if body_changed:
        call.data, call.end = request.body, True
    lines = _lines(request, call) if body_changed or request.headers_changed else None
    if path is None and query is None and lines is None:
        return None
    return Changes(path, query, lines)


def _lines(request: Request, call: Call) -> str:
    """The fields that may cross, and the length of a body that is sent with one."""
    kept = [
        (name, value)
        for name, value in request.headers.items()
        if name.lower() != "content-length" and (known := field_name(name)) is not None and known.to_target
    ]
    length = call.head.fields.length
    if length != CHUNKED and ((call.end and call.data) or length):
        kept.append(("Content-Length", str(len(call.data) if call.end else length)))
    return lines_of(kept)
