"""The chunked coding (RFC 9112 section 7.1), decoded strictly and written in one canonical form.

Refused: an empty size, a sign, `0x`, blanks, more than 16 digits or above 2^63 - 1, an extension over 255 bytes or with
control characters, data not followed by CRLF, a trailer section over the head's limits or outside its grammar.
"""

import re
from typing import Final

from gateway.core.errors import GatewayError
from gateway.wire.fields import Fields
from gateway.wire.limits import HeadLimits

LAST_CHUNK: Final = b"0\r\n\r\n"

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]{0,255})?\r\n")
_MAX_SIZE_LINE: Final = 16 + 1 + 255 + 2
_SIZE: Final = 0
_DATA: Final = 1
_TRAILERS: Final = 2


def encode_chunk(data: bytes) -> bytes:
    """`data` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ChunkDecoder:
    """Feed bytes, take the body out; any cut of the bytes gives the same body.

    After the end `done` is true, `rest` holds the bytes behind the message and `trailers` its trailer fields.
    """

    __slots__ = ("_left", "_limits", "_pending", "_state", "done", "rest", "trailers")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._state = _SIZE
        self._left = 0
        """Bytes of the current chunk still to come, with the CRLF behind it."""
        self._pending = b""
        self.done = False
        self.rest = b""
        self.trailers: Fields | None = None

    def feed(self, data: bytes) -> bytes:
        """The body bytes that `data` completes. Raises GatewayError bad_request or headers_too_large."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        parts: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self.done:
            if self._state == _DATA:
                at = self._take_data(data, at, end, parts)
            elif self._state == _SIZE:
                at = self._take_size(data, at, end)
            else:
                at = self._take_trailers(data, at)
        if self.done:
            self.rest = data[at:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take_size(self, data: bytes, at: int, end: int) -> int:
        match = _SIZE_LINE.match(data, at)
        if match is None:
            if end - at >= _MAX_SIZE_LINE or data.find(b"\n", at) >= 0:
                raise GatewayError("bad_request", "a chunk size is malformed")
            self._pending = data[at:]
            return end
        size = int(match[1], 16)
        if size > 2**63 - 1:
            raise GatewayError("bad_request", "a chunk size is too large")
        self._state = _DATA if size else _TRAILERS
        self._left = size + 2
        return match.end()

    def _take_data(self, data: bytes, at: int, end: int, parts: list[bytes]) -> int:
        left = self._left
        body = min(left - 2, end - at)
        if body > 0:
            parts.append(data if body == end else data[at : at + body])
            at += body
            left -= body
        while left in (1, 2) and at < end:
            if data[at] != (13 if left == 2 else 10):
                raise GatewayError("bad_request", "chunk data is not followed by CRLF")
            at += 1
            left -= 1
        self._left = left
        if not left:
            self._state = _SIZE
        return at

    def _take_trailers(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self.done = True
            return at + 2
        stop = data.find(b"\r\n\r\n", at)
        size = (stop if stop >= 0 else len(data)) - at
        if size > self._limits.headers_bytes:
            raise GatewayError("headers_too_large", "the trailer section is too large")
        if stop < 0:
            if data[at : at + 1] not in (b"", b"\r") and b"\n" in data[at:].replace(b"\r\n", b""):
                raise GatewayError("bad_request", "a trailer line ends in a bare LF")
            self._pending = data[at:]
            return len(data)
        self.trailers = Fields(data[at : stop + 4].decode("latin-1"), self._limits)
        self.done = True
        return stop + 4
