"""The body of one message, by the rule its head gave: a length, chunks, or until the connection closes."""

from typing import Final

from gateway.wire.chunked import ChunkDecoder
from gateway.wire.fields import CHUNKED, UNTIL_CLOSE, Fields
from gateway.wire.limits import HeadLimits

UNKNOWN: Final = 2**63 - 1
"""Length of a body that ends with its connection, or that will never be whole: longer than any."""


class BodyReader:
    """Feed bytes, take the body out. After the end `done` is true and `rest` holds the bytes behind the message."""

    __slots__ = ("_decoder", "done", "left", "rest")

    def __init__(self, length: int, limits: HeadLimits) -> None:
        """length: bytes, CHUNKED or UNTIL_CLOSE; `limits` are those of the trailers."""
        self._decoder = ChunkDecoder(limits) if length == CHUNKED else None
        self.left = UNKNOWN if length in (CHUNKED, UNTIL_CLOSE) else length
        """Bytes still to come, where that is known."""
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """The body bytes in `data`. Raises GatewayError bad_request or headers_too_large."""
        decoder = self._decoder
        if decoder is not None:
            data = decoder.feed(data)
            self.done = decoder.done
            self.rest = decoder.rest
            return data
        left = self.left - len(data)
        if left > 0:
            self.left = left
            return data
        if left < 0:
            self.rest = data[self.left :]
            data = data[: self.left]
        self.left = 0
        self.done = True
        return data

    @property
    def trailers(self) -> Fields | None:
        return None if self._decoder is None else self._decoder.trailers

    @property
    def is_chunked(self) -> bool:
        return self._decoder is not None
