"""Start lines as we write them, and standard reason phrases."""

from http import HTTPStatus
from typing import Final

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}

STATUS_LINES: Final[dict[int, str]] = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, 'Unknown')}\r\n" for status in range(100, 600)
}
"""Status to status line; the phrase is always ours, never the upstream's (RFC 9112 section 4)."""

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
