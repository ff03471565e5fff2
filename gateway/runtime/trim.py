"""Giving memory back to the system once large bodies are gone.

glibc keeps what is freed below something that is still in use, and holes of 256 KiB pieces stay for ever. A fixed
`MALLOC_MMAP_THRESHOLD_` would give each piece back at once, at twice the CPU of a 1 MiB download.
"""

import ctypes
from collections.abc import Callable
from typing import Final

WORTH_BYTES: Final = 8 * 1024 * 1024
"""What must have been let go of: a call takes 0.1 ms and 0.1 ms more for each MiB that it gives back."""
EVERY_S: Final = 1.0
"""Not more often, so that bodies that come and go all the time cost no more than a thousandth of a core."""


def malloc_trim() -> Callable[[], object] | None:
    """glibc's malloc_trim(3); None with a C library that has none, such as musl."""
    found = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if found is None else lambda: found(0)


class Trim:
    """Fed by the worker's tick; `give_back` returns free memory to the system."""

    def __init__(self, give_back: Callable[[], object] | None) -> None:
        self._give_back = give_back
        self._peak = 0
        self._not_before = 0.0

    def tick(self, now: float, held: int) -> None:
        """Give back what was freed since the last time, if `held` (bytes that are held for peers) has sunk enough."""
        self._peak = max(self._peak, held)
        if self._give_back is None or self._peak - held < WORTH_BYTES or now < self._not_before:
            return
        self._peak = held
        self._not_before = now + EVERY_S
        self._give_back()

    def __repr__(self) -> str:
        return f"<Trim peak={self._peak}>"
