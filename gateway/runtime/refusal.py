"""The answer to a connection beyond `limits.connections`, sent before any request was read."""

import os

from gateway.core.errors import REASONS
from gateway.core.json import dumps


def refusal() -> bytes:
    """A whole answer that closes the connection."""
    reason = REASONS["shed_overload"]
    request_id = os.urandom(16).hex()
    body = dumps(
        {
            "type": f"urn:gateway:{reason.name}",
            "title": reason.title,
            "status": reason.status,
            "detail": "the gateway has as many connections as limits.connections allows",
            "request_id": request_id,
        }
    )
    head = (
        f"HTTP/1.1 {reason.status} Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        f"X-Gateway-Reason: {reason.name}\r\nRetry-After: 1\r\nContent-Length: {len(body)}\r\n"
        f"X-Request-Id: {request_id}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
