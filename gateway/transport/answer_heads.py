"""The heads of a target's answers: how large they may be, and those seen already."""

from typing import Final

from gateway.core.memo import Memo
from gateway.wire.head import ResponseHead
from gateway.wire.limits import HeadLimits

ANSWER_LIMITS: Final = HeadLimits(line_bytes=32 * 1024, headers_bytes=64 * 1024, header_count=256, underscores="allow")
"""Of an upstream's head; upstreams are trusted more than clients, and still bounded."""
MEMO_SIZE: Final = 256
MEMO_BYTES: Final = 1024


class HeadMemo:
    """Answer heads by their bytes: a target repeats itself, so equal heads are parsed once."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: Memo[bytes, ResponseHead] = Memo(MEMO_SIZE)

    def parse(self, data: bytes) -> ResponseHead:
        head = self._heads.found.get(data)
        if head is None:
            head = ResponseHead(data.decode("latin-1"), ANSWER_LIMITS)
            if len(data) <= MEMO_BYTES:
                self._heads.keep(data, head)
        return head

    def renew(self) -> None:
        self._heads.renew()
