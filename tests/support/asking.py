"""One request on a connection of its own, and what the gateway logged of it."""

from typing import Any

from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.wait import until


def ask(path: str, *lines: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    """The bytes of a request with a Host field, then the field lines `lines`."""
    length = [f"Content-Length: {len(body)}"] if body else []
    head = [f"{method} {path} HTTP/{version}", "Host: shop.test", *lines, *length, "\r\n"]
    return "\r\n".join(head).encode() + body


def get(gateway: Gateway, path: str, *lines: str, method: str = "GET", body: bytes = b"") -> Answer:
    """The answer, every byte of it."""
    with Raw(gateway.port) as raw:
        return raw.send(ask(path, *lines, method=method, body=body)).answer(method)


def line_of(gateway: Gateway, answer: Answer) -> dict[str, Any]:
    """The access log line of that answer."""
    return gateway.logged(request_id=answer.get("x-request-id"))


def log_of(gateway: Gateway, answer: Answer) -> str:
    """What the gateway's own log says from the line about that request on."""
    wanted = answer.get("x-request-id")
    assert wanted
    return until(lambda: wanted in gateway.errors and gateway.errors[gateway.errors.index(wanted) :])
