"""Turns of the loop for the others while an application sends and nothing makes it wait."""

import asyncio
from typing import Final

TURN_BYTES: Final = 64 * 1024
TURN_SENDS: Final = 16


class Fairness:
    """Of one exchange. Without it, who sends for ever to a quick client, or to one that is gone, has the loop alone."""

    __slots__ = ("_bytes", "_sends")

    def __init__(self) -> None:
        self._bytes = self._sends = 0

    async def sent(self, size: int) -> None:
        """Count what was sent; let others run when it was enough for one turn."""
        self._bytes += size
        self._sends += 1
        if self._bytes >= TURN_BYTES or self._sends >= TURN_SENDS:
            self._bytes = self._sends = 0
            await asyncio.sleep(0)
