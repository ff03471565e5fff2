"""Answers of the gateway's own: the only place where an error becomes an answer, and fixed answers and redirects."""

from email.utils import formatdate
from math import ceil
from time import time
from typing import Final

from gateway.core.errors import GatewayError
from gateway.core.exchange import Exchange
from gateway.core.json import dumps
from gateway.decide.route.rewrite import Redirect
from gateway.pipeline.edits import Editor
from gateway.pipeline.route import Answer, Call
from gateway.pipeline.settings import RespondSettings
from gateway.transport.server import ServerConnection
from gateway.wire.hops import lines_of

_dates: Final[dict[int, str]] = {}
"""The text of one second: the present one."""
RETRY_AFTER_S: Final = 1
"""With 429 and 503, where nothing better is known."""


def respond_error(
    connection: ServerConnection, exchange: Exchange, error: GatewayError, now: float, allow: tuple[str, ...] = ()
) -> None:
    """Answer with problem+json (RFC 9457), or cut the connection where an answer is under way already."""
    reason = error.reason
    if exchange.status:
        connection.abort("upstream_truncated" if reason.by_target else reason.name)
        return
    exchange.reason = reason.name
    exchange.source = "gateway"
    status = error.status
    if status == 400:
        connection.drain()  # who sends what has two meanings gets no second try (RFC 9112 section 9.3.2)
    body = problem(error, exchange.request_id)
    lines = f"Content-Type: application/problem+json\r\nX-Gateway-Reason: {reason.name}\r\n"
    if status in (429, 503):
        lines += f"Retry-After: {ceil(error.retry_after_s) or RETRY_AFTER_S}\r\n"
    if status == 405:
        lines += f"Allow: {', '.join(allow)}\r\n"
    send_whole(connection, exchange, status, lines, body, now)


def problem(error: GatewayError, request_id: str) -> bytes:
    """The body of such an answer."""
    return dumps(
        {
            "type": f"urn:gateway:{error.reason.name}",
            "title": error.reason.title,
            "status": error.status,
            "detail": error.detail,
            "request_id": request_id,
        }
    )


def send_whole(
    connection: ServerConnection, exchange: Exchange, status: int, lines: str, body: bytes, now: float
) -> None:
    """Send a whole answer: to HEAD without its body, with the length that a GET would get."""
    size = len(body)
    length = "" if status == 204 or status == 304 else f"Content-Length: {size}\r\n"
    if exchange.method == "HEAD" or not length:
        body = b""
    head = f"Date: {http_date()}\r\n{lines}{length}X-Request-Id: {exchange.request_id}\r\n"
    connection.send(status, head, size, body, True, now)


def http_date() -> str:
    """Now, as an IMF-fixdate (RFC 9110 section 5.6.7)."""
    second = int(time())
    text = _dates.get(second)
    if text is None:
        _dates.clear()
        text = _dates[second] = formatdate(second, usegmt=True)
    return text


class Respond(Answer):
    """A fixed answer."""

    def __init__(self, settings: RespondSettings, response_edit: Editor | None) -> None:
        self._status = settings.status
        self._body = settings.body
        lines = lines_of(settings.headers)
        self._lines = response_edit.apply(lines) if response_edit else lines

    def begin(self, call: Call) -> None:
        call.source = "respond"
        send_whole(call.connection, call, self._status, self._lines, self._body, call.started_at)


class RedirectAnswer(Answer):
    """A redirect whose location may take on what the route's `/*` matched."""

    def __init__(self, redirect: Redirect, status: int, response_edit: Editor | None) -> None:
        self._redirect = redirect
        self._status = status
        self._edit = response_edit

    def begin(self, call: Call) -> None:
        call.source = "respond"
        location = self._redirect(call.match.rest, call.head.query)
        lines = f"Location: {location}\r\n"
        if self._edit:
            lines = self._edit.apply(lines)
        send_whole(call.connection, call, self._status, lines, b"", call.started_at)


def redirect_to_https(call: Call) -> None:
    """Every request of a listener with `redirect: https` goes to the same place, with TLS."""
    if not call.head.host:
        raise GatewayError("bad_request", "a redirect to https needs a Host field")
    call.source = "respond"
    query = "" if call.query is None else f"?{call.query}"
    lines = f"Location: https://{call.head.host}{call.path}{query}\r\n"
    send_whole(call.connection, call, 308, lines, b"", call.started_at)
